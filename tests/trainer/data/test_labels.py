"""A label means a code of the taxonomy, the successor of an older code, a new category on request, or that no occupation fits."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from schemas.events import LabelledPosting
from tests.support.training_data import OCCUPATIONS, write_postings
from trainer.data.files import LabelledRows, read_postings
from trainer.data.labels import (
    FROM_OLDER_CODE,
    FROM_SIX_DIGITS,
    NO_CODE,
    OUTSIDE_TAXONOMY,
    SPLIT_CODE,
    Label,
    LabelReader,
    LabelRules,
)
from trainer.data.onet import read_taxonomy
from trainer.data.packaged import read_older_codes

NAMES = read_taxonomy(None).names
COLUMNS = ("ID", "TITLE_RAW", "ONET_NAME", "ONET")
Read = Callable[..., LabelledRows]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read rows of id, title, name and code."""

    def run(*rows: tuple[str, str, str, str], names: Mapping[str, str] = NAMES, **rules: Any) -> LabelledRows:
        path = write_postings(tmp_path / "a.csv", rows, columns=COLUMNS)
        return read_postings([str(path)], names, rules=LabelRules(**rules))

    return run


def label(code: str, name: str | None = None, **rules: Any) -> Label:
    return LabelReader(NAMES, LabelRules(**rules)).read(LabelledPosting(title="A job", onet_code=code, onet_title=name))


def test_an_older_code_became_codes_that_are_valid_and_is_not_itself() -> None:
    older = read_older_codes()
    assert len(older) == 262
    assert not older.keys() & NAMES.keys()
    assert {new for successors in older.values() for new in successors} <= NAMES.keys()
    assert all(len(set(successors)) == len(successors) for successors in older.values())
    assert older["29-1062.00"] == ("29-1215.00",)
    assert older["15-1134.00"] == ("15-1254.00", "15-1255.00")


@pytest.mark.parametrize("code", sorted({"29-1141.00", "13-2099.00", "11-9199.00", "17-3029.00"}))
def test_a_code_of_the_taxonomy_is_taken_as_it_is(code: str) -> None:
    assert label(code, "Whatever") == Label(code)


@pytest.mark.parametrize(
    ("code", "name", "meant"),
    [
        ("29-1062.00", None, Label("29-1215.00", mapped_from=FROM_OLDER_CODE)),
        ("29-1062.00", "Family and General Practitioners", Label("29-1215.00", mapped_from=FROM_OLDER_CODE)),
        ("29-1062", None, Label("29-1215.00", mapped_from=FROM_OLDER_CODE)),
        ("29-1141", None, Label("29-1141.00", mapped_from=FROM_SIX_DIGITS)),
        ("15-1134.00", "web developers ", Label("15-1254.00", mapped_from=FROM_OLDER_CODE)),
        ("15-1134.00", "Web and Digital Interface Designers", Label("15-1255.00", mapped_from=FROM_OLDER_CODE)),
        ("15-1132.00", "Software Developers, Applications", Label(left_out=SPLIT_CODE)),
        ("15-1132.00", None, Label(left_out=SPLIT_CODE)),
        ("15-1132", "", Label(left_out=SPLIT_CODE)),
        ("13-1199.02", None, Label("13-1199.00", mapped_from=FROM_OLDER_CODE)),
        ("19-1020", None, Label("19-1029.04", mapped_from=FROM_OLDER_CODE)),
        ("15-9999.00", "Prompt Engineers", Label(left_out=OUTSIDE_TAXONOMY)),
        ("99-9999", None, Label(left_out=OUTSIDE_TAXONOMY)),
        ("nurse", None, Label(left_out=NO_CODE)),
        ("29-1141.1", None, Label(left_out=NO_CODE)),
    ],
)
def test_a_label_outside_the_taxonomy_is_mapped_where_there_is_one_code_it_can_mean(
    code: str, name: str | None, meant: Label
) -> None:
    assert label(code, name) == meant


def test_a_split_code_has_one_meaning_where_the_taxonomy_has_one_successor() -> None:
    posting = LabelledPosting(title="A job", onet_code="15-1134.00", onet_title="Web Developers")
    names = {"15-1255.00": NAMES["15-1255.00"]}
    assert LabelReader(names, LabelRules()).read(posting) == Label("15-1255.00", mapped_from=FROM_OLDER_CODE)


def test_a_code_is_known_however_it_is_spelled_and_named_as_it_was_given(read: Read) -> None:
    found = read(("1", "Nurse", "", "29114100"), ("2", "RN", "", '="29-1141.00"'), ("3", "GP", "", "29\u20131062"))
    assert [posting.onet_code for posting in found.postings] == ["29-1141.00", "29-1141.00", "29-1215.00"]
    assert list(found.describe()) == ["mapped: 1 rows from codes of an older O*NET-SOC, first at a.csv, row 4 (29\u20131062)"]


def test_an_older_code_is_mapped_only_into_the_taxonomy_in_use() -> None:
    posting = LabelledPosting(title="A job", onet_code="29-1062.00")
    assert LabelReader(OCCUPATIONS, LabelRules()).read(posting).left_out == OUTSIDE_TAXONOMY


def test_mapped_rows_are_learned_from_and_reported_with_their_count_and_first_place(read: Read) -> None:
    rows = [("1", "RN", "", "29-1141"), ("2", "GP", "", "29-1062.00"), ("3", "Family doctor", "", "29-1062.00")]
    found = read(("0", "Nurse", "", "29-1141.00"), *rows)
    assert [posting.onet_code for posting in found.postings] == ["29-1141.00", "29-1141.00", "29-1215.00", "29-1215.00"]
    assert list(found.describe()) == [
        "mapped: 1 rows from six-digit SOC codes, first at a.csv, row 3 (29-1141)",
        "mapped: 2 rows from codes of an older O*NET-SOC, first at a.csv, row 4 (29-1062.00)",
    ]


NEW = [
    ("1", "Prompt engineer", "Prompt Engineers", "15-9999.00"),
    ("2", "Prompter", "", "15-9999.00"),
    ("3", "LLM whisperer", "Prompters", "15-9999.00"),
    ("4", "LLM engineer", "Prompt  Engineers", "15-9999.00"),
    ("5", "Trader", "", "13-9999.00"),
    ("6", "Trader", "Traders", "13-99"),
    ("7", "Nurse", "Registered Nurses", "29-1141.00"),
]


def test_a_new_category_has_all_rows_of_its_code_and_their_most_frequent_name(read: Read) -> None:
    found = read(*NEW, new_categories=True)
    assert [(category.onet_code, category.onet_title) for category in found.categories] == [("15-9999.00", "Prompt Engineers")]
    assert [posting.posting_id for posting in found.postings] == ["1", "2", "3", "4", "7"]
    assert list(found.left_out.values()) == [(2, "a.csv, row 7 (13-99)")]


def test_without_being_asked_for_new_categories_are_reported_and_the_flag_is_named(read: Read) -> None:
    found = read(*NEW)
    assert not found.categories
    line, no_code = found.describe()
    assert no_code == f"left out: 1 rows with {NO_CODE}, first at a.csv, row 7 (13-99)"
    assert line == (
        f"left out: 5 rows with {OUTSIDE_TAXONOMY}, first at a.csv, row 2 (15-9999.00); "
        "--new-categories keeps those of a code with a name"
    )


def test_a_code_that_was_split_makes_no_new_category(read: Read) -> None:
    found = read(NEW[-1], ("8", "Coder", "Software Developers, Applications", "15-1132.00"), new_categories=True)
    assert (found.categories, list(found.left_out)) == ((), [SPLIT_CODE])


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("Unclassified", "29-1141.00"),
        ("x", "Unclassified"),
        ("", "UNCLASSIFIED"),
        (" unclassified", "99-9999.00"),
        ("Unclassified", "00-0000.00"),
        ("Unclassified", ""),
    ],
)
def test_a_row_labelled_unclassified_is_a_reject_example_and_has_no_category(name: str, code: str, read: Read) -> None:
    found = read(NEW[-1], ("8", "Great job", name, code), new_categories=True)
    assert [posting.title for posting in found.postings] == ["Nurse"]
    assert [posting.title for posting in found.rejects] == ["Great job"]
    assert not found.left_out
    assert not found.categories
    assert list(found.describe()) == ["reject examples: 1 rows labelled Unclassified"]


def test_reject_examples_are_left_out_and_counted_where_they_are_to_be_ignored(read: Read) -> None:
    found = read(NEW[-1], ("8", "Great job", "", "Unclassified"), unclassified="ignore")
    assert (found.rejects, len(found.postings)) == ((), 1)
    assert found.left_out == {"the label Unclassified": (1, "a.csv, row 3 (Unclassified)")}


def test_unclassified_is_one_category_where_it_is_to_be_one(read: Read) -> None:
    rows = [("8", "Great job", "Whatever", "unclassified"), ("9", "Work", "Unclassified", "29-1141.00")]
    found = read(NEW[-1], *rows, unclassified="category")
    assert not found.rejects
    assert [posting.onet_code for posting in found.postings] == ["29-1141.00", "99-9999.00", "99-9999.00"]
    assert [(category.onet_code, category.onet_title) for category in found.categories] == [("99-9999.00", "Unclassified")]
