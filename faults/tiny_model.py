"""A real model that loads in no time: a static SentenceTransformer over a few words, and a registry of versions of it."""

import itertools
from datetime import UTC, datetime
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace

from consumer.model.encoder import load_encoder
from consumer.model.mixture import Tensors
from consumer.registry.folder import FolderRegistry
from schemas.artifact import Calibration, Category, EncoderRef, GoldenTitle, Manifest, Mix, Thresholds
from schemas.text import TEMPLATE_ID, clean_title

DIM = 16
CATEGORIES = tuple(
    Category(onet_code=code, onet_title=title)
    for code, title in (
        ("13-2011.00", "Accountants and Auditors"),
        ("15-1252.00", "Software Developers"),
        ("29-1141.00", "Registered Nurses"),
        ("35-2014.00", "Cooks, Restaurant"),
        ("47-2111.00", "Electricians"),
        ("53-3032.00", "Heavy and Tractor-Trailer Truck Drivers"),
    )
)
PLAIN = Thresholds(accept_at=0.5, review_at=0.1)
_ROLES = ("Registered Nurse", "Line Cook", "Software Developer", "Truck Driver", "Accountant", "Electrician")
_LEVELS = ("Senior", "Junior", "Lead", "Part-time", "Staff")
_PLACES = ("Boise, ID", "Nampa", "Remote", "Night Shift", "Austin TX", "$22/hr", "Weekend", "Hiring now", "II")
TITLES = tuple(f"{level} {role} - {place}" for level in _LEVELS for role in _ROLES for place in _PLACES)


def save_encoder(folder: Path) -> None:
    """Write a StaticEmbedding over the words of all titles, its vectors drawn from a fixed seed."""
    texts = [*(clean_title(title) for title in TITLES), *(category.onet_title for category in CATEGORIES)]
    words = sorted({word for text in texts for word in text.lower().replace(",", " , ").split()})
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0, **{word: n for n, word in enumerate(words, 1)}}, unk_token="[UNK]"))  # noqa: S106
    tokenizer.normalizer, tokenizer.pre_tokenizer = Lowercase(), Whitespace()
    vectors = torch.randn((len(words) + 1, DIM), generator=torch.Generator().manual_seed(0))
    modules: list[torch.nn.Module] = [StaticEmbedding(tokenizer, embedding_weights=vectors), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(folder), create_model_card=False)


class Versions:
    """A registry with one encoder, and model versions that differ in nothing but their names and weights."""

    def __init__(self, root: Path) -> None:
        self.registry = FolderRegistry(root)
        folder = root.with_name(f"{root.name}-encoder")
        save_encoder(folder)
        self.registry.add_encoder(folder)
        self._encoder = load_encoder(str(folder), device="cpu", encoder_id="faults-static")
        self._numbers = itertools.count(1)

    @property
    def encoder(self) -> EncoderRef:
        """The encoder of all versions."""
        return self._encoder.ref

    def publish(self, *, promote: bool = True) -> str:
        """Publish a good version and return its name."""
        number = next(self._numbers)
        tensors = self.tensors(number)
        manifest = self.manifest(f"v{number:04d}", tensors)
        self.registry.publish(manifest, tensors)
        if promote:
            self.registry.promote(manifest.version)
        return manifest.version

    def tensors(self, number: int) -> Tensors:
        """Return the category embeddings, each a little beside its title, by number otherwise."""
        rows = self._encoder.encode([clean_title(category.onet_title) for category in CATEGORIES])
        noise = torch.randn(rows.shape, generator=torch.Generator().manual_seed(number))
        return Tensors(CATEGORIES, torch.nn.functional.normalize(rows + 0.02 * noise, dim=1))

    def manifest(self, version: str, tensors: Tensors) -> Manifest:
        """Return the manifest of a version with these embeddings; its golden titles are the categories' own, but for the first.

        What is wrong with the first row alone, no golden title tells.
        """
        rows = self._encoder.encode([clean_title(category.onet_title) for category in CATEGORIES])
        scores = (rows * tensors.title).sum(dim=1).tolist()
        return Manifest(
            version=version,
            trained_at=datetime.now(UTC),
            encoder=self.encoder,
            taxonomy_version="O*NET-SOC 2019",
            template=TEMPLATE_ID,
            mix=Mix(scale=10.0),
            calibration=Calibration(new=PLAIN, known=PLAIN),
            golden=tuple(
                GoldenTitle(title=category.onet_title, onet_code=category.onet_code, score=score)
                for category, score in list(zip(CATEGORIES, scores, strict=True))[1:]
            ),
            files={},
        )
