"""What fits share: labelled titles with their vectors, the taxonomy with O*NET's titles, the encoder."""

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
"""What a title of O*NET's counts beside a labelled posting, in training."""


@dataclass(frozen=True, slots=True)
class Titles:
    """Labelled titles: cleaned, as posted, and the cleaned ones embedded by the encoder with these weights.

    `bodies` are those of the same postings, "" where there is none; empty where nobody asks for them.
    """

    clean: Sequence[str]
    lines: Sequence[str]
    rows: EmbeddedRows
    encoder_sha256: str
    bodies: Sequence[str] = ()

    @property
    def keys(self) -> list[str]:
        """The normalised titles: those of cleaned ones, whatever the encoder sees."""
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
        """Return the titles numbered `places` `(m,)`, in that order."""
        chosen = places.tolist()
        clean, lines, bodies = ([texts[i] for i in chosen] if texts else [] for texts in (self.clean, self.lines, self.bodies))
        return Titles(clean, lines, self.rows.take(places), self.encoder_sha256, bodies)


@dataclass(frozen=True, slots=True)
class FitInputs:
    """What every fit shares: the taxonomy, O*NET's titles (every category's name first), the encoder and its tokenizer."""

    taxonomy_version: str
    categories: tuple[Category, ...]
    onet: Titles
    encoder: Encoder
    encoder_name: str
    tokenizer: Tokenizer | None
    work: Path
    descriptions: Descriptions = field(default_factory=Descriptions)
    distilled: TokenVectors | None = None
    """The encoder as token vectors, which several fits share; see `trainer.fit.encoders.distill_encoder`."""

    @property
    def names(self) -> torch.Tensor:
        """Embeddings of the category names, `(categories, dim)`."""
        return self.onet.rows.embeddings[: len(self.categories)]

    @property
    def prior(self) -> torch.Tensor:
        """Unit means of each category's O*NET titles, `(categories, dim)`."""
        sums, _counts = weighted_sums(self.onet.rows, len(self.categories))
        return normalize(sums, dim=1)
