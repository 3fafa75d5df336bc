"""From a model to a published version: manifest, golden titles, the last check through the serving code."""

import secrets
from datetime import UTC, datetime
from typing import Any

import torch

from consumer.registry import FolderRegistry
from consumer.scorer import Scorer, check_serveable
from schemas.artifact import GoldenTitle, Manifest
from schemas.events import soc_major
from schemas.text import TEMPLATE_ID
from trainer.model import Model
from trainer.source import Titles


def make_scorer(model: Model, *, top_n: int = 5, manifest: Manifest | None = None) -> Scorer:
    """Return the serving scorer of a model that is not published yet."""
    return Scorer(
        manifest or make_manifest(model),
        model.encoder,
        model.mixture(),
        line_encoder=model.line_encoder,
        body_encoder=model.body_encoder,
        top_n=top_n,
    )


def make_manifest(
    model: Model,
    *,
    golden: tuple[GoldenTitle, ...] = (),
    training: dict[str, Any] | None = None,
    metrics: dict[str, float] | None = None,
    curves: dict[str, list[dict[str, float]]] | None = None,
) -> Manifest:
    """Return a manifest with a new version name, which sorts by time."""
    now = datetime.now(UTC)
    return Manifest(
        version=f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}",
        trained_at=now,
        encoder=model.encoder.ref,
        line_encoder=model.line_encoder.ref if model.line_encoder else None,
        body_encoder=model.body_encoder.ref if model.body_encoder else None,
        taxonomy_version=model.taxonomy_version,
        template=TEMPLATE_ID,
        mix=model.mix,
        exemplars=model.exemplars,
        calibration=model.calibration,
        golden=golden,
        training=training or {},
        metrics=metrics or {},
        curves=curves or {},
        files={},
    )


def golden_titles(model: Model, titles: Titles, vectors: torch.Tensor, answers: torch.Tensor) -> tuple[GoldenTitle, ...]:
    """Return, per SOC major group, the title that the model gets right by the widest margin of cosines.

    `vectors` `(n, dim)` are the titles under the model's encoder, `answers` `(n,)` the categories that all parts together put
    first: a title is right when both they and the category embeddings alone say so. Raises ValueError if none is.
    """
    labels = titles.rows.labels
    values, ids = (vectors @ model.tensors.title.T).topk(2, dim=1)  # (n, 2)
    right = ((ids[:, 0] == labels) & (answers == labels)).tolist()
    margins = (values[:, 0] - values[:, 1]).tolist()
    widest: dict[str, tuple[float, GoldenTitle]] = {}
    for title, label, margin, score, is_right in zip(
        titles.lines, labels.tolist(), margins, values[:, 0].tolist(), right, strict=True
    ):
        code = model.tensors.categories[label].onet_code
        if is_right and margin > widest.get(soc_major(code), (0.0, None))[0]:
            widest[soc_major(code)] = (margin, GoldenTitle(title=title, onet_code=code, score=score))
    if not widest:
        raise ValueError("the model gets none of its own training titles right; it is not fit to publish")
    return tuple(golden for _group, (_margin, golden) in sorted(widest.items()))


def publish(registry: FolderRegistry, model: Model, manifest: Manifest, *, promote: bool) -> Manifest:
    """Check a version as a consumer will, store it, and put it in service if asked. Raises ArtifactError, RegistryError."""
    check_serveable(make_scorer(model, manifest=manifest))
    for folder in model.own_encoders:
        registry.add_encoder(folder)
    published = registry.publish(manifest, model.tensors)
    if promote:
        registry.promote(published.version)
    return published
