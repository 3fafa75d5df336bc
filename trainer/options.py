"""How a model is made of its data."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from consumer.model.serving_options import Part

STARTER = "starter"
"""The name that stands for the postings that come with this package."""
Method = Literal["softmax", "hinge", "mean", "direct"]
EncoderKind = Literal["given", "static", "finetuned"]
"""The encoder as it is; distilled into token vectors; fine-tuned."""


@dataclass(frozen=True, slots=True)
class Finetuning:
    """Where fine-tuned encoders and their checkpoints are kept, and how long it goes on."""

    folder: Path
    epochs: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOptions:
    """How a model is made of its data."""

    method: Method = "softmax"
    parts: frozenset[Part] = frozenset({"exemplars", "line", "known", "body"})
    seed: int = 0
    epochs: int | None = None
    kind: EncoderKind = "given"
    finetune: Finetuning | None = None
    max_exemplars: int = 50_000
    accept_precision: float = 0.9

    @property
    def needs_tokens(self) -> bool:
        """Whether a fit trains token vectors that start from the encoder as it was given."""
        return self.kind == "static" or (self.kind == "given" and bool(self.parts & {"line", "body"}))
