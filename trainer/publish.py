"""The publication of a model as a version: its manifest, its serving scorer, and the last check before it is stored."""

import secrets
from datetime import UTC, datetime
from typing import Any

from consumer.model.scorer import Scorer, check_serveable
from consumer.registry.folder import ANY_VERSION, FolderRegistry
from schemas.artifact import GoldenTitle, Manifest
from schemas.text import TEMPLATE_ID
from trainer.fit.model import Model


def make_scorer(model: Model, *, top_n: int = 5, manifest: Manifest | None = None) -> Scorer:
    """Return the scorer that will serve a model, before the model is published."""
    return Scorer(
        manifest or make_manifest(model),
        model.encoders.title,
        model.mixture(),
        line_encoder=model.encoders.line,
        body_encoder=model.encoders.body,
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
    """Return the manifest of a model under a new version name. Version names sort by time, to the second.

    The languages that the model understands are those of its `training`.
    """
    now = datetime.now(UTC)
    return Manifest(
        version=f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}",
        trained_at=now,
        encoder=model.encoders.title.ref,
        line_encoder=model.encoders.line.ref if model.encoders.line else None,
        body_encoder=model.encoders.body.ref if model.encoders.body else None,
        taxonomy_version=model.taxonomy_version,
        template=TEMPLATE_ID,
        languages=tuple((training or {}).get("languages", ())),
        mix=model.mix,
        exemplars=model.exemplars,
        calibration=model.calibration,
        golden=golden,
        training=training or {},
        metrics=metrics or {},
        curves=curves or {},
        files={},
    )


def publish(
    registry: FolderRegistry, model: Model, manifest: Manifest, *, promote: bool, instead_of: str | None = ANY_VERSION
) -> Manifest:
    """Check a version as a consumer will, store it, and with `promote` put it in service.

    Raises ArtifactError if a consumer would refuse the version, RegistryError if it cannot be stored, and CurrentMoved if it is
    to be promoted and a version other than `instead_of` is in service.
    """
    check_serveable(make_scorer(model, manifest=manifest))
    for folder in model.encoders.folders:
        registry.add_encoder(folder)
    if promote:
        return registry.release(manifest, model.tensors, instead_of=instead_of)
    return registry.publish(manifest, model.tensors)
