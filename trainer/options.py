"""The options of a training run: what to train on, how to fit the model, and what to hold out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from consumer.model.encoder_folder import DEFAULT_ENCODER
from consumer.model.serving_options import Part, Precision
from trainer.data.labels import LabelRules, Unclassified
from trainer.measure.split import SplitKind

Say = Callable[[str], None]
"""Called with each line that tells a user how a run goes."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """What to train on and how. `holdout` and `calibration` are shares of the labelled rows.

    Weights and thresholds stand on `rounds` times `calibration` of the rows, each part of them judged by a fit without it.
    """

    postings: Sequence[str]
    onet: Path | None
    registry: Path
    fit: FitOptions = field(default_factory=FitOptions)
    seed: int = 0
    encoder: str = DEFAULT_ENCODER
    device: str = "auto"
    precision: Precision = "auto"
    max_seq_length: int = 128
    onet_titles: int = 60
    new_categories: bool = False
    unclassified: Unclassified = "reject"
    split: SplitKind = "random"
    holdout: float = 0.2
    calibration: float = 0.15
    rounds: int = 2
    promote: bool = True
    cache: Path | None = None

    @property
    def rules(self) -> LabelRules:
        """How labels are read."""
        return LabelRules(new_categories=self.new_categories, unclassified=self.unclassified)
