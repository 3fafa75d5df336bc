"""The rows of a file of postings: CSV of any delimiter, JSONL, Parquet, XLSX. What they mean is read in `files.py`."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ArrowException

from schemas.tables import NOT_UTF8, TableError, check_columns, read_csv_rows
from trainer.data.columns import LABELLED, ColumnNames
from trainer.data.packaged import STARTER, open_starter_file
from trainer.data.xlsx_rows import read_xlsx

NOT_UTF8_MESSAGE = "not UTF-8; convert the file, e.g. with iconv"
PARQUET_ROWS = 1_000
"""Rows read at once. More would take much memory: bodies make rows large."""
TEXT_TYPES = {"string", "large_string", "string_view"}
"""The types of Parquet columns that hold text."""
NumberedRow = tuple[int, Mapping[str, Any]]
"""The number of a row as a spreadsheet or editor shows it, and its cells by column name."""


ENDINGS = (".csv", ".tsv", ".tab", ".psv", ".txt", ".jsonl", ".ndjson", ".parquet", ".xlsx", ".xlsm")
"""The endings of files of postings. They tell the format, but not the delimiter, which is found."""


def read_rows(name: str, columns: ColumnNames = LABELLED) -> Iterator[NumberedRow]:
    """Yield the rows of a file, whose format its ending tells, or of the starter postings, if `name` is STARTER.

    Raises TableError, naming the file and where possible the row.
    """
    if name == STARTER:
        with open_starter_file() as path:
            yield from _read_csv(path, ",", columns)
        return
    path = Path(name)
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise TableError(f"{name}: cannot tell the format from its ending; expected {', '.join(ENDINGS)}")
    try:
        yield from _read_file(path, ending, columns)
    except OSError as error:
        raise TableError(f"{name} cannot be read: {error.strerror or error}") from error


def _read_file(path: Path, ending: str, columns: ColumnNames) -> Iterator[NumberedRow]:
    match ending:
        case ".parquet":
            return _read_parquet(path, columns)
        case ".xlsx" | ".xlsm":
            return read_xlsx(path, columns)
        case ".jsonl" | ".ndjson":
            return _read_jsonl(path, columns)
        case _:
            return _read_csv(path, "," if ending == ".csv" else "\t", columns)


def _read_csv(path: Path, delimiter: str, columns: ColumnNames) -> Iterator[NumberedRow]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
        rows = read_csv_rows(lines, str(path), delimiter=delimiter, required=columns.required, key=columns.key)
        for row, fields in rows:
            if isinstance(fields, TableError):
                raise fields
            if any(NOT_UTF8.search(cell) for cell in fields.values()):
                raise TableError(f"{path}, row {row}: {NOT_UTF8_MESSAGE}")
            yield row, fields


def _read_jsonl(path: Path, columns: ColumnNames) -> Iterator[NumberedRow]:
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
        check_columns(list(found), str(path), columns.required, columns.key)


def _read_parquet(path: Path, columns: ColumnNames) -> Iterator[NumberedRow]:
    try:
        table = pq.ParquetFile(path)
        check_columns(table.schema_arrow.names, str(path), columns.required, columns.key)
        _check_text_columns(table.schema_arrow, path, columns)
        row = 0
        known = [name for name in table.schema_arrow.names if columns.find_field(name)]
        for batch in table.iter_batches(batch_size=PARQUET_ROWS, columns=known):
            for fields in _convert_to_dicts(_convert_times_to_text(batch), path, row):
                row += 1
                yield row, fields
    except ArrowException as error:
        raise TableError(f"{path} cannot be read as Parquet: {error}") from error


def _convert_times_to_text(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the rows with times as ISO text: Parquet can hold times that Python's types cannot."""
    columns = [column.cast(pa.string()) if pa.types.is_temporal(column.type) else column for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _convert_to_dicts(batch: pa.RecordBatch, path: Path, before: int) -> list[dict[str, Any]]:
    """Return the rows of a batch, which `before` rows of the file precede.

    Raises TableError for text that is not UTF-8, which Parquet does not check. Halving the batch finds the row.
    """
    try:
        rows: list[dict[str, Any]] = batch.to_pylist()
    except UnicodeDecodeError as error:
        if batch.num_rows > 1:
            half = batch.num_rows // 2
            first = _convert_to_dicts(batch.slice(0, half), path, before)
            return first + _convert_to_dicts(batch.slice(half), path, before + half)
        raise TableError(f"{path}, row {before + 1}: {NOT_UTF8_MESSAGE}") from error
    return rows


def _check_text_columns(schema: pa.Schema, path: Path, columns: ColumnNames) -> None:
    """Raise TableError for a title that is no text, and for a code that is neither text nor a number."""
    for column in schema:
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        field = columns.find_field(column.name)
        is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
        if field in {"title", "onet_code"} and str(kind) not in TEXT_TYPES and not (field == "onet_code" and is_number):
            raise TableError(f"{path}: column {column.name} holds {column.type}, not text; cast it to string")
