"""The tests' tiny model: three occupations, encoders that count letters, and a registry of its versions. It needs no weights."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from consumer.metrics import RELOADS, Metrics
from consumer.model.answer_cache import MAX_BYTES
from consumer.model.encoder import Encoder, load_encoder
from consumer.model.mixture import Mixture, Tensors
from consumer.model.scorer import Scorer
from consumer.model.serving_options import AS_TRAINED, ServingOptions
from consumer.registry.folder import FolderRegistry
from consumer.registry.loader import ScorerLoader
from consumer.registry.reloader import Reloader
from schemas.artifact import Calibration, Category, EncoderRef, Exemplars, GoldenTitle, KnownTitle, Manifest, Mix, Thresholds
from schemas.text import TEMPLATE_ID

CATEGORIES = (
    Category(onet_code="29-1141.00", onet_title="Registered Nurses"),
    Category(onet_code="35-2014.00", onet_title="Cooks, Restaurant"),
    Category(onet_code="53-3032.00", onet_title="Heavy Truck Drivers"),
)
THRESHOLDS = Thresholds(accept_at=0.9, review_at=0.5)
CALIBRATION = Calibration(new=THRESHOLDS, known=THRESHOLDS)
TITLES = (
    KnownTitle(title="Staff Nurse", category=0, weight=2),
    KnownTitle(title="Line Cook", category=1, weight=1),
    KnownTitle(title="Trucker", category=2, weight=1),
    KnownTitle(title="Head Cook", category=1, weight=3),
)
"""Titles that training met; the first three are exemplars in `all_parts`."""


class LetterEncoder:
    """Counts letters: deterministic unit rows that need no weights. `seen` holds every text it was given."""

    ref = EncoderRef(id="letters", sha256="0" * 64, dim=27, max_seq_length=128)
    device = torch.device("cpu")
    arithmetic = "float32"

    def __init__(self) -> None:
        self.seen: list[str] = []

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """Return `(len(texts), 27)` unit rows: the counts of a..z, and a 1 so that no row is empty."""
        self.seen += texts
        rows = [[*(text.casefold().count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"), 1] for text in texts]
        return torch.nn.functional.normalize(torch.tensor(rows, dtype=torch.float32).reshape(-1, 27), dim=1)


class LineEncoder(LetterEncoder):
    """A second encoder, for titles as posted."""

    ref = EncoderRef(id="lines", sha256="1" * 64, dim=27, max_seq_length=128)


class BodyEncoder(LetterEncoder):
    """A third encoder, for bodies: one without a letter has no vector, as token vectors give none to an empty text."""

    ref = EncoderRef(id="bodies", sha256="2" * 64, dim=27, max_seq_length=512)

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """Return `(len(texts), 27)` unit rows, or rows of zeros."""
        return super().encode(texts) * torch.tensor([[float(bool(text))] for text in texts])


def category_embeddings() -> torch.Tensor:
    """Return the encoded titles of CATEGORIES: each title's best category is its own, at cosine 1."""
    return LetterEncoder().encode([category.onet_title for category in CATEGORIES])


def make_manifest(version: str = "v1", **changes: Any) -> Manifest:
    """Return a manifest of CATEGORIES under LetterEncoder that passes every check."""
    golden = tuple(GoldenTitle(title=c.onet_title, onet_code=c.onet_code, score=1.0) for c in CATEGORIES)
    given = {
        "version": version,
        "trained_at": datetime(2025, 1, 1, tzinfo=UTC),
        "encoder": LetterEncoder.ref,
        "taxonomy_version": "test",
        "template": TEMPLATE_ID,
        "calibration": CALIBRATION,
        "golden": golden,
        "files": {},
    }
    return Manifest(**{**given, **changes})


TENSORS = Tensors(CATEGORIES, category_embeddings())
"""Tensors of the title part alone."""


def all_tensors() -> Tensors:
    """Return tensors of every part: three exemplars, four known titles, and lines."""
    exemplars = LetterEncoder().encode([title.title for title in TITLES[:3]])
    return Tensors(CATEGORIES, category_embeddings(), category_embeddings(), exemplars, TITLES)


def all_parts() -> dict[str, Any]:
    """Return the fields of a manifest that describe `all_tensors`."""
    return {
        "line_encoder": LineEncoder.ref,
        "exemplars": Exemplars(count=3, neighbours=2, temperature=0.1),
        "mix": Mix(title_weight=0.5, exemplar_weight=0.3, line_weight=0.2, known_prior=3.0),
    }


def tensors_with_body() -> Tensors:
    """Return tensors of every part, that for bodies too."""
    return replace(all_tensors(), body=category_embeddings())


def parts_with_body() -> dict[str, Any]:
    """Return the fields of a manifest that describe `tensors_with_body`."""
    parts = all_parts()
    return parts | {
        "body_encoder": BodyEncoder.ref,
        "mix": parts["mix"].model_copy(update={"body_weight": 4.0}),
        "calibration": CALIBRATION.model_copy(update={"body": THRESHOLDS}),
    }


def load_tiny_encoder(name: str, **options: Any) -> Encoder:
    """Stand in for `load_encoder`: encoders of this file by their ids, any other as it is."""
    tiny = {kind.ref.id: kind for kind in (LetterEncoder, LineEncoder, BodyEncoder)}
    return tiny[name]() if name in tiny else load_encoder(name, **options)


class ReloaderWithMetrics(Reloader):
    """A reloader that serves v1, and its loader and metrics, which tests look at."""

    def __init__(self, loader: ScorerLoader, *, serving: str = "v1", interval_s: float = 0.01) -> None:
        self.metrics = Metrics()
        super().__init__(loader, serving=serving, metrics=self.metrics, interval_s=interval_s)

    def counts(self) -> dict[tuple[str, str], int]:
        """Return how often a look at the registry had each outcome and reason."""
        registry = self.metrics.registry
        found = {
            (o, r): registry.get_sample_value("occustream_reloads_total", {"outcome": o, "reason": r}) or 0.0 for o, r in RELOADS
        }
        return {labels: int(count) for labels, count in found.items() if count}


def tiny_scorer(
    version: str = "v1",
    *,
    encoder: LetterEncoder | None = None,
    tensors: Tensors = TENSORS,
    serving_options: ServingOptions = AS_TRAINED,
    top_n: int = 3,
    cache_size: int = 0,
    cache_bytes: int = MAX_BYTES,
    **changes: Any,
) -> Scorer:
    """Return a scorer over CATEGORIES; `changes` go to its manifest."""
    encoder, manifest = encoder or LetterEncoder(), make_manifest(version, **changes)
    mixture = Mixture(tensors, manifest.mix, manifest.exemplars, encoder.device, serving_options=serving_options)
    return Scorer(
        manifest,
        encoder,
        mixture,
        line_encoder=LineEncoder() if manifest.line_encoder else None,
        body_encoder=BodyEncoder() if manifest.body_encoder else None,
        top_n=top_n,
        cache_size=cache_size,
        cache_bytes=cache_bytes,
    )


def publish(root: Path, version: str = "v1", *, promote: bool = True, tensors: Tensors = TENSORS, **changes: Any) -> Path:
    """Publish CATEGORIES as a version of the registry at `root`; returns the version's folder."""
    registry = FolderRegistry(root)
    registry.publish(make_manifest(version, **changes), tensors)
    if promote:
        registry.promote(version)
    return root / "versions" / version
