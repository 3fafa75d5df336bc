"""The taxonomy is that of the release, and an incomplete release is refused with file and row."""

from pathlib import Path

import pytest

from schemas.tables import TableError
from tests.support.training_data import OCCUPATIONS, write_release
from trainer.data.onet import JOB_TITLES, list_release_files, read_taxonomy

OCCUPATION_FILE, REPORTED, ALTERNATE = "Occupation Data.txt", "Sample of Reported Titles.txt", "Alternate Titles.txt"


def append(path: Path, text: str) -> None:
    path.write_bytes(path.read_bytes() + text.encode())


def test_occupations_are_numbered_in_the_order_of_their_codes(tmp_path: Path) -> None:
    taxonomy = read_taxonomy(write_release(tmp_path, occupations=dict(reversed(OCCUPATIONS.items()))))
    assert {c.onet_code: c.onet_title for c in taxonomy.categories} == OCCUPATIONS
    assert list(taxonomy.numbers.items()) == [(code, number) for number, code in enumerate(sorted(OCCUPATIONS))]


def test_without_a_release_the_packaged_taxonomy_stands(tmp_path: Path) -> None:
    taxonomy = read_taxonomy(None)
    assert len(taxonomy.categories) == 1_016
    assert not taxonomy.titles
    assert [c.onet_code for c in taxonomy.categories] == sorted(taxonomy.numbers)


def test_job_titles_are_kept_once_per_occupation_reported_ones_first(tmp_path: Path) -> None:
    release = write_release(tmp_path)
    append(release / ALTERNATE, "29-1141.00\tcharge  NURSE\tn/a\t1\n35-2014.00\tCharge Nurse\tn/a\t1\n99-9999.00\tX\tn/a\t1\n")
    titles = read_taxonomy(release).titles
    assert titles["29-1141.00"] == ("Charge Nurse", "RN", "Staff Nurse")
    assert titles["35-2014.00"] == ("Line Cook", "Charge Nurse")
    assert set(titles) == set(OCCUPATIONS)


def rename_titles_as_in_30_3(release: Path) -> Path:
    """Give a release the job titles of releases from 30.3 on: another name, CRLF, a byte order mark, a blank last line."""
    text = (release / ALTERNATE).read_text(encoding="utf-8").replace("Alternate Title", "Job Title", 1)
    (release / JOB_TITLES).write_bytes(b"\xef\xbb\xbf" + (text + "\n").replace("\n", "\r\n").encode())
    (release / ALTERNATE).unlink()
    return release


def test_job_titles_of_release_30_3_are_the_alternate_titles_of_those_before(tmp_path: Path) -> None:
    older, newer = write_release(tmp_path / "a"), rename_titles_as_in_30_3(write_release(tmp_path / "b"))
    assert read_taxonomy(older) == read_taxonomy(newer)
    assert [path.name for path in list_release_files(newer)] == [OCCUPATION_FILE, REPORTED, JOB_TITLES]
    (newer / REPORTED).unlink()
    assert read_taxonomy(newer).titles["29-1141.00"] == ("RN", "Staff Nurse")


@pytest.mark.parametrize("character", ["\u2028", "\x85", "\x0b", "\x0c", "\x1c", '"'])
def test_only_a_line_feed_ends_a_row_and_nothing_quotes(character: str, tmp_path: Path) -> None:
    release = write_release(tmp_path)
    append(release / ALTERNATE, f"29-1141.00\tN{character}urse\tn/a\t1\n")
    assert f"N{character}urse" in read_taxonomy(release).titles["29-1141.00"]


def test_windows_line_ends_and_a_byte_order_mark_change_nothing(tmp_path: Path) -> None:
    plain, other = write_release(tmp_path / "a"), write_release(tmp_path / "b")
    for path in other.iterdir():
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_taxonomy(plain) == read_taxonomy(other)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        (OCCUPATION_FILE, None, "cannot be read: No such file.*; is this an O.NET text release"),
        (REPORTED, None, "cannot be read: No such file"),
        (ALTERNATE, None, "cannot be read: No such file"),
        (OCCUPATION_FILE, "", "has no column 'O.NET-SOC Code'; found: "),
        (REPORTED, "O*NET-SOC Code\tTitle\n", "has no column 'Reported Job Title'; found: O.NET-SOC Code, Title"),
        (OCCUPATION_FILE, "O*NET-SOC Code\tTitle\n", "lists no occupation"),
        (
            OCCUPATION_FILE,
            "O*NET-SOC Code\tTitle\n11-1011.00\tChief\n29-11",
            "row 3: 1 cells under 2 columns; is the file cut short",
        ),
        (OCCUPATION_FILE, "O*NET-SOC Code\tTitle\n11-1011\tChief\n", "row 2: '11-1011' is no O.NET-SOC code"),
        (OCCUPATION_FILE, "O*NET-SOC Code\tTitle\n11-1011.00\t \n", "row 2: .*or has no title"),
        (OCCUPATION_FILE, "O*NET-SOC Code\tTitle\n" + "11-1011.00\tChief\n" * 2, "row 3: '11-1011.00'.*comes twice"),
    ],
)
def test_a_release_that_is_not_whole_is_refused_naming_file_and_row(
    name: str, content: str | None, complaint: str, tmp_path: Path
) -> None:
    path = write_release(tmp_path) / name
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(TableError, match=complaint) as refused:
        read_taxonomy(tmp_path)
    assert name in str(refused.value)


def test_a_release_in_another_encoding_is_refused(tmp_path: Path) -> None:
    release = write_release(tmp_path)
    (release / ALTERNATE).write_bytes("O*NET-SOC Code\tAlternate Title\n29-1141.00\tInfirmière".encode("latin-1"))
    with pytest.raises(TableError, match=f"{ALTERNATE}, row 2: not UTF-8"):
        read_taxonomy(release)


@pytest.mark.parametrize("release", ["missing", "file"])
def test_a_release_is_a_folder(release: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TableError, match=f"--onet .*{release} is no folder; give the unpacked text release"):
        read_taxonomy(tmp_path / release)
