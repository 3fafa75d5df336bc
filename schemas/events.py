"""The events: postings come in, enriched postings go out, labelled postings are for the trainer.

Within a version fields are only added, and readers ignore fields that they do not know. JSON Schemas are in `schemas/json/`.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, StringConstraints

from schemas.soc import Digits

SCHEMA_VERSION = 1

OnetCode = Annotated[str, StringConstraints(pattern=r"^\d{2}-\d{4}\.\d{2}$")]
"""An O*NET-SOC code, e.g. `29-1141.00`."""

TextOrNumber = Annotated[str, Field(coerce_numbers_to_str=True)]
"""Text, or a number that is taken as text. Identifiers and dates come as either."""

Decision = Literal["accept", "review", "unclassified"]
Reason = Literal["language", "no_job", "limits"]
"""Why a rule lowered a decision: the language is foreign to the model, the title names no job, few allowed codes are likely."""


def _names(*names: str) -> Any:  # noqa: ANN401 - pydantic's Field is typed as the field's own type
    """Return aliases that accept any of `names` on input. Output has the first one."""
    return AliasChoices(*names)


class JobPosting(BaseModel):
    """A job posting under our names of its fields. Other fields are kept and passed through unchanged."""

    model_config = ConfigDict(frozen=True, extra="allow")

    posting_id: TextOrNumber = Field(description="The publisher's identifier; where absent, the message key, else the event id.")
    title: str = Field(min_length=1, description="The title in plain text: entities decoded, tags removed.")
    body: str | None = Field(None, description="The text of the posting as posted.")
    company: Any = Field(None, description="The employer: any JSON value, as it came.")
    location: Any = Field(None, description="The place: any JSON value, as it came.")
    posted_at: Any = Field(None, description="The date as posted: any JSON value, as it came.")
    language: Any = Field(None, description="The language: any JSON value, as it came.")
    allowed_codes: Any = Field(None, description="The only codes and SOC groups that the posting may get, as they came.")


class OccupationMatch(BaseModel):
    """One candidate occupation of a posting."""

    model_config = ConfigDict(frozen=True)

    rank: int = Field(ge=1)
    onet_code: OnetCode
    onet_title: str
    soc_major: str = Field(description="The two-digit SOC major group, e.g. `29`.")
    score: float = Field(ge=-1.01, le=1.01, description="Cosine of the title's and the category's embedding.")
    probability: float = Field(
        ge=0, le=1, description="Calibrated probability. Over all categories, or those that are allowed, these sum to 1."
    )
    soc_code: str | None = Field(None, description="The six-digit code of the SOC 2018, e.g. `29-1141`.")
    crosswalks: dict[str, tuple[str, ...]] | None = Field(
        None,
        description="Codes of other taxonomies by the taxonomy's name, where crosswalk files are given.",
    )


class Group(BaseModel):
    """A group of occupations: the codes that share their first 2, 3, 5 or 6 digits. A whole code has 8."""

    model_config = ConfigDict(frozen=True)

    digits: Digits
    code: str = Field(description="As in the SOC: `29-0000`, `29-1000`, `29-1140`, `29-1141`; all 8 digits: `29-1141.00`.")
    probability: float = Field(ge=0, le=1, description="Sum of the probabilities of the group's codes.")


class KnownExample(BaseModel):
    """A title that the model was trained on, similar to the posting's."""

    model_config = ConfigDict(frozen=True)

    title: str
    onet_code: OnetCode
    similarity: float = Field(ge=-1.01, le=1.01, description="Cosine of the two titles' embeddings.")


class Evidence(BaseModel):
    """The known titles that support the model's answer."""

    model_config = ConfigDict(frozen=True)

    exact_title: bool = Field(description="Whether a labelled posting had exactly this title (cleaned, case folded).")
    nearest: tuple[KnownExample, ...] = Field((), description="The most similar known titles, nearest first.")


class ModelInfo(BaseModel):
    """The model version that enriched a posting."""

    model_config = ConfigDict(frozen=True)

    version: str
    encoder_id: str
    taxonomy_version: str
    trained_at: datetime


class EnrichedPosting(BaseModel):
    """A posting with its N likeliest occupations, best first."""

    model_config = ConfigDict(frozen=True)

    schema_version: int = SCHEMA_VERSION
    event_id: str = Field(description="`topic:partition:offset` of the input: the same for every delivery of one message.")
    posting: JobPosting
    occupations: tuple[OccupationMatch, ...]
    decision: Decision = Field(description="What the calibrated probability of rank 1 permits: accept, review or unclassified.")
    groups: tuple[Group, ...] = Field((), description="The likeliest group at each level, coarsest first.")
    backoff: Group | None = Field(
        None,
        description="The finest of `groups` that is as sure as `accept` promises (the whole code only with `accept`), or null.",
    )
    evidence: Evidence | None = None
    model: ModelInfo
    enriched_at: datetime
    reason: Reason | None = Field(
        None,
        description="Why a rule lowered the decision: language and no_job make it unclassified, limits makes it review at most.",
    )
    language: str | None = Field(
        None,
        description="With the reason `language`: the language that was found, as a two-letter code (ISO 639-1).",
    )


class LabelledPosting(BaseModel):
    """A posting with the occupation that an expert gave it. The trainer learns from these."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)

    posting_id: TextOrNumber = Field("", validation_alias=_names("posting_id", "ID", "id", "postingId", "job_id"))
    title: str = Field(min_length=1, validation_alias=_names("title", "TITLE_RAW", "title_raw", "TITLE", "job_title"))
    onet_code: str = Field(min_length=1, validation_alias=_names("onet_code", "ONET", "onet", "onet_soc_code", "soc_code"))
    onet_title: str | None = Field(None, validation_alias=_names("onet_title", "ONET_NAME", "onet_name"))
    body: str | None = Field(None, validation_alias=_names("body", "BODY", "description"))
    posted_at: TextOrNumber | None = Field(None, validation_alias=_names("posted_at", "POSTED", "posted", "date_posted"))
    source: str | None = Field(None, validation_alias=_names("source", "SOURCE"))
