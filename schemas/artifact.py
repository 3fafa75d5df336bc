"""The artifact: what the trainer publishes and the consumer loads. A folder of a manifest and the files it lists."""

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from schemas.events import OnetCode

FORMAT = 1
MANIFEST = "manifest.json"
CATEGORIES = "categories.json"
EMBEDDINGS = "embeddings.safetensors"


VERSION_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
"""What a version may be called: never a path."""
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Category(BaseModel):
    """One row of the category matrix."""

    model_config = ConfigDict(frozen=True)

    onet_code: OnetCode
    onet_title: str


class EncoderRef(BaseModel):
    """The encoder whose space the category embeddings live in; a consumer with another one refuses them."""

    model_config = ConfigDict(frozen=True)

    id: str
    sha256: str = Field(description="Of the weights: see `consumer.encoder.weights_sha256`.")
    dim: int = Field(gt=0)
    max_seq_length: int = Field(gt=0, description="In word pieces; longer texts are cut.")


class Calibration(BaseModel):
    """How scores become probabilities and decisions; fitted on held-out postings."""

    model_config = ConfigDict(frozen=True)

    scale: Finite = Field(gt=0, description="probability = softmax(scale * cosine)")
    accept_at: Finite = Field(ge=0, description="Least probability of rank 1 for `accept`; above 1: never.")
    review_at: Finite = Field(ge=0, description="Least probability of rank 1 for `review`; below it: `unclassified`.")


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
    trained_at: datetime
    encoder: EncoderRef
    taxonomy_version: str
    template: str
    calibration: Calibration
    golden: tuple[GoldenTitle, ...]
    training: dict[str, Any] = Field(default_factory=dict, description="Method, seed, rows: enough to repeat it.")
    metrics: dict[str, float] = Field(default_factory=dict)
    files: dict[str, str] = Field(description="File name to sha256.")


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401 - any JSON value
    """Write `value` as UTF-8 JSON, human readable."""
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
