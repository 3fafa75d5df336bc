"""The artifact: what the trainer publishes and the consumer loads. A folder of a manifest and the files it lists."""

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from schemas.events import OnetCode

FORMAT = 3
MANIFEST = "manifest.json"
CATEGORIES = "categories.json"
EMBEDDINGS = "embeddings.safetensors"
TITLES = "titles.json"

VERSION_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
"""What a version may be called: never a path."""
Finite = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]
"""A number that single precision can still be multiplied by."""
Count = Annotated[int, Field(ge=0, le=10**9)]
Name = Annotated[str, Field(max_length=1_000)]
"""What goes into every event, or names a thing: never long."""
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Category(BaseModel):
    """One row of the category matrix."""

    model_config = ConfigDict(frozen=True)

    onet_code: OnetCode
    onet_title: Name
    postings: Count = Field(0, description="How many labelled postings it was trained on.")


class KnownTitle(BaseModel):
    """A title that training met, cleaned; `weight` counts its postings, a title of O*NET's counts less than one."""

    model_config = ConfigDict(frozen=True)

    title: str
    category: Count = Field(description="Row of the category matrix.")
    weight: Finite = Field(gt=0)


class EncoderRef(BaseModel):
    """The encoder whose space the category embeddings live in; a consumer with another one refuses them."""

    model_config = ConfigDict(frozen=True)

    id: Name
    sha256: Name = Field(description="Of the weights: see `consumer.model.encoder_folder.weights_sha256`.")
    dim: Count = Field(gt=0)
    max_seq_length: Count = Field(gt=0, description="In word pieces; longer texts are cut.")


class Exemplars(BaseModel):
    """The vote of the nearest known titles: each counts weight * exp(cosine / temperature) for its category."""

    model_config = ConfigDict(frozen=True)

    count: Count = Field(gt=0, description="How many known titles, from the first on, have a vector.")
    neighbours: Count = Field(gt=0)
    temperature: Finite = Field(gt=0)


class Mix(BaseModel):
    """How the parts of a model become one probability; the weights are relative to each other.

    p = sum of weight * softmax(scale * cosine) over title and line, and of weight * vote over the exemplars. Where the exact
    title is known, p becomes (prior * p + counts) / (prior + sum of counts): `known_prior` postings' worth of p. Where there
    is a body, b = softmax(body_scale * cosine) of it joins in by what the title leaves open, d = body_weight * (1 - max p): p
    becomes (p + d * b) / (1 + d).
    """

    model_config = ConfigDict(frozen=True)

    scale: Finite = Field(20.0, gt=0)
    title_weight: Share = Field(1.0, gt=0, description="Never 0: it is what is left when the other parts are switched off.")
    exemplar_weight: Share = 0.0
    line_weight: Share = 0.0
    body_weight: Finite = Field(0.0, ge=0)
    body_scale: Finite = Field(20.0, gt=0)
    known_prior: Finite | None = Field(None, gt=0, description="None: the table of exact titles has no vote.")


class Decide(BaseModel):
    """From mixed to calibrated probability, p ** sharpness normalised, and what that permits."""

    model_config = ConfigDict(frozen=True)

    sharpness: Finite = Field(1.0, gt=0)
    accept_at: Finite = Field(ge=0, description="Least probability of rank 1 for `accept`; above 1: never.")
    accept_margin: Share = Field(0.0, description="Least lead of rank 1 over rank 2 for `accept`.")
    review_at: Finite = Field(ge=0, description="Least probability of rank 1 for `review`; below it: `unclassified`.")


class Calibration(BaseModel):
    """Fitted on held-out postings, apart for titles that labelled postings had and for new ones: those are harder."""

    model_config = ConfigDict(frozen=True)

    precision: Finite = Field(0.9, gt=0, lt=1, description="What `accept` promises.")
    new: Decide
    known: Decide
    body: Decide | None = Field(None, description="For postings with a body; None: the model looks at no body.")


class GoldenTitle(BaseModel):
    """A title whose answer is known; every loader checks it through its own scorer before it serves the artifact."""

    model_config = ConfigDict(frozen=True)

    title: str
    onet_code: OnetCode
    score: Finite


class Manifest(BaseModel):
    """What an artifact is, and what its files must hash to."""

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    version: str = Field(pattern=VERSION_PATTERN)
    trained_at: AwareDatetime
    encoder: EncoderRef
    line_encoder: EncoderRef | None = Field(None, description="Of the second view: the title as posted, not cleaned.")
    body_encoder: EncoderRef | None = Field(None, description="Of the third view, the posting's body.")
    taxonomy_version: Name
    template: Name
    mix: Mix = Mix()
    exemplars: Exemplars | None = None
    calibration: Calibration
    golden: tuple[GoldenTitle, ...] = Field(max_length=1_000)
    training: dict[str, Any] = Field(default_factory=dict, description="Method, seed, rows: enough to repeat it.")
    metrics: dict[str, float] = Field(default_factory=dict)
    curves: dict[str, list[dict[str, float]]] = Field(
        default_factory=dict,
        description="Of held-out postings: `reliability` and `risk_coverage`, see `trainer.measure.calibration_figures`.",
    )
    files: dict[str, str] = Field(description="File name to sha256.")


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401 - any JSON value
    """Write `value` as UTF-8 JSON, human readable."""
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
