"""From category embeddings to a published version: manifest, golden titles, the last check through the serving code."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import torch

from consumer.encoder import Encoder
from consumer.index import CategoryIndex
from consumer.registry import FolderRegistry
from consumer.scorer import Scorer, check_serveable
from schemas.artifact import Calibration, Category, GoldenTitle, Manifest
from schemas.events import soc_major
from schemas.text import TEMPLATE_ID


@dataclass(frozen=True, slots=True)
class Model:
    """Category embeddings `(categories, dim)` with their calibration."""

    categories: tuple[Category, ...]
    embeddings: torch.Tensor
    calibration: Calibration
    taxonomy_version: str


def make_scorer(model: Model, encoder: Encoder, *, top_n: int = 5, manifest: Manifest | None = None) -> Scorer:
    """Return the serving scorer of a model that is not published yet."""
    index = CategoryIndex(model.categories, model.embeddings, encoder.device)
    return Scorer(manifest or make_manifest(model, encoder), encoder, index, top_n=top_n)


def make_manifest(
    model: Model,
    encoder: Encoder,
    *,
    golden: tuple[GoldenTitle, ...] = (),
    training: dict[str, Any] | None = None,
    metrics: dict[str, float] | None = None,
) -> Manifest:
    """Return a manifest with a new version name, which sorts by time."""
    now = datetime.now(UTC)
    return Manifest(
        version=f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}",
        trained_at=now,
        encoder=encoder.ref,
        taxonomy_version=model.taxonomy_version,
        template=TEMPLATE_ID,
        calibration=model.calibration,
        golden=golden,
        training=training or {},
        metrics=metrics or {},
        files={},
    )


def golden_titles(model: Model, titles: Sequence[str], vectors: torch.Tensor, labels: torch.Tensor) -> tuple[GoldenTitle, ...]:
    """Return, per SOC major group, the title that the model gets right by the widest margin over the second best.

    `vectors` are the titles' unit rows `(n, dim)`, `labels` their categories `(n,)`. Raises ValueError if none is right.
    """
    widest: dict[str, tuple[float, GoldenTitle]] = {}
    values, ids = (vectors @ model.embeddings.T).topk(2, dim=1)  # (n, 2)
    margins = (values[:, 0] - values[:, 1]).tolist()
    right = (ids[:, 0] == labels).tolist()
    for title, label, margin, score, is_right in zip(titles, labels.tolist(), margins, values[:, 0].tolist(), right, strict=True):
        code = model.categories[label].onet_code
        if is_right and margin > widest.get(soc_major(code), (0.0, None))[0]:
            widest[soc_major(code)] = (margin, GoldenTitle(title=title, onet_code=code, score=score))
    if not widest:
        raise ValueError("the model gets none of its own training titles right; it is not fit to publish")
    return tuple(golden for _group, (_margin, golden) in sorted(widest.items()))


def publish(registry: FolderRegistry, model: Model, encoder: Encoder, manifest: Manifest, *, promote: bool) -> Manifest:
    """Check a version as a consumer will, store it, and put it in service if asked. Raises ArtifactError, RegistryError."""
    check_serveable(make_scorer(model, encoder, manifest=manifest))
    published = registry.publish(manifest, model.categories, model.embeddings)
    if promote:
        registry.promote(published.version)
    return published
