"""Rows of a table carry the numbers a spreadsheet shows, and what is wrong says where."""

import io

import pytest

from schemas.tables import TableError, column_key, read_csv_rows

REQUIRED = {"title": ("title", "TITLE_RAW")}


def rows(text: str, **options: str) -> list[tuple[int, dict[str, str] | str]]:
    """Errors as their text, so that rows compare."""
    read = read_csv_rows(io.StringIO(text, newline=""), "jobs.csv", required=REQUIRED, **options)
    return [(row, str(fields) if isinstance(fields, TableError) else fields) for row, fields in read]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("title\nCook\n", [(2, {"title": "Cook"})]),
        ("title\n\nCook", [(3, {"title": "Cook"})]),
        ("title\r\nCook\r\n", [(2, {"title": "Cook"})]),
        (
            'TITLE_RAW,x\n"Cook,\nline ""A""",1\nChef,2\n',
            [(2, {"TITLE_RAW": 'Cook,\nline "A"', "x": "1"}), (3, {"TITLE_RAW": "Chef", "x": "2"})],
        ),
        ("x,title\n1\n", [(2, {"x": "1"})]),
        ("title,\nCook,\n", [(2, {"title": "Cook", "": ""})]),
        ("title\n", []),
        (" title ,\ufeffx\nCook,1\n", [(2, {"title": "Cook", "\ufeffx": "1"})]),
        ("title,x\nCook,1,,\n", [(2, {"title": "Cook", "x": "1"})]),
        ("x;title\n1,5;Cook\n", [(2, {"x": "1,5", "title": "Cook"})]),
        ("x\ttitle\n1\tCook\n", [(2, {"x": "1", "title": "Cook"})]),
        ("a,b|Title\n1,2|Cook\n", [(2, {"a,b": "1,2", "Title": "Cook"})]),
        ("sep=;\r\ntitle;a,b\r\nCook;1\r\n", [(2, {"title": "Cook", "a,b": "1"})]),
        ("title\nCook; Baker\n", [(2, {"title": "Cook; Baker"})]),
    ],
)
def test_rows_are_numbered_as_a_spreadsheet_does(text: str, expected: list[tuple[int, dict[str, str]]]) -> None:
    assert rows(text) == expected


def test_a_row_with_too_many_cells_is_an_error_and_its_neighbours_are_rows() -> None:
    good, bad, last = rows("title\nCook\nChef,Nurse\nDriver\n")
    assert (good, last) == ((2, {"title": "Cook"}), (4, {"title": "Driver"}))
    assert bad == (3, "jobs.csv, row 3: 2 cells under 1 columns; is a quote missing?")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "jobs.csv is empty"),
        ("id,job\n1,Cook\n", "jobs.csv has no column for the title: one of title, TITLE_RAW; found: id, job"),
        ("title,x,x\nCook,1,2\n", "jobs.csv has the column 'x' twice"),
    ],
)
def test_what_is_no_table_is_refused_naming_file_and_place(text: str, complaint: str) -> None:
    with pytest.raises(TableError, match=f"^{complaint}"):
        rows(text)


def test_a_row_with_a_stray_quote_is_an_error_and_its_neighbours_are_rows() -> None:
    assert [row for row, fields in rows('title\nCook\n"Nurse" RN\nDriver\n') if isinstance(fields, dict)] == [2, 4]


@pytest.mark.parametrize(
    ("one", "other"),
    [("Job Title", " JOB_TITLE"), ("jobTitle", "job-title"), ("O*NET-SOC Code", "onet_soc_code"), ("# title", "Title")],
)
def test_spellings_of_a_columns_name_have_one_key(one: str, other: str) -> None:
    assert column_key(one) == column_key(other)


def test_a_long_body_is_read_whole() -> None:
    body = "x" * 1_000_000
    assert rows(f"title\tbody\nCook\t{body}\n", delimiter="\t") == [(2, {"title": "Cook", "body": body})]


def test_a_quote_that_never_closes_is_named_with_what_it_swallows() -> None:
    lines = iter(["title\n", "Cook\n", '"Chef\n', "Nurse\n"])
    first, second = read_csv_rows(lines, "jobs.csv", required={"title": ("title",)})
    assert first == (2, {"title": "Cook"})
    assert str(second[1]) == "jobs.csv, row 3: unexpected end of data; is a quote missing?; all lines from here on belong to it"
