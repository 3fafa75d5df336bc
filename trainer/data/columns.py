"""The names under which files hold the fields of a labelled posting, best first, and what a row has under them."""

import math
from collections.abc import Mapping
from typing import Any

from consumer.feeds.names import NAMES
from schemas.missing import is_missing
from schemas.tables import column_key

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "posting_id": (
        *NAMES["posting_id"],
        *("CASE_NUMBER", "CASE_NO", "LCA_CASE_NUMBER"),
    ),
    "title": (*NAMES["title"], "LCA_CASE_JOB_TITLE", "JOB_INFO_JOB_TITLE"),
    "onet_code": (
        *("ONET", "onet_code", "O*NET-SOC Code", "onet_soc_code", "O*NET-SOC 2019 Code", "onet_soc_2019_code"),
        *("ONET_2019", "onet_soc", "O*NET Code", "SOC_CODE", "PWD_SOC_CODE", "PW_SOC_CODE", "LCA_CASE_SOC_CODE"),
        *("soc_2018_code", "SOC"),
    ),
    "onet_title": (
        *("ONET_NAME", "onet_title", "O*NET-SOC Title", "onet_soc_title", "O*NET-SOC 2019 Title", "ONET_2019_NAME"),
        *("SOC_TITLE", "SOC_NAME", "PWD_SOC_TITLE", "PW_SOC_TITLE", "LCA_CASE_SOC_NAME"),
    ),
    "body": NAMES["body"],
    "posted_at": (*NAMES["posted_at"], "RECEIVED_DATE", "CASE_SUBMITTED", "LCA_CASE_SUBMIT"),
    "source": ("SOURCE",),
}
"""Each field of `LabelledPosting` with its names: those that the consumer knows, and those of files of labelled postings.

`schemas.tables.column_key` tells which spellings of a name are one.
"""

REQUIRED = {"title": COLUMNS["title"], "O*NET code": COLUMNS["onet_code"]}
_PLACES = {column_key(name): (field, place) for field, names in COLUMNS.items() for place, name in reversed([*enumerate(names)])}
Cells = dict[str, tuple[str, Any]]
"""By field: the column that holds it, and its value."""


def find_field(column: str) -> str | None:
    """Return the field that a column holds; None for other columns."""
    found = _PLACES.get(column_key(column))
    return found[0] if found else None


def pick_cells(row: Mapping[str, Any]) -> Cells:
    """Return what a row has for each field: of several columns the best that holds something."""
    cells: Cells = {}
    places: dict[str, int] = {}
    for column, value in row.items():
        field, place = _PLACES.get(column_key(column), ("", 0))
        if field and place < places.get(field, len(COLUMNS[field])) and not _holds_nothing(value):
            cells[field], places[field] = (column, value), place
    return cells


def _holds_nothing(value: Any) -> bool:  # noqa: ANN401 - what a JSON, Parquet or XLSX cell holds
    return value is None or (is_missing(value) if isinstance(value, str) else isinstance(value, float) and math.isnan(value))
