"""Labelled postings, read from files: which rows the trainer learns from, and how many it leaves out, with reasons."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from schemas.artifact import Category
from schemas.events import LabelledPosting
from schemas.tables import TableError
from schemas.text import MAX_BODY_CHARS, plain_body
from trainer.data.columns import LABELLED, ColumnNames, read_text
from trainer.data.file_rows import read_rows
from trainer.data.labels import (
    NO_NEW_CATEGORY,
    OUTSIDE_TAXONOMY,
    UNCLASSIFIED,
    LabelReader,
    LabelRules,
    is_unclassified,
    make_new_categories,
)
from trainer.data.repeats import Place, PlacedPosting, drop_repeats
from trainer.data.xlsx_rows import OTHER_SHEET

DEFAULT_RULES = LabelRules()
Occurrences = tuple[int, str]
"""How often something happened, and the place where it happened first."""
Key = TypeVar("Key", bound=Hashable)

MAX_RAW_BODY_CHARS = 50 * MAX_BODY_CHARS
"""How much of a body is decoded. The plain text that is kept lies in it, unless nearly all of it is markup."""
BODY_CUT = "cut", f"with a body of more than {MAX_BODY_CHARS:,} characters"


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """The rows that the trainer learns from, and counts of the rows that were changed or left out."""

    postings: tuple[LabelledPosting, ...]
    """The rows that have a category."""
    left_out: Mapping[str, Occurrences]
    """How many rows were left out, by reason."""
    rejects: tuple[LabelledPosting, ...] = ()
    """The reject examples: rows that no occupation fits, with the code UNCLASSIFIED."""
    categories: tuple[Category, ...] = ()
    """The new categories: those of `postings` that the taxonomy lacks."""
    changed: Mapping[tuple[str, str], Occurrences] = field(default_factory=dict)
    """How many rows were changed, by the change ("mapped", "cut") and the words that follow the count."""

    @property
    def all(self) -> tuple[LabelledPosting, ...]:
        """The rows that have a category, then the reject examples."""
        return (*self.postings, *self.rejects)

    def describe(self) -> Iterator[str]:
        """Yield a line for each new category, one for reject examples, and one for each kind of change and reason."""
        for category in self.categories:
            yield f"new category: {category.onet_code} {category.onet_title!r}"
        if self.rejects:
            yield f"reject examples: {len(self.rejects):,} rows labelled {UNCLASSIFIED}"
        for (change, words), (count, where) in self.changed.items():
            yield f"{change}: {count:,} rows {words}, first at {where}"
        for reason, (count, where) in self.left_out.items():
            hint = "; --new-categories keeps those of a code with a name" if reason == OUTSIDE_TAXONOMY else ""
            yield f"left out: {count:,} rows with {reason}, first at {where}{hint}"


def read_postings(paths: Sequence[str], names: Mapping[str, str], *, rules: LabelRules = DEFAULT_RULES) -> LabelledRows:
    """Read all files and return the rows to learn from. `names` is the taxonomy: its codes with their titles.

    A code of an older O*NET-SOC, or of six digits, is mapped where it can mean one code only. Rows are counted and left out if
    they have no title, no label, a label outside the taxonomy, or if they repeat a posting. Raises TableError, naming file and
    row, if a file cannot be read, or if no row is left to learn from.
    """
    changed: _Tally[tuple[str, str]] = _Tally()
    left_out: _Tally[str] = _Tally()
    columns = LABELLED.rename_source(rules.source_column)
    rows = drop_repeats(_read_labelled(paths, columns, LabelReader(names, rules), changed, left_out), left_out.add)
    new = make_new_categories((posting for posting, _place in rows if posting.onet_code != UNCLASSIFIED), names)
    postings, rejects = [], []
    for posting, place in rows:
        if posting.onet_code == UNCLASSIFIED:
            rejects.append(posting)
        elif posting.onet_code in names or posting.onet_code in new:
            postings.append(posting)
        else:
            left_out.add(NO_NEW_CATEGORY, place, posting.onet_code)
    found = LabelledRows(tuple(postings), left_out.counts, tuple(rejects), tuple(new.values()), changed.counts)
    if not postings:
        raise TableError(f"no labelled posting to learn from in {', '.join(paths)}: {'; '.join(found.describe()) or 'no rows'}")
    return found


class _Tally(Generic[Key]):
    """Counts of what happens to rows, each with the place where it happened first."""

    def __init__(self) -> None:
        self.counts: dict[Key, Occurrences] = {}

    def add(self, key: Key, place: Place, label: str = "") -> None:
        path, row = place
        count, where = self.counts.get(key, (0, f"{Path(path).name}, row {row}" + (f" ({label})" if label else "")))
        self.counts[key] = count + 1, where


def _read_labelled(
    paths: Sequence[str],
    columns: ColumnNames,
    labels: LabelReader,
    changed: _Tally[tuple[str, str]],
    left_out: _Tally[str],
) -> Iterator[PlacedPosting]:
    """Yield the rows that can be learned from, each under the code that its label means."""
    for path in paths:
        for row, fields in read_rows(path, columns):
            place = path, row
            posting = parse_posting(fields, columns)
            if isinstance(posting, str):
                left_out.add(posting, place, fields.get(OTHER_SHEET, ""))
                continue
            label = labels.read(posting)
            if label.left_out:
                left_out.add(label.left_out, place, posting.onet_code)
                continue
            if label.mapped_from:
                changed.add(("mapped", label.mapped_from), place, posting.onet_code)
            if _has_long_body(fields):
                changed.add(BODY_CUT, place)
            update = {"onet_code": label.code} | ({"onet_title": label.title} if label.title else {})
            yield posting.model_copy(update=update), place


def parse_posting(fields: Mapping[str, Any], columns: ColumnNames = LABELLED) -> LabelledPosting | str:
    """Return the posting in a row, or the reason why the row holds none. A number is read as text, as in a CSV file.

    A body becomes plain text and is cut before the posting is validated: validation copies it.
    """
    if OTHER_SHEET in fields:
        return OTHER_SHEET
    cells = columns.pick_cells(fields)
    given = {name: _read_value(name, value) for name, (_column, value) in cells.items()}
    if "onet_code" not in given and is_unclassified(given.get("onet_title")):
        given["onet_code"] = UNCLASSIFIED
    for name, called in (("title", "title"), ("onet_code", "label")):
        if name not in given:
            return f"no {called}"
    try:
        return LabelledPosting.model_validate(given)
    except ValidationError as error:
        column, _value = cells[str(error.errors()[0]["loc"][0])]
        return f"a value in {column} that is no text"


def _read_value(field: str, value: Any) -> Any:  # noqa: ANN401 - what a JSON, Parquet or XLSX cell holds
    if field == "body" and isinstance(value, str):
        return cut_body(value)
    return read_text(value)


def cut_body(body: str) -> str:
    """Return the plain text of a body, cut."""
    return plain_body(body[:MAX_RAW_BODY_CHARS])[:MAX_BODY_CHARS]


def _has_long_body(fields: Mapping[str, Any]) -> bool:
    _column, body = LABELLED.pick_cells(fields).get("body", ("", ""))
    if not isinstance(body, str) or len(body) <= MAX_BODY_CHARS:
        return False
    return len(body) > MAX_RAW_BODY_CHARS or len(plain_body(body)) > MAX_BODY_CHARS
