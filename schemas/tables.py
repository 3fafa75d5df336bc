"""Rows of CSV and TSV files, numbered as a spreadsheet numbers them: the header is row 1."""

import csv
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence


class TableError(ValueError):
    """A file that is no table; the message names the file, the row and what is wrong."""


def csv_rows(
    lines: Iterable[str], name: str, *, delimiter: str = ",", required: Mapping[str, Sequence[str]]
) -> Iterator[tuple[int, dict[str, str] | TableError]]:
    """Yield `(row, {column: text})` for each row that is not blank, or its error where it has too many cells.

    `lines` is a text stream opened with `newline=""` and `errors="surrogateescape"`; `required` maps what must be there
    to the column names it may have. Raises TableError on an empty file, a missing column,
    or where the rest cannot be read as CSV.
    """
    csv.field_size_limit(sys.maxsize)  # a posting's body may be long; limits on it are the reader's business
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    row = 0
    try:
        header = next(reader, None)
        if header is None:
            raise TableError(f"{name} is empty")
        row = 1
        _check_header(header, name, required)
        for row, cells in enumerate(reader, start=2):
            if len(cells) > len(header):
                yield row, TableError(f"{name}, row {row}: {len(cells)} cells under {len(header)} columns; is a quote missing?")
            elif cells:
                yield row, dict(zip(header, cells, strict=False))
    except csv.Error as error:
        raise TableError(f"{name}, row {row + 1}: {error}") from error


def _check_header(header: Sequence[str], name: str, required: Mapping[str, Sequence[str]]) -> None:
    for what, columns in required.items():
        if not set(columns) & set(header):
            found = ", ".join(header)[:300]
            raise TableError(f"{name} has no column for the {what}: one of {', '.join(columns)}; found: {found}")
    if twice := {column for column in header if column and list(header).count(column) > 1}:
        raise TableError(f"{name} has the column {min(twice)!r} twice")
