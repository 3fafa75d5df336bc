"""Judged postings are read from every format with all the codes a judge accepts, and a mistake is named by its place."""

import json
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook

from schemas.tables import TableError
from trainer.data.judged import JudgedPosting, read_judged

ROWS = [
    ("shop", "Baker, early shift", "51-3011.00, 35-"),
    ("shop", "Opening soon!", "-"),
    ("ward", "Night porter", "31-1131;37-20|53-7062.00 43-9199"),
    ("", "nan", ""),
]
ACCEPT = [("51-3011.00", "35-"), (), ("31-1131", "37-20", "53-7062.00", "43-9199"), ()]


def write_table(path: Path, header: str, delimiter: str) -> str:
    quoted = [[f'"{cell}"' if delimiter in cell else cell for cell in row] for row in ROWS]
    path.write_text("\n".join([header, *(delimiter.join(row) for row in quoted)]) + "\n", encoding="utf-8")
    return str(path)


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def write_workbook(path: Path, header: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    workbook = Workbook()
    for row in (header, *rows):
        workbook.active.append(list(row))
    workbook.save(path)
    return str(path)


def read_one(path: str) -> tuple[JudgedPosting, ...]:
    (file,) = read_judged([path])
    return file.postings


def check_rows(path: str) -> None:
    postings = read_one(path)
    assert [(p.kind, p.title) for p in postings] == [(kind, title) for kind, title, _ in ROWS]
    assert [p.accept for p in postings] == ACCEPT


@pytest.mark.parametrize(
    ("name", "header", "delimiter"),
    [
        ("a.csv", "set,title,accept", ","),
        ("a.tsv", "# kind\ttitle\taccepted code prefixes (comma); -: names no job", "\t"),
        ("a.csv", "Source;Job Title;Accepted Codes", ";"),
    ],
)
def test_a_table_is_read_whatever_explains_its_header(name: str, header: str, delimiter: str, tmp_path: Path) -> None:
    check_rows(write_table(tmp_path / name, header, delimiter))


def test_json_lists_and_workbooks_say_the_same(tmp_path: Path) -> None:
    keys = ("set", "title", "accept")
    check_rows(write_jsonl(tmp_path / "a.jsonl", [dict(zip(keys, row, strict=True)) for row in ROWS]))
    lists = [
        {"set": kind or None, "title": title, "accept": list(codes)} for (kind, title, _), codes in zip(ROWS, ACCEPT, strict=True)
    ]
    check_rows(write_jsonl(tmp_path / "b.jsonl", lists))
    as_text = [row | {"accept": json.dumps(row["accept"])} for row in lists]
    check_rows(write_jsonl(tmp_path / "c.jsonl", as_text))
    check_rows(write_workbook(tmp_path / "a.xlsx", ("Set", "Title", "Accept"), ROWS))


def test_codes_that_a_spreadsheet_made_numbers_are_codes_again(tmp_path: Path) -> None:
    rows = [("Baker", 51301100, "x"), ("Cook", 35, "<p>Soups &amp; stews</p>")]
    first, second = read_one(write_workbook(tmp_path / "a.xlsx", ("title", "accept", "body"), rows))
    assert (first.accept, second.accept) == (("51-3011.00",), ("35",))
    assert second.body == "Soups & stews"


def test_figures_name_files_apart_that_have_one_name(tmp_path: Path) -> None:
    paths = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        paths.append(write_jsonl(tmp_path / folder / "a.jsonl", [{"title": "Baker", "accept": "51-"}]))
    paths.append(write_jsonl(tmp_path / "b.jsonl", [{"title": "Baker", "accept": "51-"}]))
    assert [file.name for file in read_judged(paths)] == [*paths[:2], "b.jsonl"]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"title": "Baker", "accept": "51-3011.00, bread"}, r"row 2, column accept: 'bread' is no O\*NET-SOC code"),
        ({"title": "Baker", "accept": "51-3011.1"}, "row 2, column accept"),
        ({"title": "Baker", "accept": ["51-", True]}, "row 2, column accept: 'True'"),
        ({"title": "Baker", "accept": '["51-"'}, "row 2, column accept: no JSON list"),
        ({"title": " ", "accept": "51-"}, "row 2: no title"),
        ({"title": ["Baker"], "accept": "51-"}, r"row 2: column title: \['Baker'\] is no title"),
    ],
)
def test_a_mistake_is_named_by_file_row_and_column(row: dict[str, Any], why: str, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [{"title": "Cook", "accept": "35-"}, row])
    with pytest.raises(TableError, match=rf"a\.jsonl, {why}"):
        read_judged([path])


def test_a_file_without_accepted_codes_or_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="no column for the accepted codes"):
        read_judged([write_jsonl(tmp_path / "a.jsonl", [{"title": "Cook", "ONET": "35-2014.00"}])])
    (tmp_path / "a.csv").write_text("title,accept\n")
    with pytest.raises(TableError, match="holds no judged posting"):
        read_judged([str(tmp_path / "a.csv")])


def test_judged_postings_on_a_second_sheet_are_not_silently_left_out(tmp_path: Path) -> None:
    workbook = Workbook()
    for sheet in (workbook.active, workbook.create_sheet()):
        sheet.append(["title", "accept"])
        sheet.append(["Baker", "51-"])
    workbook.save(tmp_path / "a.xlsx")
    with pytest.raises(TableError, match="save each sheet as a file of its own"):
        read_judged([str(tmp_path / "a.xlsx")])
