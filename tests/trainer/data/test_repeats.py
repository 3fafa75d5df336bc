"""A repeated posting counts once, under its last label; titles that experts disagree on are reported."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tests.support.tiny_model  # noqa: F401 - sets the pace of hypothesis
from schemas.events import LabelledPosting
from tests.support.trainer_data import OCCUPATIONS, write_postings
from trainer.data.files import read_postings
from trainer.data.repeats import DUPLICATE, RELABELLED, Place, describe_disagreement, drop_repeats

NURSE, COOK = "29-1141.00", "35-2014.00"
COLUMNS = ("ID", "TITLE_RAW", "ONET")
Given = list[tuple[str, str, str]]


@pytest.mark.parametrize(
    ("rows", "kept", "left_out"),
    [
        ([("1", "Nurse", NURSE)] * 3, [("Nurse", NURSE)], {DUPLICATE: (2, "a.csv, row 3")}),
        ([("1", "Nurse", COOK), ("1", "Nurse", NURSE)], [("Nurse", NURSE)], {RELABELLED: (1, "a.csv, row 2")}),
        ([("1", "Nurse", NURSE), ("1", "Cook", COOK)], [("Nurse", NURSE), ("Cook", COOK)], {}),
        ([("1", "Nurse", NURSE), ("2", "Nurse", NURSE)], [("Nurse", NURSE)] * 2, {}),
        ([("", "Nurse", NURSE), ("", "Nurse", NURSE), ("", "Nurse", COOK)], [("Nurse", NURSE)] * 2 + [("Nurse", COOK)], {}),
    ],
    ids=["the same again", "another code", "another title", "another id", "no id"],
)
def test_a_posting_is_known_by_its_id_and_title_and_its_last_label_stands(
    rows: Given, kept: list[tuple[str, str]], left_out: dict[str, tuple[int, str]], tmp_path: Path
) -> None:
    read = read_postings([str(write_postings(tmp_path / "a.csv", rows, columns=COLUMNS))], OCCUPATIONS)
    assert [(posting.title, posting.onet_code) for posting in read.postings] == kept
    assert read.left_out == left_out


def test_a_correction_may_come_in_a_later_file_and_may_say_that_no_occupation_fits(tmp_path: Path) -> None:
    first = write_postings(tmp_path / "a.csv", [("1", "Nurse", NURSE), ("2", "Job", COOK)], columns=COLUMNS)
    later = write_postings(tmp_path / "b.csv", [("2", "Job", "Unclassified")], columns=COLUMNS)
    read = read_postings([str(first), str(later)], OCCUPATIONS)
    assert ([p.title for p in read.postings], [p.title for p in read.rejects]) == (["Nurse"], ["Job"])
    assert read.left_out == {RELABELLED: (1, "a.csv, row 3")}


@given(st.lists(st.tuples(st.sampled_from(["", "1", "2"]), st.sampled_from("ab"), st.sampled_from([NURSE, COOK]))))
def test_every_row_is_kept_or_counted_and_what_is_kept_is_the_last_of_its_kind(rows: Given) -> None:
    counted: Counter[str] = Counter()
    postings = [LabelledPosting(posting_id=id_, title=title, onet_code=code) for id_, title, code in rows]
    places: list[Place] = [("a", row) for row in range(len(rows))]
    kept = drop_repeats(zip(postings, places, strict=True), lambda reason, _place: counted.update([reason]))
    assert len(kept) + counted.total() == len(rows)
    found = {(posting.posting_id, posting.title): posting.onet_code for posting, _place in kept if posting.posting_id}
    assert found == {(id_, title): code for id_, title, code in rows if id_}
    assert sum(not posting.posting_id for posting, _place in kept) == sum(not id_ for id_, *_ in rows)
    assert not drop_repeats(kept, counted.update) or len(drop_repeats(kept, counted.update)) == len(kept)


def test_titles_with_several_codes_are_reported_with_the_one_that_has_most() -> None:
    titles = ["physician"] * 3 + ["nurse"] * 2 + ["cook"] * 3
    assert describe_disagreement(titles, ["a", "b", "c", "d", "e", "f", "f", "f"]) == (
        "2 titles have more than one code, most: 'physician' with 3"
    )
    assert describe_disagreement(["cook", "cook"], ["f", "f"]) is None
    assert describe_disagreement([], []) is None
