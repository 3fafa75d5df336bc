"""The names under which files hold the fields of a posting, best first, and what a row has under them."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from consumer.feeds.names import NAMES
from schemas.missing import is_missing
from schemas.tables import TableError, column_key

Cells = dict[str, tuple[str, Any]]
"""By field: the column that holds it, and its value."""
MAX_EXACT = 2**53
"""Below this, a number that a data frame made a float is the number that was meant."""


def holds_nothing(value: Any) -> bool:  # noqa: ANN401 - what a JSON, Parquet or XLSX cell holds
    """Return whether a cell is empty, or holds a word for nothing."""
    return value is None or (is_missing(value) if isinstance(value, str) else isinstance(value, float) and math.isnan(value))


@dataclass(frozen=True)
class ColumnNames:
    """The columns of a kind of file: the names of each field, best first.

    `needed` are the fields that a file must have a column for, with what errors call them. Names with one `key` are one.
    """

    names: Mapping[str, tuple[str, ...]]
    needed: Mapping[str, str]
    key: Callable[[str], str] = column_key

    @property
    def required(self) -> dict[str, tuple[str, ...]]:
        """The names of the needed fields, by what errors call them."""
        return {what: self.names[field] for field, what in self.needed.items()}

    @cached_property
    def _places(self) -> dict[str, tuple[str, int]]:
        return {
            self.key(name): (field, place) for field, names in self.names.items() for place, name in reversed([*enumerate(names)])
        }

    def find_field(self, column: str) -> str | None:
        """Return the field that a column holds; None for other columns."""
        found = self._places.get(self.key(column))
        return found[0] if found else None

    def pick_cells(self, row: Mapping[str, Any], is_empty: Callable[[Any], bool] = holds_nothing) -> Cells:
        """Return what a row has for each field: of several columns the best that is not empty."""
        cells: Cells = {}
        places: dict[str, int] = {}
        for column, value in row.items():
            field, place = self._places.get(self.key(column), ("", 0))
            if field and place < places.get(field, len(self.names[field])) and not is_empty(value):
                cells[field], places[field] = (column, value), place
        return cells

    def rename_source(self, column: str | None) -> "ColumnNames":
        """Return these names with a better column for `source`; None changes nothing. Raises TableError for a field's column."""
        if column is None:
            return self
        if (field := self.find_field(column)) not in {None, "source"}:
            raise TableError(f"--source-column {column}: this column holds the {field} of a posting; name another")
        return replace(self, names={**self.names, "source": (column, *self.names["source"])})


LABELLED = ColumnNames(
    {
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
    },
    needed={"title": "title", "onet_code": "O*NET code"},
)
"""The fields of `LabelledPosting`, under the names that the consumer knows and those of files of labelled postings."""


def read_text(value: Any) -> Any:  # noqa: ANN401 - what a JSON, Parquet or XLSX cell holds
    """Return a number as the text that was meant; text and what no text can be meant by, as they are."""
    if isinstance(value, float) and value.is_integer() and abs(value) < MAX_EXACT:
        return str(int(value))
    return value if isinstance(value, str | bytes | bool | list | dict) else str(value)
