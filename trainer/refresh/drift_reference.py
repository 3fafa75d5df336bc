"""The memory of what drift is measured against, so that a restart does not take a market that has moved for the usual one."""

import json
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from consumer.safe_files import replace_file
from schemas.events import OnetCode
from trainer.refresh.drift import Reference, WindowFigures

Major = Annotated[str, StringConstraints(pattern=r"^\d{2}$")]
Share = Annotated[float, Field(gt=0, le=1)]


class _Stored(BaseModel):
    """The file: a window without a share, or with NaN in it, could be compared with nothing."""

    model_config = ConfigDict(allow_inf_nan=False)

    version: str
    events: int = Field(ge=1)
    unsure_share: float = Field(ge=0, le=1)
    similarity: float = Field(ge=-1.01, le=1.01)
    groups: dict[Major, Share] = Field(min_length=1)
    codes: dict[OnetCode, Share] = Field(min_length=1)


def write_reference(path: Path, reference: Reference) -> None:
    """Replace what the file remembers. Raises OSError."""
    figures = reference.figures
    stored = _Stored(
        version=reference.version,
        events=figures.events,
        unsure_share=figures.unsure_share,
        similarity=figures.similarity,
        groups=dict(figures.groups),
        codes=dict(figures.codes),
    )
    with replace_file(path) as staged:
        staged.write_text(json.dumps(stored.model_dump()), encoding="utf-8")


def read_reference(path: Path, *, events: int) -> Reference | None:
    """Return what was remembered; None where that cannot be read, or is a window of other than so many events.

    None costs one window: the next full one becomes the reference. Windows of other sizes differ by chance in other measure.
    """
    try:
        stored = _Stored.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None
    if stored.events != events:
        return None
    return Reference(
        stored.version, WindowFigures(stored.events, stored.unsure_share, stored.similarity, stored.groups, stored.codes)
    )
