"""Rows to learn from are kept, others are counted with their place, and a file that cannot be read is refused with a reason."""

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.tables import TableError
from schemas.text import MAX_BODY_CHARS
from tests.support.training_data import OCCUPATIONS, write_postings
from trainer.data.files import read_postings

HEADER = "ID,TITLE_RAW,ONET_NAME,ONET\n"
GOOD = "1,Nurse,Registered Nurses,29-1141.00\n"
ROWS: list[dict[str, Any]] = [
    {"ID": 1, "TITLE_RAW": 'Nurse, "RN"\nnight', "BODY": None, "POSTED": 20250101, "ONET": "29-1141.00"},
    {"ID": 2, "TITLE_RAW": "Küchenchef", "BODY": "a, b", "POSTED": 20250102, "ONET": "35-2014.00"},
]


def as_csv(path: Path, delimiter: str = ",") -> None:
    lines = [delimiter.join(ROWS[0])]
    lines += [delimiter.join('"' + str(cell or "").replace('"', '""') + '"' for cell in row.values()) for row in ROWS]
    path.write_text("\r\n".join(lines), encoding="utf-8-sig", newline="")


def as_jsonl(path: Path) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n\n" for row in ROWS), encoding="utf-8")


def as_parquet(path: Path, **types: pa.DataType) -> None:
    table = pa.Table.from_pylist(ROWS)
    for name, kind in types.items():
        table = table.set_column(table.column_names.index(name), name, table[name].cast(kind))
    pq.write_table(table, path)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.csv", as_csv),
        ("a.CSV", as_csv),
        ("a.tsv", lambda path: as_csv(path, "\t")),
        ("a.jsonl", as_jsonl),
        ("a.ndjson", as_jsonl),
        ("a.parquet", as_parquet),
        ("a.parquet", lambda path: as_parquet(path, ONET=pa.dictionary(pa.int8(), pa.string()), TITLE_RAW=pa.large_string())),
    ],
)
def test_the_same_rows_are_the_same_postings_in_every_format(name: str, write: Callable[[Path], None], tmp_path: Path) -> None:
    write(tmp_path / name)
    read = read_postings([str(tmp_path / name)], OCCUPATIONS)
    assert not read.left_out
    assert [(p.posting_id, p.title, p.body, p.posted_at, p.onet_code) for p in read.postings] == [
        ("1", 'Nurse, "RN"\nnight', None, "20250101", "29-1141.00"),
        ("2", "Küchenchef", "a, b", "20250102", "35-2014.00"),
    ]


@pytest.mark.parametrize("columns", [("title", "onet_code"), ("TITLE_RAW", "ONET"), ("job_title", "soc_code"), ("TITLE", "onet")])
def test_the_usual_names_of_columns_are_understood(columns: tuple[str, str], tmp_path: Path) -> None:
    path = write_postings(tmp_path / "a.csv", [("Nurse", "29-1141.00")], columns=columns)
    assert [(p.title, p.onet_code) for p in read_postings([str(path)], OCCUPATIONS).postings] == [("Nurse", "29-1141.00")]


@pytest.mark.parametrize(
    "columns",
    [
        (" Job Title ", "O*NET-SOC Code"),
        ("jobTitle", "onet_2019"),
        ("JOB_TITLE", "SOC_CODE"),
        ("Title Raw", "Onet Soc Code"),
        ("JOB_INFO_JOB_TITLE", "PW_SOC_CODE"),
    ],
)
def test_names_of_columns_are_understood_in_any_case_and_with_spaces(columns: tuple[str, str], tmp_path: Path) -> None:
    path = write_postings(tmp_path / "a.csv", [("Nurse", "29-1141.00")], columns=columns)
    assert [(p.title, p.onet_code) for p in read_postings([str(path)], OCCUPATIONS).postings] == [("Nurse", "29-1141.00")]


def test_a_disclosure_file_of_the_labour_department_is_read_as_it_is(tmp_path: Path) -> None:
    columns = ("CASE_NUMBER", "CASE_STATUS", "RECEIVED_DATE", "JOB_TITLE", "SOC_CODE", "SOC_TITLE", "EMPLOYER_NAME")
    row = ("I-200-1", "Certified", "2026-02-03", "Ward Nurse", "29-1141", "Registered Nurses", "Quillbank Clinic")
    (posting,) = read_postings([str(write_postings(tmp_path / "a.csv", [row], columns=columns))], OCCUPATIONS).postings
    assert (posting.posting_id, posting.title, posting.onet_code) == ("I-200-1", "Ward Nurse", "29-1141.00")
    assert (posting.onet_title, posting.posted_at) == ("Registered Nurses", "2026-02-03")


def test_of_several_columns_the_best_that_holds_something_counts(tmp_path: Path) -> None:
    columns = ("title", "TITLE_RAW", "SOC_CODE", "ONET")
    rows = [("ET29", "Nurse", "35-2014", "29-1141.00"), ("Cook", "NaN", "35-2014", "n/a")]
    postings = read_postings([str(write_postings(tmp_path / "a.csv", rows, columns=columns))], OCCUPATIONS).postings
    assert [(p.title, p.onet_code) for p in postings] == [("Nurse", "29-1141.00"), ("Cook", "35-2014.00")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.txt"])
@pytest.mark.parametrize("first", ["", "sep={}\r\n"])
def test_the_delimiter_is_found_whatever_the_ending(first: str, name: str, delimiter: str, tmp_path: Path) -> None:
    as_csv(tmp_path / name, delimiter)
    whole = (tmp_path / name).read_text(encoding="utf-8-sig")
    (tmp_path / name).write_text(first.format(delimiter) + whole, encoding="utf-8-sig", newline="")
    assert [p.title for p in read_postings([str(tmp_path / name)], OCCUPATIONS).postings] == ['Nurse, "RN"\nnight', "Küchenchef"]


def test_numbers_that_a_data_frame_made_floats_are_the_numbers_that_were_meant(tmp_path: Path) -> None:
    rows = {"ID": [3901987654.0, float("nan")], "TITLE_RAW": ["Nurse", "Cook"], "ONET": [291141.0, 35201400.0]}
    pq.write_table(pa.table(rows), tmp_path / "a.parquet")
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pa.table(rows).to_pylist()))
    for name in ("a.parquet", "a.jsonl"):
        postings = read_postings([str(tmp_path / name)], OCCUPATIONS).postings
        assert [(p.posting_id, p.onet_code) for p in postings] == [("3901987654", "29-1141.00"), ("", "35-2014.00")]


def test_a_body_is_plain_text_before_it_is_cut(tmp_path: Path) -> None:
    body = "<p class='text'>" * 2_000 + "Care for &amp;amp; wash patients"
    path = write_postings(tmp_path / "a.csv", [("Nurse", "29-1141.00", body)], columns=("TITLE_RAW", "ONET", "BODY"))
    found = read_postings([str(path)], OCCUPATIONS)
    assert (found.postings[0].body, found.changed) == ("Care for & wash patients", {})


def test_files_are_read_one_after_the_other(tmp_path: Path) -> None:
    paths = [str(write_postings(tmp_path / f"{name}.csv", [(name, "29-1141.00")])) for name in "ba"]
    assert [posting.title for posting in read_postings(paths, OCCUPATIONS).postings] == ["b", "a"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("2,,x,29-1141.00", "no title"),
        ("2,\u00a0 ,x,29-1141.00", "no title"),
        ("2,Nurse,x,", "no label"),
        ("2,Nurse", "no label"),
        ("2,Nurse,x,99-9999.00", "a label outside the taxonomy"),
        ("2,N/A,x,29-1141.00", "no title"),
        ("2,nan,x,29-1141.00", "no title"),
        ("2,Nurse,x,None", "no label"),
        ("2,Nurse,x, - ", "no label"),
        ("2,Nurse,x,29-1141.1", "a label that is no O*NET-SOC code"),
    ],
)
def test_a_row_that_teaches_nothing_is_left_out_and_counted_with_its_first_place(row: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "jobs.csv"
    path.write_text(f"{HEADER}{GOOD}{row}\n{GOOD.replace('1', '3', 1)}{row}\n", encoding="utf-8")
    read = read_postings([str(path)], OCCUPATIONS)
    assert len(read.postings) == 2
    assert list(read.left_out) == [reason]
    count, where = read.left_out[reason]
    assert (count, where[: len("jobs.csv, row 3")]) == (2, "jobs.csv, row 3")


@pytest.mark.parametrize("title", [["Nurse"], {"a": 1}, True, "\ud800"])
def test_a_title_that_is_no_text_is_not_called_missing(title: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"TITLE_RAW": t, "ONET": "29-1141.00"}) + "\n" for t in ("Nurse", title)))
    assert list(read_postings([str(path)], OCCUPATIONS).left_out) == ["a value in TITLE_RAW that is no text"]


def latin_1_in_row_57() -> bytes:
    return (HEADER + GOOD * 55).encode() + "57,Infirmière,x,29-1141.00\n".encode("latin-1") + GOOD.encode()


UNREADABLE: list[tuple[str, bytes | None, str]] = [
    ("a.csv", None, "cannot be read: No such file"),
    ("a.csv", b"", "is empty"),
    ("a.csv", HEADER.encode(), "no labelled posting to learn from in .*: no rows"),
    ("a.csv", b"ID,TITLE_RAW,CODE\n1,Nurse,x\n", "no column for the O.NET code: .*ONET.*; found: ID, TITLE_RAW, CODE"),
    ("a.csv", b"ID:TITLE_RAW:ONET\n1:Nurse:x\n", "no column for the title: .*; found: ID:TITLE_RAW:ONET"),
    ("a.csv", b"TITLE_RAW,ONET,ONET\nNurse,x,y\n", "the column 'ONET' twice"),
    ("a.csv", latin_1_in_row_57(), "row 57: not UTF-8; convert the file"),
    ("a.csv", (HEADER + GOOD).encode("utf-16"), "is not UTF-8 text; convert it"),
    ("a.csv", b"\0" * 1000, "is not UTF-8 text"),
    ("a.csv", (HEADER + GOOD + '2,"Nurse,x,29-1141.00\n' + GOOD).encode(), "row 3: .*is a quote missing"),
    ("a.csv", (HEADER + GOOD + "2,Nur\0se,x,29-1141.00\n").encode(), "row 3: a NUL byte"),
    ("a.csv", (HEADER + GOOD + "2,Nurse, nights,x,29-1141.00\n").encode(), "row 3: 5 cells under 4 columns"),
    ("a.csv", (HEADER + "1,Nurse,x,99-9999.00\n").encode(), r"1 rows with a label outside .*a.csv, row 2 \(99-9999.00\)"),
    ("a.csv", (HEADER + "1,Nurse,x,\n" * 3).encode(), "3 rows with no label, first at a.csv, row 2"),
    (
        "a.csv",
        (HEADER + "1,Nurse,Unclassified,\n").encode(),
        "in .*: reject examples: 1 rows labelled Unclassified",
    ),
    ("a.jsonl", b"", "is empty"),
    ("a.jsonl", b"\n \n", "is empty"),
    ("a.jsonl", b'{"TITLE_RAW": "Nurse", "ONET": "29-1141.00"}\n{"TITLE_', "row 2: not JSON"),
    ("a.jsonl", b'{"TITLE_RAW": "Infirmi\xe8re"}\n', "row 1: not UTF-8; convert the file"),
    ("a.jsonl", '{"TITLE_RAW": "Nurse"}\n'.encode("utf-16"), "row 1: not UTF-8; convert the file"),
    ("a.jsonl", b"[" * 100_000, "row 1: not JSON"),
    ("a.jsonl", b"[1, 2]\n", "row 1: a JSON object is expected"),
    ("a.jsonl", b'{"a": 1}\n{"b": 2}\n', "no column for the title: .*; found: a, b"),
    ("a.parquet", b"", "cannot be read as Parquet"),
    ("a.parquet", (HEADER + GOOD).encode(), "cannot be read as Parquet"),
    ("a.xls", b"", "cannot tell the format from its ending; expected .csv"),
    ("postings", b"", "cannot tell the format from its ending"),
]


@pytest.mark.parametrize(("name", "content", "complaint"), UNREADABLE)
def test_what_cannot_be_read_is_refused_naming_file_and_place(
    name: str, content: bytes | None, complaint: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(TableError, match=complaint) as refused:
        read_postings([str(tmp_path / name)], OCCUPATIONS)
    assert name in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["folder.csv", "folder.jsonl", "folder.parquet"])
def test_a_folder_is_no_file(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(TableError, match=f"{name} cannot be read: .*directory"):
        read_postings([str(tmp_path / name)], OCCUPATIONS)


@pytest.mark.parametrize(
    ("columns", "complaint"),
    [
        ({"TITLE_RAW": [[1], [2]]}, "column TITLE_RAW holds list<.*>, not text"),
        ({"TITLE_RAW": [b"Nurse", b"\xff"]}, "column TITLE_RAW holds binary, not text; cast it to string"),
        ({"ONET": [True, False]}, "column ONET holds bool, not text"),
        ({"ONET": [None, None]}, "column ONET holds null, not text"),
    ],
)
def test_parquet_columns_of_another_type_are_refused(columns: dict[str, list[Any]], complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"TITLE_RAW": ["Nurse", "Cook"], "ONET": ["29-1141.00"] * 2, **columns}), path)
    with pytest.raises(TableError, match=rf"a\.parquet: {complaint}"):
        read_postings([str(path)], OCCUPATIONS)


@given(
    header=st.sampled_from([HEADER.encode(), b""]),
    content=st.binary(max_size=60),
    ending=st.sampled_from(["csv", "tsv", "jsonl", "parquet", "xlsx"]),
)
def test_no_bytes_end_in_anything_but_postings_or_a_complaint(
    header: bytes, content: bytes, ending: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any.{ending}"
    path.write_bytes(header + content)
    with pytest.raises(TableError, match=rf"any\.{ending}"):
        read_postings([str(path)], {})


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        (pa.timestamp("ms"), 1_750_000_000_000, "2025-06-15 15:06:40.000"),
        (pa.timestamp("ns"), 1_750_000_000_000_000_001, "2025-06-15 15:06:40.000000001"),
        (pa.timestamp("ms"), 10**15, "<value out of range: 1000000000000000>"),
        (pa.date32(), 20_254, "2025-06-15"),
        (pa.duration("ns"), 1, "1"),
    ],
)
def test_any_time_that_parquet_holds_is_read_as_text(kind: pa.DataType, value: int, shown: str, tmp_path: Path) -> None:
    table = pa.table({"TITLE_RAW": ["Nurse"], "ONET": ["29-1141.00"], "POSTED": pa.array([value]).cast(pa.int64())})
    whole = pa.int32() if kind == pa.date32() else pa.int64()
    made = table.set_column(2, "POSTED", table["POSTED"].cast(whole).cast(kind))
    pq.write_table(made.append_column("unknown", pa.array([10**15], pa.timestamp("ms"))), tmp_path / "a.parquet")
    (posting,) = read_postings([str(tmp_path / "a.parquet")], OCCUPATIONS).postings
    assert posting.posted_at == shown


def test_parquet_text_that_is_not_utf_8_is_refused_naming_its_row(tmp_path: Path) -> None:
    titles = pa.array([b"Nurse"] * 1_500 + ["Infirmi\u00e8re".encode("latin-1")] + [b"Nurse"] * 7)
    damaged = pa.Array.from_buffers(pa.string(), len(titles), titles.buffers())
    pq.write_table(pa.table({"TITLE_RAW": damaged, "ONET": ["29-1141.00"] * len(titles)}), tmp_path / "a.parquet")
    with pytest.raises(TableError, match=r"a\.parquet, row 1501: not UTF-8"):
        read_postings([str(tmp_path / "a.parquet")], OCCUPATIONS)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_body_of_50_megabytes_is_cut_and_takes_a_few_times_its_size(name: str, tmp_path: Path) -> None:
    rows = [{"TITLE_RAW": f"Nurse {i}", "BODY": "x" * size, "ONET": "29-1141.00"} for i, size in enumerate((50_000_000, 20_000))]
    if name == "a.csv":
        write_postings(tmp_path / name, [list(row.values()) for row in rows], columns=list(rows[0]))
    else:
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    del rows
    tracemalloc.start()
    read = read_postings([str(tmp_path / name)], OCCUPATIONS)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [len(posting.body or "") for posting in read.postings] == [MAX_BODY_CHARS] * 2
    assert f"cut: 1 rows with a body of more than 20,000 characters, first at {name}, row {2 - (name == 'a.jsonl')}" in [
        *read.describe()
    ]
    assert kept < 5_000_000
    assert peak < 8 * 50_000_000, "the csv module takes four bytes a character"


def test_the_name_starter_stands_for_the_built_in_postings_in_every_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "starter").mkdir()
    monkeypatch.chdir(tmp_path)
    assert read_postings(["starter"], OCCUPATIONS).postings[0].onet_code in OCCUPATIONS
