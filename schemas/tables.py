"""Reads the rows of CSV files of any delimiter. Rows are numbered as a spreadsheet numbers them: the header is row 1."""

import csv
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain, count

NOT_UTF8 = re.compile("[\udc80-\udcff]")
"""The characters that `surrogateescape` makes of bytes that are not UTF-8."""
DELIMITERS = ",;\t|"
_SEP_LINE = re.compile(r'"?sep=(\t|[^\w\s"])"?\s*', re.IGNORECASE)
_NO_LETTERS = re.compile(r"[\s_.*-]+")


class TableError(ValueError):
    """A file, or a row of it, that cannot be read as a table. The message names the file, the row and what is wrong."""


@lru_cache(maxsize=10_000)
def column_key(name: str) -> str:
    """Return the key under which spellings of a column's name meet: `Job Title`, ` JOB_TITLE ` and `jobTitle` are one.

    A `#` before the name does not count: some programs begin the line of a header with it.
    """
    return _NO_LETTERS.sub("", name.replace("\ufeff", "").lstrip("# ")).casefold()


def read_csv_rows(
    lines: Iterable[str],
    name: str,
    *,
    delimiter: str = ",",
    required: Mapping[str, Sequence[str]],
    key: Callable[[str], str] = column_key,
) -> Iterator[tuple[int, dict[str, str] | TableError]]:
    """Yield `(row, {column: text})` for each row that is not blank, or the error of a row that cannot be read.

    `lines` is a text stream opened with `newline=""` and `errors="surrogateescape"`. `required` maps what must be there to the
    names that its column may have; names with one `key` are one. The delimiter is that of DELIMITERS which the header is
    written with, or that of a line `sep=;` before it; `delimiter` is for a header that has none. White space around the names
    of columns is dropped. Raises TableError for an empty file, a header that cannot be read or a missing column.
    """
    csv.field_size_limit(sys.maxsize)  # a posting's body may be long; the caller limits it
    lines, delimiter = _find_delimiter(iter(lines), delimiter, required, key)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    header = _read_header(reader, name)
    check_columns(header, name, required, key)
    for row in count(2):
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:  # the reader goes on with the next line
            rest = "; all lines from here on belong to it" if "end of data" in str(error) else ""
            yield row, TableError(f"{name}, row {row}: {error}; is a quote missing?{rest}")
            continue
        if problem := _find_problem(cells, header):
            yield row, TableError(f"{name}, row {row}: {problem}")
        elif cells:
            yield row, dict(zip(header, cells, strict=False))


def _find_delimiter(
    lines: Iterator[str], usual: str, required: Mapping[str, Sequence[str]], key: Callable[[str], str]
) -> tuple[Iterator[str], str]:
    """Return the lines from the header on, and their delimiter."""
    first = next(lines, None)
    if first is None:
        return iter(()), usual
    if named := _SEP_LINE.fullmatch(first.removeprefix("\ufeff")):
        return lines, named[1]
    return chain([first], lines), max((usual, *DELIMITERS), key=lambda delimiter: _rate(first, delimiter, required, key))


def _rate(line: str, delimiter: str, required: Mapping[str, Sequence[str]], key: Callable[[str], str]) -> tuple[int, int]:
    """Return how many required columns a header has under a delimiter, and how many columns. More is better."""
    try:
        header = next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return 0, 0
    keys = set(map(key, header))
    return sum(not keys.isdisjoint(map(key, columns)) for columns in required.values()), len(header)


def _read_header(reader: Iterator[list[str]], name: str) -> list[str]:
    try:
        header = next(reader, None)
    except csv.Error as error:
        raise TableError(f"{name}, row 1: {error}; is a quote missing?") from error
    if header is None:
        raise TableError(f"{name} is empty")
    if any(NOT_UTF8.search(cell) or "\0" in cell for cell in header):
        raise TableError(f"{name} is not UTF-8 text; convert it, e.g. with iconv")
    return [cell.strip() for cell in header]


def _find_problem(cells: Sequence[str], header: Sequence[str]) -> str | None:
    if len(cells) > len(header) and any(cells[len(header) :]):
        return f"{len(cells)} cells under {len(header)} columns; is a quote missing?"
    return "a NUL byte; is the file damaged, or not UTF-8?" if any("\0" in cell for cell in cells) else None


def check_columns(
    found: Sequence[str], name: str, required: Mapping[str, Sequence[str]], key: Callable[[str], str] = column_key
) -> None:
    """Raise TableError if a required column is missing, with the columns that were found, or if a column comes twice."""
    keys = set(map(key, found))
    for what, columns in required.items():
        if keys.isdisjoint(map(key, columns)):
            names = ", ".join(found)[:300]
            spellings: dict[str, str] = {}
            for column in columns:
                spellings.setdefault(key(column), column)
            wanted = ", ".join(spellings.values())
            raise TableError(f"{name} has no column for the {what}: one of {wanted}; found: {names or 'none'}")
    if twice := {column for column in found if column and list(found).count(column) > 1}:
        raise TableError(f"{name} has the column {min(twice)!r} twice")
