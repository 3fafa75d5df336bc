"""The tests' tiny model: three occupations, encoders that count letters, and a registry of its versions. It needs no weights."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from consumer.model.mixture import Mixture, Tensors
from consumer.model.scorer import Scorer
from consumer.model.serving_options import AS_TRAINED, Switches
from consumer.registry.folder import FolderRegistry
from schemas.artifact import Calibration, Category, Decide, EncoderRef, Exemplars, GoldenTitle, KnownTitle, Manifest, Mix
from schemas.text import TEMPLATE_ID

CATEGORIES = (
    Category(onet_code="29-1141.00", onet_title="Registered Nurses"),
    Category(onet_code="35-2014.00", onet_title="Cooks, Restaurant"),
    Category(onet_code="53-3032.00", onet_title="Heavy Truck Drivers"),
)
DECIDE = Decide(accept_at=0.9, review_at=0.5)
CALIBRATION = Calibration(new=DECIDE, known=DECIDE)
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


def tiny_scorer(
    version: str = "v1",
    *,
    encoder: LetterEncoder | None = None,
    tensors: Tensors = TENSORS,
    switches: Switches = AS_TRAINED,
    top_n: int = 3,
    cache_size: int = 0,
    **changes: Any,
) -> Scorer:
    """Return a scorer over CATEGORIES; `changes` go to its manifest."""
    encoder, manifest = encoder or LetterEncoder(), make_manifest(version, **changes)
    mixture = Mixture(tensors, manifest.mix, manifest.exemplars, encoder.device, switches=switches)
    return Scorer(
        manifest,
        encoder,
        mixture,
        line_encoder=LineEncoder() if manifest.line_encoder else None,
        body_encoder=BodyEncoder() if manifest.body_encoder else None,
        top_n=top_n,
        cache_size=cache_size,
    )


def publish(root: Path, version: str = "v1", *, promote: bool = True, tensors: Tensors = TENSORS, **changes: Any) -> Path:
    """Publish CATEGORIES as a version of the registry at `root`; returns the version's folder."""
    registry = FolderRegistry(root)
    registry.publish(make_manifest(version, **changes), tensors)
    if promote:
        registry.promote(version)
    return root / "versions" / version
