"""The inputs of a fit: labelled titles with their vectors, and what all fits share, such as O*NET's titles and the encoder."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch.nn.functional import normalize

from consumer.model.encoder import Encoder
from schemas.artifact import Category
from trainer.data.cleaned_titles import cached_title_key
from trainer.data.onet import Descriptions
from trainer.fit.category_embeddings import EmbeddedRows, weighted_sums
from trainer.fit.token_vectors import TokenVectors

ONET_WEIGHT = 0.3
"""The weight in training of an O*NET title; a labelled posting weighs 1."""


@dataclass(frozen=True, slots=True)
class Titles:
    """Labelled titles: as cleaned, as posted (`lines`), and the cleaned ones embedded (`rows`).

    `encoder_sha256` is that of the weights of the encoder which embedded them. `bodies` are those of the same postings, "" for
    a posting without a body; the sequence is empty where bodies are not used.
    """

    clean: Sequence[str]
    lines: Sequence[str]
    rows: EmbeddedRows
    encoder_sha256: str
    bodies: Sequence[str] = ()

    @property
    def keys(self) -> list[str]:
        """The title keys, made from the lines: they are the same whether or not `clean` was cleaned."""
        return [cached_title_key(line) for line in self.lines]

    def concatenate(self, more: "Titles") -> "Titles":
        """Return these titles followed by `more`, embedded by the same encoder."""
        clean, lines, bodies = (
            [*own, *theirs] for own, theirs in ((self.clean, more.clean), (self.lines, more.lines), (self.bodies, more.bodies))
        )
        return Titles(clean, lines, self.rows.concatenate(more.rows), self.encoder_sha256, bodies)

    def select(self, mask: torch.Tensor) -> "Titles":
        """Return the titles for which `mask` `(n,)` is true."""
        return self.take(mask.nonzero().flatten())

    def take(self, places: torch.Tensor) -> "Titles":
        """Return the titles with the numbers `places` `(m,)`, in that order."""
        chosen = places.tolist()
        clean, lines, bodies = ([texts[i] for i in chosen] if texts else [] for texts in (self.clean, self.lines, self.bodies))
        return Titles(clean, lines, self.rows.take(places), self.encoder_sha256, bodies)


@dataclass(frozen=True, slots=True)
class FitInputs:
    """What all fits of a run share. `onet` are O*NET's titles, the names of all categories first.

    `work` is a folder for new encoders. `tokenizer` is the encoder's, None if it has no fast one.
    """

    taxonomy_version: str
    categories: tuple[Category, ...]
    onet: Titles
    encoder: Encoder
    encoder_name: str
    tokenizer: Tokenizer | None
    work: Path
    descriptions: Descriptions = field(default_factory=Descriptions)
    token_vectors: TokenVectors | None = None
    """The encoder distilled into token vectors, from which fits start; see `trainer.fit.encoders.distill_encoder`."""
    unlabelled: bool = False
    """Whether titles of O*NET's stand in the place of labelled postings."""

    @property
    def name_embeddings(self) -> torch.Tensor:
        """The embeddings of the category names, `(categories, dim)`."""
        return self.onet.rows.embeddings[: len(self.categories)]

    @property
    def prior(self) -> torch.Tensor:
        """The mean embedding of each category's O*NET titles, scaled to length 1, `(categories, dim)`."""
        sums, _counts = weighted_sums(self.onet.rows, len(self.categories))
        return normalize(sums, dim=1)
