"""The rows of an XLSX workbook: those of its first sheet that has the columns of labelled postings, and how many others have."""

import zipfile
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, time
from pathlib import Path
from typing import Any

from openpyxl import load_workbook

from schemas.tables import TableError, check_columns
from trainer.data.columns import LABELLED, ColumnNames

MAX_UNPACKED_BYTES = 2_000_000_000
"""How large a workbook may be when it is unpacked. A sheet of a million postings without bodies has a tenth of that."""
MAX_COLUMNS = 1_000
MAX_HEADER_ROW = 20
"""The header is looked for in the first rows that hold anything: titles and notes may stand above it."""
OTHER_SHEET = "a place on another sheet than the first with a title and a code"
"""The only column of a row that is not read, because it is on another sheet."""
CODES = frozenset(("onet_code", "accept"))
"""The fields that hold codes."""
Place = tuple[int, int]
"""The number of a row, from 1, and of a column, from 0."""
Cell = Any
"""What a cell holds: text, a number, a time, a truth value, or nothing."""


def read_xlsx(path: Path, columns: ColumnNames = LABELLED) -> Iterator[tuple[int, dict[str, Cell]]]:
    """Yield each row that is not blank with its number and its cells by column name. Raises TableError and OSError.

    Times become ISO text. A code that the spreadsheet took for a month, `11-2021`, becomes the code again.
    """
    _check_size(path)
    try:
        workbook = load_workbook(path, read_only=True, data_only=True, keep_links=False)
    except OSError:
        raise
    except Exception as error:  # openpyxl lets through whatever a damaged file makes it raise
        raise _damaged(path, error) from error
    try:
        yield from _read_sheets(workbook.worksheets, path, columns)
    except (TableError, OSError):
        raise
    except Exception as error:
        raise _damaged(path, error) from error
    finally:
        workbook.close()


def _damaged(path: Path, error: Exception) -> TableError:
    why = (str(error).splitlines() or [type(error).__name__])[0][:200]
    return TableError(f"{path} cannot be read as XLSX: {why}; save it again, or as CSV in UTF-8")


def _check_size(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise _damaged(path, error) from error
    if size > MAX_UNPACKED_BYTES:
        raise TableError(f"{path} has {size:,} bytes when unpacked; the limit is {MAX_UNPACKED_BYTES:,}. Save it as CSV in UTF-8")


def _read_sheets(sheets: Sequence[Any], path: Path, columns: ColumnNames) -> Iterator[tuple[int, dict[str, Cell]]]:
    """Yield the rows of the first sheet that has the columns. Rows of others that have them hold OTHER_SHEET alone.

    If no sheet has them, the error is about the first that holds anything.
    """
    headers: list[list[str]] = []
    empty: set[Place] = set()
    is_read = False
    for sheet in sheets:
        sheet.reset_dimensions()  # other programs write wrong ones
        found, seen = _find_header(sheet, columns)
        if found and is_read:
            yield from ((number, {OTHER_SHEET: sheet.title}) for number, _row in _read_rows(sheet, *found, columns, empty))
        elif found:
            check_columns(found[1], str(path), columns.required, columns.key)
            yield from _read_rows(sheet, *found, columns, empty)
            _check_formulas(path, sheet.title, found[0], empty)
            is_read = True
        headers += seen
    if is_read:
        return
    if not headers:
        raise TableError(f"{path} is empty")
    check_columns(headers[0], str(path), columns.required, columns.key)


def _find_header(
    sheet: Any,  # noqa: ANN401 - openpyxl has no types
    columns: ColumnNames,
) -> tuple[tuple[int, list[str]] | None, list[list[str]]]:
    """Return the number and names of the header, if the sheet has one, and the first rows that hold anything."""
    seen: list[list[str]] = []
    for number, cells in enumerate(sheet.iter_rows(values_only=True, max_col=MAX_COLUMNS, max_row=10 * MAX_HEADER_ROW), start=1):
        names = ["" if cell is None else str(cell).strip() for cell in cells]
        while names and not names[-1]:
            names.pop()
        if names and {columns.find_field(name) for name in names} >= columns.needed.keys():
            return (number, names), seen
        seen += [names] if names else []
        if len(seen) == MAX_HEADER_ROW:
            break
    return None, seen


def _read_rows(
    sheet: Any,  # noqa: ANN401
    header: int,
    names: Sequence[str],
    columns: ColumnNames,
    empty: set[Place],
) -> Iterator[tuple[int, dict[str, Cell]]]:
    """Yield the rows below a header. Titles and codes that are empty are noted in `empty`."""
    fields = [columns.find_field(name) for name in names]
    needed = [place for place, field in enumerate(fields) if field in columns.needed]
    rows = sheet.iter_rows(values_only=True, min_row=header + 1, max_col=len(names))
    for number, cells in enumerate(rows, start=header + 1):
        empty.update((number, place) for place in needed if place < len(cells) and cells[place] is None)
        known = {
            name: _convert(cell, field)
            for name, field, cell in zip(names, fields, cells, strict=False)
            if field and cell is not None
        }
        if known:
            yield number, known


def _check_formulas(path: Path, title: str, header: int, empty: Collection[Place]) -> None:
    """Raise TableError if an empty cell is a formula without a value: programs that compute nothing write such workbooks."""
    if not empty:
        return
    workbook = load_workbook(path, read_only=True, keep_links=False)
    try:
        sheet = workbook[title]
        sheet.reset_dimensions()
        for number, cells in enumerate(sheet.iter_rows(min_row=header + 1, max_col=MAX_COLUMNS), start=header + 1):
            if any(cell.data_type == "f" and (number, place) in empty for place, cell in enumerate(cells)):
                raise TableError(
                    f"{path}, row {number}: a title or code is a formula without a stored value; "
                    "save the workbook in a spreadsheet program, or as CSV in UTF-8"
                )
    finally:
        workbook.close()


def _convert(cell: Cell, field: str) -> Cell:
    if isinstance(cell, datetime):
        if field in CODES and cell.day == 1:
            return f"{cell.month:02}-{cell.year:04}"
        return cell.date().isoformat() if cell.time() == time() else cell.isoformat(sep=" ")
    return cell
