"""The options of a training run: what to train on, how to fit a model to it, and what to hold out."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from consumer.languages.understood import AUTO, guess_languages
from consumer.model.encoder_folder import DEFAULT_ENCODER
from consumer.model.serving_options import Part, Precision
from trainer.data.labels import LabelRules, Unclassified
from trainer.measure.split import DrawnSplit

Say = Callable[[str], None]
"""Called with each line that tells the user how a run goes."""
Method = Literal["softmax", "hinge", "mean", "direct"]
"""How category embeddings are made; see `trainer.fit.category_embeddings`."""
EncoderKind = Literal["given", "static", "finetuned"]
"""`given`: the encoder as it is. `static`: distilled into token vectors. `finetuned`: fine-tuned before the fit."""


@dataclass(frozen=True, slots=True)
class Finetuning:
    """The folder for fine-tuned encoders and their checkpoints, and the number of passes over the texts."""

    folder: Path
    epochs: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOptions:
    """How a model is made of its data.

    `epochs`: passes over the rows; None for the method's own number. `max_exemplars`: known titles kept with a vector.
    `accept_precision`: the share of accepted postings that must be right.
    """

    method: Method = "softmax"
    parts: frozenset[Part] = frozenset(get_args(Part))
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
    """What to train on and how. `postings` are file names; `holdout` and `calibration` are shares of the labelled rows.

    Weights and thresholds are fitted on `rounds` parts of the rows, each `calibration` in size; each part is judged by a model
    that was fitted without it. `onet_titles` is the number of O*NET job titles used per category. `weights` says, by source, how
    much a row counts in every fit: 1 for the sources that it does not name. `source_column` is the column of the source,
    before the usual names of it.
    `languages` are those that the model understands: codes, `any`, or `auto`.
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
    languages: tuple[str, ...] = (AUTO,)
    onet_titles: int = 10_000
    new_categories: bool = False
    unclassified: Unclassified = "reject"
    source_column: str | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    split: DrawnSplit = "random"
    holdout: float = 0.2
    calibration: float = 0.15
    rounds: int = 2
    promote: bool = True
    cache: Path | None = None

    @property
    def unlabelled(self) -> bool:
        """Whether O*NET's titles stand in the place of labelled postings."""
        return not self.postings

    @property
    def understood_languages(self) -> tuple[str, ...]:
        """The languages that the manifest names."""
        return guess_languages(self.encoder) if self.languages == (AUTO,) else self.languages

    @property
    def rules(self) -> LabelRules:
        """How labels are read."""
        return LabelRules(new_categories=self.new_categories, unclassified=self.unclassified, source_column=self.source_column)


def describe_options(options: TrainOptions) -> dict[str, Any]:
    """Return every option by its name, as values that JSON can hold. Those of `fit` stand among the others."""
    own = asdict(options)
    fit = own.pop("fit")
    return {name: _convert_to_json(value) for name, value in {**own, **fit}.items()}


def _convert_to_json(value: Any) -> Any:  # noqa: ANN401 - any option
    """Return an option as JSON can hold it. Bytes of a file name that are not UTF-8 are replaced."""
    if isinstance(value, dict):
        return {name: _convert_to_json(one) for name, one in value.items()}
    if isinstance(value, list | tuple | frozenset):
        return [_convert_to_json(one) for one in (sorted(value) if isinstance(value, frozenset) else value)]
    return os.fsencode(value).decode("utf-8", "replace") if isinstance(value, str | Path) else value
