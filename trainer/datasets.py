"""Labelled postings from CSV, TSV, JSONL and Parquet files, and what of them can be learned from."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ArrowException
from pydantic import AliasChoices, ValidationError

from schemas.events import LabelledPosting
from schemas.tables import NOT_UTF8, TableError, check_columns, csv_rows
from schemas.text import model_text

STARTER = "starter"
"""The name that stands for the postings that come with this package."""
UNCLASSIFIED = "Unclassified"
"""A label that says no occupation fits: never a category."""


def column_names(field: str) -> tuple[str, ...]:
    """Return the column names under which a field of LabelledPosting is found."""
    alias = LabelledPosting.model_fields[field].validation_alias
    return tuple(str(choice) for choice in alias.choices) if isinstance(alias, AliasChoices) else (field,)


TEXT_TYPES = {"string", "large_string", "string_view"}
"""What Parquet's text columns are read as."""
REQUIRED = {"title": column_names("title"), "O*NET code": column_names("onet_code")}


@dataclass(frozen=True, slots=True)
class Labelled:
    """Rows to learn from, and how many were left out for which reason (with the first place it happened)."""

    postings: tuple[LabelledPosting, ...]
    left_out: Mapping[str, tuple[int, str]]


def read_postings(paths: Sequence[str], codes: Iterable[str]) -> Labelled:
    """Read all files; keep the rows whose label is one of `codes`.

    Rows without title or label, labelled Unclassified, or outside the taxonomy are counted, not kept. Raises TableError,
    naming file and row, for what cannot be read at all, and when nothing is left.
    """
    known = set(codes)
    kept: list[LabelledPosting] = []
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    for name in paths:
        for row, fields in _rows(name):
            posting = _posting(fields)
            reason = posting if isinstance(posting, str) else _why_not(posting, known)
            if reason is None and isinstance(posting, LabelledPosting):
                kept.append(posting)
            elif reason is not None:
                counts[reason] += 1
                label = f" ({posting.onet_code})" if isinstance(posting, LabelledPosting) else ""
                first.setdefault(reason, f"{Path(name).name}, row {row}{label}")
    left_out = {reason: (count, first[reason]) for reason, count in counts.items()}
    if not kept:
        raise TableError(f"no labelled posting to learn from in {', '.join(paths)}: {_described(left_out)}")
    return Labelled(tuple(kept), left_out)


def _described(left_out: Mapping[str, tuple[int, str]]) -> str:
    parts = [f"{count} rows with {reason}, first at {where}" for reason, (count, where) in left_out.items()]
    return "; ".join(parts) or "no rows"


def _why_not(posting: LabelledPosting, known: set[str]) -> str | None:
    if not model_text(posting.title):
        return "no title"
    if UNCLASSIFIED in (posting.onet_code, posting.onet_title):
        return f"the label {UNCLASSIFIED}"
    return None if posting.onet_code in known else "a label outside the taxonomy"


def _posting(fields: Mapping[str, Any]) -> LabelledPosting | str:
    """Return the posting, or why there is none. A number is taken as its text, as in a CSV file."""
    given = {name: _text(value) for name, value in fields.items() if value is not None and value != ""}
    try:
        return LabelledPosting.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        place = str(first["loc"][0])
        for what, columns in (("title", REQUIRED["title"]), ("label", REQUIRED["O*NET code"])):
            if place in columns and first["type"] == "missing":
                return f"no {what}"
        return f"a value in {place} that is no text"


def _text(value: Any) -> Any:  # noqa: ANN401 - what a JSON or Parquet cell holds
    return value if isinstance(value, str | bytes | bool | list | dict) else str(value)


def _rows(name: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if name == STARTER:
        with resources.as_file(resources.files("trainer").joinpath("starter/postings.csv")) as path:
            yield from _csv(path, ",")
        return
    path = Path(name)
    readers = {".csv": lambda: _csv(path, ","), ".tsv": lambda: _csv(path, "\t"), ".parquet": lambda: _parquet(path)}
    readers |= dict.fromkeys((".jsonl", ".ndjson"), lambda: _jsonl(path))
    if path.suffix.lower() not in readers:
        raise TableError(f"{name}: cannot tell the format from its ending; expected {', '.join(readers)}")
    try:
        yield from readers[path.suffix.lower()]()
    except OSError as error:
        raise TableError(f"{name} cannot be read: {error.strerror or error}") from error


def _csv(path: Path, delimiter: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
        for row, fields in csv_rows(lines, str(path), delimiter=delimiter, required=REQUIRED):
            if isinstance(fields, TableError):
                raise fields
            if any(NOT_UTF8.search(cell) for cell in fields.values()):
                raise TableError(f"{path}, row {row}: not UTF-8; convert the file, e.g. with iconv")
            yield row, fields


def _jsonl(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with path.open("rb") as lines:
        found: dict[str, None] = {}  # a set that keeps its order
        for row, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                fields = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise TableError(f"{path}, row {row}: not JSON: {error}") from error
            if not isinstance(fields, dict):
                raise TableError(f"{path}, row {row}: a JSON object is expected")
            found |= dict.fromkeys(fields)
            yield row, fields
        if not found:
            raise TableError(f"{path} is empty")
        check_columns(list(found), str(path), REQUIRED)


def _parquet(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        table = pq.ParquetFile(path)
        check_columns(table.schema_arrow.names, str(path), REQUIRED)
        _check_text_columns(table.schema_arrow, path)
        row = 0
        for batch in table.iter_batches():
            for fields in batch.to_pylist():
                row += 1
                yield row, fields
    except ArrowException as error:
        raise TableError(f"{path} cannot be read as Parquet: {error}") from error


def _check_text_columns(schema: pa.Schema, path: Path) -> None:
    for column in schema:
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if any(column.name in names for names in REQUIRED.values()) and str(kind) not in TEXT_TYPES:
            raise TableError(f"{path}: column {column.name} holds {column.type}, not text; cast it to string")
