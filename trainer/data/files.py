"""Labelled postings from CSV, TSV, JSONL and Parquet files, and what of them can be learned from."""

import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ArrowException
from pydantic import AliasChoices, ValidationError

from schemas.artifact import Category
from schemas.events import LabelledPosting
from schemas.tables import NOT_UTF8, TableError, check_columns, csv_rows
from schemas.text import MAX_BODY_CHARS
from trainer.data.labels import (
    NO_NEW_CATEGORY,
    OUTSIDE_TAXONOMY,
    UNCLASSIFIED,
    LabelReader,
    LabelRules,
    is_unclassified,
    make_new_categories,
)
from trainer.data.packaged import STARTER, starter_file
from trainer.data.repeats import Place, drop_repeats

DEFAULT_RULES = LabelRules()
Key = TypeVar("Key", bound=Hashable)


def column_names(field: str) -> tuple[str, ...]:
    """Return the column names under which a field of LabelledPosting is found."""
    alias = LabelledPosting.model_fields[field].validation_alias
    return tuple(str(choice) for choice in alias.choices) if isinstance(alias, AliasChoices) else (field,)


NOT_UTF8_MESSAGE = "not UTF-8; convert the file, e.g. with iconv"
PARQUET_ROWS = 1_000
"""Read at once: bodies make rows large."""
TEXT_TYPES = {"string", "large_string", "string_view"}
"""Key Parquet's text columns are read as."""
CODE, NAME, BODY = (column_names(name) for name in ("onet_code", "onet_title", "body"))
COLUMNS = frozenset(column for name in LabelledPosting.model_fields for column in column_names(name))
REQUIRED = {"title": column_names("title"), "O*NET code": CODE}
BODY_CUT = "cut", f"with a body of more than {MAX_BODY_CHARS:,} characters"


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """Rows to learn from, and what became of the others: each time how many, with the first place it happened."""

    postings: tuple[LabelledPosting, ...]
    left_out: Mapping[str, tuple[int, str]]
    rejects: tuple[LabelledPosting, ...] = ()
    """Rows that no occupation fits, with the code UNCLASSIFIED."""
    categories: tuple[Category, ...] = ()
    """Those of `postings` that the taxonomy lacks."""
    changed: Mapping[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    """Key was done to rows ("mapped", "cut"), with the words that follow their count."""

    def describe(self) -> Iterator[str]:
        """Yield a line for each new category, and for each way in which rows were set apart, changed or left out."""
        for category in self.categories:
            yield f"new category: {category.onet_code} {category.onet_title!r}"
        if self.rejects:
            yield f"reject examples: {len(self.rejects):,} rows labelled {UNCLASSIFIED}"
        for (what, words), (count, where) in self.changed.items():
            yield f"{what}: {count:,} rows {words}, first at {where}"
        for reason, (count, where) in self.left_out.items():
            hint = "; --new-categories keeps those of a code with a name" if reason == OUTSIDE_TAXONOMY else ""
            yield f"left out: {count:,} rows with {reason}, first at {where}{hint}"


def read_postings(paths: Sequence[str], names: Mapping[str, str], *, rules: LabelRules = DEFAULT_RULES) -> LabelledRows:
    """Read all files; keep the rows that teach something under the taxonomy `names`, codes with titles.

    A label of an older O*NET-SOC, or of six digits, is mapped where there is one code it can mean. Rows without title or
    label, with a label outside the taxonomy, or of a posting that comes again, are counted, not kept. Raises TableError,
    naming file and row, for what cannot be read at all, and when nothing is left to learn from.
    """
    changed: _Tally[tuple[str, str]] = _Tally()
    left_out: _Tally[str] = _Tally()
    rows = drop_repeats(_read_labelled(paths, LabelReader(names, rules), changed, left_out), left_out.add)
    made = make_new_categories((posting for posting, _place in rows if posting.onet_code != UNCLASSIFIED), names)
    postings, rejects = [], []
    for posting, place in rows:
        if posting.onet_code == UNCLASSIFIED:
            rejects.append(posting)
        elif posting.onet_code in names or posting.onet_code in made:
            postings.append(posting)
        else:
            left_out.add(NO_NEW_CATEGORY, place, posting.onet_code)
    found = LabelledRows(tuple(postings), left_out.found, tuple(rejects), tuple(made.values()), changed.found)
    if not postings:
        raise TableError(f"no labelled posting to learn from in {', '.join(paths)}: {'; '.join(found.describe()) or 'no rows'}")
    return found


class _Tally(Generic[Key]):
    """How often each thing happened, and where first."""

    def __init__(self) -> None:
        self.found: dict[Key, tuple[int, str]] = {}

    def add(self, what: Key, place: Place, label: str = "") -> None:
        name, row = place
        count, where = self.found.get(what, (0, f"{Path(name).name}, row {row}" + (f" ({label})" if label else "")))
        self.found[what] = count + 1, where


def _read_labelled(
    paths: Sequence[str], labels: LabelReader, changed: _Tally[tuple[str, str]], left_out: _Tally[str]
) -> Iterator[tuple[LabelledPosting, Place]]:
    """Yield the rows that can be learned from, under the code that they are learned as."""
    for name in paths:
        for row, fields in _read_rows(name):
            posting = parse_posting(fields)
            if isinstance(posting, str):
                left_out.add(posting, (name, row))
                continue
            label = labels.read(posting)
            if label.left_out:
                left_out.add(label.left_out, (name, row), posting.onet_code)
                continue
            if label.mapped:
                changed.add(("mapped", label.mapped), (name, row), posting.onet_code)
            if _has_long_body(fields):
                changed.add(BODY_CUT, (name, row))
            update = {"onet_code": label.code} | ({"onet_title": label.title} if label.title else {})
            yield posting.model_copy(update=update), (name, row)


def parse_posting(fields: Mapping[str, Any]) -> LabelledPosting | str:
    """Return the posting, or why there is none. A number is taken as its text, as in a CSV file.

    A body is cut before it is looked at: the checks would copy it.
    """
    given = {
        name: value[:MAX_BODY_CHARS] if name in BODY and isinstance(value, str) else _as_text(value)
        for name, value in fields.items()
        if value is not None and value != ""
    }
    if not given.keys() & CODE and any(is_unclassified(given.get(name)) for name in NAME):
        given[CODE[0]] = UNCLASSIFIED
    try:
        return LabelledPosting.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        place = str(first["loc"][0])
        for what, columns in (("title", REQUIRED["title"]), ("label", CODE)):
            if place in columns and first["type"] == "missing":
                return f"no {what}"
        return f"a value in {place} that is no text"


def _has_long_body(fields: Mapping[str, Any]) -> bool:
    return any(isinstance(body := fields.get(name), str) and len(body) > MAX_BODY_CHARS for name in BODY)


def _as_text(value: Any) -> Any:  # noqa: ANN401 - what a JSON or Parquet cell holds
    return value if isinstance(value, str | bytes | bool | list | dict) else str(value)


def _read_rows(name: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if name == STARTER:
        with starter_file() as path:
            yield from _read_csv(path, ",")
        return
    path = Path(name)
    readers = {
        ".csv": lambda: _read_csv(path, ","),
        ".tsv": lambda: _read_csv(path, "\t"),
        ".parquet": lambda: _read_parquet(path),
    }
    readers |= dict.fromkeys((".jsonl", ".ndjson"), lambda: _read_jsonl(path))
    if path.suffix.lower() not in readers:
        raise TableError(f"{name}: cannot tell the format from its ending; expected {', '.join(readers)}")
    try:
        yield from readers[path.suffix.lower()]()
    except OSError as error:
        raise TableError(f"{name} cannot be read: {error.strerror or error}") from error


def _read_csv(path: Path, delimiter: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
        for row, fields in csv_rows(lines, str(path), delimiter=delimiter, required=REQUIRED):
            if isinstance(fields, TableError):
                raise fields
            if any(NOT_UTF8.search(cell) for cell in fields.values()):
                raise TableError(f"{path}, row {row}: {NOT_UTF8_MESSAGE}")
            yield row, fields


def _read_jsonl(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with path.open("rb") as lines:
        found: dict[str, None] = {}  # a set that keeps its order
        for row, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                fields = json.loads(line.decode("utf-8-sig" if row == 1 else "utf-8"))
            except UnicodeDecodeError as error:
                raise TableError(f"{path}, row {row}: {NOT_UTF8_MESSAGE}") from error
            except (ValueError, RecursionError) as error:
                raise TableError(f"{path}, row {row}: not JSON: {error}") from error
            if not isinstance(fields, dict):
                raise TableError(f"{path}, row {row}: a JSON object is expected")
            found |= dict.fromkeys(fields)
            yield row, fields
        if not found:
            raise TableError(f"{path} is empty")
        check_columns(list(found), str(path), REQUIRED)


def _read_parquet(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        table = pq.ParquetFile(path)
        check_columns(table.schema_arrow.names, str(path), REQUIRED)
        _check_text_columns(table.schema_arrow, path)
        row = 0
        known = [name for name in table.schema_arrow.names if name in COLUMNS]
        for batch in table.iter_batches(batch_size=PARQUET_ROWS, columns=known):
            for fields in _convert_to_dicts(_convert_times_to_text(batch), path, row):
                row += 1
                yield row, fields
    except ArrowException as error:
        raise TableError(f"{path} cannot be read as Parquet: {error}") from error


def _convert_times_to_text(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the rows with times as ISO text: some that Parquet holds are none that Python has."""
    columns = [column.cast(pa.string()) if pa.types.is_temporal(column.type) else column for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _convert_to_dicts(batch: pa.RecordBatch, path: Path, before: int) -> list[dict[str, Any]]:
    """Return the rows of a batch that comes after so many rows. Parquet does not check that its text is UTF-8."""
    try:
        rows: list[dict[str, Any]] = batch.to_pylist()
    except UnicodeDecodeError as error:
        if batch.num_rows > 1:
            half = batch.num_rows // 2
            return _convert_to_dicts(batch.slice(0, half), path, before) + _convert_to_dicts(
                batch.slice(half), path, before + half
            )
        raise TableError(f"{path}, row {before + 1}: {NOT_UTF8_MESSAGE}") from error
    return rows


def _check_text_columns(schema: pa.Schema, path: Path) -> None:
    for column in schema:
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if any(column.name in names for names in REQUIRED.values()) and str(kind) not in TEXT_TYPES:
            raise TableError(f"{path}: column {column.name} holds {column.type}, not text; cast it to string")
