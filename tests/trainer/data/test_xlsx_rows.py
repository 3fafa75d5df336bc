"""A workbook's rows are the postings that a CSV file of it would hold, whatever the spreadsheet made of their cells."""

import zipfile
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook

from schemas.tables import TableError
from tests.support.training_data import OCCUPATIONS
from trainer.data import xlsx_rows
from trainer.data.files import read_postings

HEADER = ("ID", " Title Raw ", "ONET", "POSTED", "BODY")


def write(path: Path, *sheets: Sequence[Sequence[Any]]) -> str:
    workbook = Workbook()
    workbook.remove(workbook.active)
    for rows in sheets:
        sheet = workbook.create_sheet()
        for row in rows:
            sheet.append(list(row))
    workbook.save(path)
    return str(path)


def test_cells_that_a_spreadsheet_made_numbers_and_times_are_read_as_they_were_meant(tmp_path: Path) -> None:
    names = {**OCCUPATIONS, "11-2021.00": "Marketing Managers"}
    rows = [
        (3901987654, "Nurse", 29114100, date(2026, 2, 3), "<p>Wards &amp; beds</p>"),
        (2.5, "Cook", "35-2014.00", datetime.fromisoformat("2026-02-03 08:30"), None),
        ("x", "Head of brand", datetime.fromisoformat("2021-11-01"), None, 7),
        (None, None, None, None, None),
        ("y", "CEO", 111011, "n/a", "#N/A"),
    ]
    found = read_postings([write(tmp_path / "a.xlsx", [HEADER, *rows])], names)
    assert [(p.posting_id, p.title, p.onet_code, p.posted_at, p.body) for p in found.postings] == [
        ("3901987654", "Nurse", "29-1141.00", "2026-02-03", "Wards & beds"),
        ("2.5", "Cook", "35-2014.00", "2026-02-03 08:30:00", None),
        ("x", "Head of brand", "11-2021.00", None, "7"),
        ("y", "CEO", "11-1011.00", None, None),
    ]


def test_the_sheet_and_the_row_of_the_header_are_found_and_rows_keep_their_numbers(tmp_path: Path) -> None:
    notes = [("Filings of a quarter",), ("Job title", "as filed")]
    sheet = [("Export of today",), (), ("JOB_TITLE", "SOC_CODE"), ("Nurse", "29-1141"), (None, "29-1141")]
    found = read_postings([write(tmp_path / "a.xlsx", notes, sheet)], OCCUPATIONS)
    assert [posting.title for posting in found.postings] == ["Nurse"]
    assert found.left_out == {"no title": (1, "a.xlsx, row 5")}


def test_rows_of_further_sheets_are_told_and_not_learned_from(tmp_path: Path) -> None:
    sheets = [("TITLE", "ONET"), ("Nurse", "29-1141.00")], [("TITLE", "ONET"), ("Cook", "35-2014.00"), ("Chef", "35-2014.00")]
    found = read_postings([write(tmp_path / "a.xlsx", *sheets)], OCCUPATIONS)
    assert [posting.title for posting in found.postings] == ["Nurse"]
    assert found.left_out == {xlsx_rows.OTHER_SHEET: (2, "a.xlsx, row 2 (Sheet1)")}


def test_a_formula_whose_value_is_not_stored_is_told_not_taken_for_nothing(tmp_path: Path) -> None:
    rows = [("TITLE", "ONET", "BODY"), ("Nurse", "29-1141.00", "=1+1"), ("Cook", '="35-2014.00"', None)]
    with pytest.raises(TableError, match=r"a\.xlsx, row 3: a title or code is a formula without a stored value"):
        read_postings([write(tmp_path / "a.xlsx", rows)], OCCUPATIONS)


@pytest.mark.parametrize(
    ("sheets", "complaint"),
    [
        (([],), "is empty"),
        (([("ID", "ONET"), (1, "29-1141.00")],), "has no column for the title: one of .*; found: ID, ONET"),
        (([("TITLE", "ONET", "ONET"), ("Nurse", "29-1141.00", "")],), "has the column 'ONET' twice"),
        (([("TITLE", "ONET")],), "no labelled posting to learn from"),
    ],
)
def test_a_workbook_without_postings_is_refused_with_the_reason(sheets: Any, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(TableError, match=rf"a\.xlsx.*{complaint}|{complaint}.*a\.xlsx"):
        read_postings([write(tmp_path / "a.xlsx", *sheets)], OCCUPATIONS)


def test_a_workbook_that_is_damaged_or_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(write(tmp_path / "a.xlsx", [("TITLE", "ONET"), ("Nurse", "29-1141.00")]))
    monkeypatch.setattr(xlsx_rows, "MAX_UNPACKED_BYTES", 1_000)
    with pytest.raises(TableError, match="bytes when unpacked; the limit is 1,000"):
        read_postings([str(path)], OCCUPATIONS)
    monkeypatch.undo()
    with zipfile.ZipFile(tmp_path / "b.xlsx", "w") as archive:
        archive.writestr("xl/workbook.xml", "<no")
    path.write_bytes(path.read_bytes()[:900])
    for name in ("a.xlsx", "b.xlsx"):
        with pytest.raises(TableError, match=rf"{name} cannot be read as XLSX: .*; save it again"):
            read_postings([str(tmp_path / name)], OCCUPATIONS)
