"""The artifact, which the trainer publishes and the consumer loads: a folder with a manifest and the files that it lists."""

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from schemas.events import OnetCode

FORMAT = 4
MANIFEST = "manifest.json"
CATEGORIES = "categories.json"
EMBEDDINGS = "embeddings.safetensors"
TITLES = "titles.json"

VERSION_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
"""What a version may be called. No path matches."""
Finite = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]
"""A number that can be multiplied in single precision without overflow."""
Count = Annotated[int, Field(ge=0, le=10**9)]
Name = Annotated[str, Field(max_length=1_000)]
"""A short text: it goes into every event, or names something."""
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Category(BaseModel):
    """One row of the category matrix."""

    model_config = ConfigDict(frozen=True)

    onet_code: OnetCode
    onet_title: Name
    postings: Count = Field(0, description="How many labelled postings it was trained on.")


class KnownTitle(BaseModel):
    """A cleaned title of the training.

    `weight` is its number of postings, each counted by the weight of its source; less than 1 for a title of O*NET's.
    """

    model_config = ConfigDict(frozen=True)

    title: str
    category: Count = Field(description="Row of the category matrix.")
    weight: Finite = Field(gt=0)


class EncoderRef(BaseModel):
    """The encoder that made the vectors of an artifact. A consumer with another encoder refuses the artifact."""

    model_config = ConfigDict(frozen=True)

    id: Name
    sha256: Name = Field(description="Digest of the weights: see `consumer.model.encoder_folder.weights_sha256`.")
    dim: Count = Field(gt=0)
    max_seq_length: Count = Field(gt=0, description="In word pieces. Longer texts are cut.")


class Exemplars(BaseModel):
    """The vote of the nearest known titles. Each counts weight * exp(cosine / temperature) for its category."""

    model_config = ConfigDict(frozen=True)

    count: Count = Field(gt=0, description="How many of the known titles have a vector: the first ones.")
    neighbours: Count = Field(gt=0, description="How many of the nearest vote.")
    temperature: Finite = Field(gt=0)


class Mix(BaseModel):
    """How the parts of a model are mixed into one probability p of each category. The weights are relative to each other.

    1. p = weighted mean of softmax(scale * cosine) for the title, the same for the line, and the vote of the exemplars.
    2. p becomes p * h ** head_weight, scaled to a sum of 1, where h is the probability of the category among the titles of the
       training that end in the same role words: "Dental Office Manager" ends in "office manager".
    3. If the exact title is known, p becomes (known_prior * p + counts) / (known_prior + sum of counts), where `counts` are the
       labelled postings with that title: p counts as much as `known_prior` postings. A title that O*NET lists counts for
       `listed_weight` postings, which the categories that it is listed under share.
    4. If there is a body, p becomes (p + d * b) / (1 + d), where b = softmax(body_scale * cosine) for the body and
       d = body_weight * (1 - max p): the surer the title, the less the body counts.
    """

    model_config = ConfigDict(frozen=True)

    scale: Finite = Field(20.0, gt=0)
    title_weight: Share = Field(1.0, gt=0, description="Never 0: the other parts can be switched off, this one cannot.")
    exemplar_weight: Share = 0.0
    line_weight: Share = 0.0
    head_weight: Finite = Field(0.0, ge=0)
    body_weight: Finite = Field(0.0, ge=0)
    body_scale: Finite = Field(20.0, gt=0)
    known_prior: Finite | None = Field(None, gt=0, description="None: the table of exact titles is not used.")
    listed_weight: Finite = Field(0.0, ge=0, description="How many labelled postings a title counts for that O*NET lists.")


class Confidence(BaseModel):
    """How sure rank 1 is: 1 / (1 + exp(-x)), where x is `bias` plus the sum of each kind of evidence times its weight.

    Each kind of evidence says the more for rank 1, the greater it is. So no weight is below 0.
    """

    model_config = ConfigDict(frozen=True)

    bias: Finite
    log_odds: Finite = Field(ge=0, description="Of its probability p: log(p / (1 - p)).")
    share: Finite = Field(ge=0, description="The mean probability that the parts give it.")
    agreement: Finite = Field(ge=0, description="The share of the parts that rank it first.")
    similarity: Finite = Field(ge=0, description="The fourth power of the cosine to the nearest exemplar of its category.")
    specificity: Finite = Field(ge=0, description="0; less for a title that is only the end of titles of many categories.")


class Thresholds(BaseModel):
    """How a mixed probability p is calibrated, and which decisions it then permits.

    The calibrated probabilities are p ** sharpness, scaled to a sum of 1. With `confidence`, the probability of rank 1 then
    becomes that confidence, as far as it stays in front, and all others are scaled to what is left.
    """

    model_config = ConfigDict(frozen=True)

    sharpness: Finite = Field(1.0, gt=0)
    confidence: Confidence | None = None
    accept_at: Finite = Field(ge=0, description="Least probability of rank 1 for `accept`. Above 1 means never.")
    accept_margin: Share = Field(0.0, description="Least lead of rank 1 over rank 2 for `accept`.")
    review_at: Finite = Field(ge=0, description="Least probability of rank 1 for `review`. Below it: `unclassified`.")


class Calibration(BaseModel):
    """Thresholds fitted on held-out postings. Titles that labelled postings had have their own: new titles are harder."""

    model_config = ConfigDict(frozen=True)

    precision: Finite = Field(0.9, gt=0, lt=1, description="The share of right answers that `accept` promises.")
    new: Thresholds
    known: Thresholds
    body: Thresholds | None = Field(None, description="For postings with a body. None: the model reads no bodies.")

    def list_strata(self) -> tuple[Thresholds, ...]:
        """Return the thresholds of new titles, of known ones, and of postings with a body where they have their own."""
        return (self.new, self.known) if self.body is None else (self.new, self.known, self.body)


class GoldenTitle(BaseModel):
    """A title whose answer is known. Every consumer checks it through its own scorer before it serves the artifact."""

    model_config = ConfigDict(frozen=True)

    title: str
    onet_code: OnetCode
    score: Finite


class Manifest(BaseModel):
    """Everything that an artifact says about itself, with the digests of its other files."""

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    version: str = Field(pattern=VERSION_PATTERN)
    trained_at: AwareDatetime
    encoder: EncoderRef
    line_encoder: EncoderRef | None = Field(None, description="The encoder of the title as posted, not cleaned.")
    body_encoder: EncoderRef | None = Field(None, description="The encoder of the posting's body.")
    taxonomy_version: Name
    template: Name
    languages: tuple[Name, ...] = Field(
        (), max_length=200, description="The languages that it understands, or `any`. None: by the encoder's name."
    )
    mix: Mix = Mix()
    exemplars: Exemplars | None = None
    calibration: Calibration
    golden: tuple[GoldenTitle, ...] = Field(max_length=1_000)
    training: dict[str, Any] = Field(default_factory=dict, description="Method, seed, rows: enough to repeat the training.")
    metrics: dict[str, float] = Field(default_factory=dict)
    curves: dict[str, list[dict[str, float]]] = Field(
        default_factory=dict,
        description="Curves of held-out postings: `reliability` and `risk_coverage`, see `trainer.measure.calibration_figures`.",
    )
    files: dict[str, str] = Field(description="File name to sha256.")


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401 - any JSON value
    """Write `value` as UTF-8 JSON, human readable."""
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
