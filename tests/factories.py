"""Small makers of what tests need: messages, postings as bytes, and a model that needs no weights."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from consumer.index import CategoryIndex
from hypothesis import HealthCheck, settings

from consumer.codec import Codec
from consumer.messages import Headers, Message
from consumer.registry import FolderRegistry
from consumer.scorer import Scorer
from schemas.artifact import Calibration, Category, EncoderRef, GoldenTitle, Manifest
from schemas.text import TEMPLATE_ID

settings.register_profile("shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared machine")  # how long an example takes says nothing about it

CATEGORIES = (
    Category(onet_code="29-1141.00", onet_title="Registered Nurses"),
    Category(onet_code="35-2014.00", onet_title="Cooks, Restaurant"),
    Category(onet_code="53-3032.00", onet_title="Heavy Truck Drivers"),
)
CALIBRATION = Calibration(scale=20.0, accept_at=0.9, review_at=0.5)


def posting_bytes(title: Any = "Registered Nurse", **fields: Any) -> bytes:
    """A posting as a publisher would send it."""
    return json.dumps({"title": title, **fields}).encode()


def message(
    value: bytes | None = b'{"title": "Registered Nurse"}',
    *,
    offset: int = 0,
    partition: int = 0,
    key: bytes | None = None,
    headers: Headers = (),
    timestamp_ms: int | None = None,
) -> Message:
    """A message of the input topic."""
    return Message("postings.raw", partition, offset, key, value, headers, timestamp_ms)


def codec(*, max_message_bytes: int = 1_000_000, max_title_chars: int = 1_000) -> Codec:
    """A codec with the limits and topics that are the settings' defaults."""
    return Codec(
        output_topic="postings.enriched",
        dead_letter_topic="postings.dead-letters",
        max_message_bytes=max_message_bytes,
        max_title_chars=max_title_chars,
    )


class LetterEncoder:
    """Counts letters: deterministic unit rows that need no weights. `seen` holds every text it was given."""

    ref = EncoderRef(id="letters", sha256="0" * 64, dim=27, max_seq_length=128)
    device = torch.device("cpu")

    def __init__(self) -> None:
        self.seen: list[str] = []

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """Return `(len(texts), 27)` unit rows: the counts of a..z, and a 1 so that no row is empty."""
        self.seen += texts
        rows = [[*(text.casefold().count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"), 1] for text in texts]
        return torch.nn.functional.normalize(torch.tensor(rows, dtype=torch.float32).reshape(-1, 27), dim=1)


def category_embeddings() -> torch.Tensor:
    """The titles of CATEGORIES, encoded: each title's best category is its own, at cosine 1."""
    return LetterEncoder().encode([category.onet_title for category in CATEGORIES])


def manifest(version: str = "v1", **changes: Any) -> Manifest:
    """A manifest of CATEGORIES under LetterEncoder that passes every check."""
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


def tiny_scorer(
    version: str = "v1", *, encoder: LetterEncoder | None = None, top_n: int = 3, cache_size: int = 0, **changes: Any
) -> Scorer:
    """A scorer over CATEGORIES; `changes` go to its manifest."""
    encoder = encoder or LetterEncoder()
    index = CategoryIndex(CATEGORIES, category_embeddings(), encoder.device)
    return Scorer(manifest(version, **changes), encoder, index, top_n=top_n, cache_size=cache_size)


def publish(root: Path, version: str = "v1", *, promote: bool = True, **changes: Any) -> Path:
    """Publish CATEGORIES as a version of the registry at `root`; returns the version's folder."""
    registry = FolderRegistry(root)
    registry.publish(manifest(version, **changes), CATEGORIES, category_embeddings())
    if promote:
        registry.promote(version)
    return root / "versions" / version
