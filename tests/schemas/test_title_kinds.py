"""Titles as people in a hurry write them, one file of made-up examples a kind, each with titles that must stay as they are."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.cleaning import apply_rules, is_bare, read_title
from schemas.job_words import JOB_WORDS, is_role, read_words
from schemas.no_job import title_names_no_job
from schemas.spelling import find_right_word
from schemas.text import clean_title

FOLDER = Path(__file__).parent / "title_kinds"
KINDS = {
    path.stem: [
        line.split(" => ") for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("# ")
    ]
    for path in sorted(FOLDER.glob("*.txt"))
}
CLEANED = [(kind, raw, wanted) for kind, examples in KINDS.items() if kind != "no_job" for raw, wanted in examples]


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_twenty_examples_of_its_own(kind: str) -> None:
    assert len({raw for raw, _ in KINDS[kind]}) == len(KINDS[kind]) >= 20


@pytest.mark.parametrize(("kind", "raw", "wanted"), CLEANED)
def test_a_hasty_title_is_read_as_it_was_meant(kind: str, raw: str, wanted: str) -> None:
    assert clean_title(raw) == wanted, kind


@pytest.mark.parametrize(("kind", "raw", "wanted"), CLEANED)
def test_a_hasty_title_is_clean_after_one_cleaning(kind: str, raw: str, wanted: str) -> None:
    assert clean_title(wanted) == wanted, (kind, raw)


@pytest.mark.parametrize(("title", "answer"), KINDS["no_job"])
def test_a_title_that_surely_names_no_job_is_told(title: str, answer: str) -> None:
    assert title_names_no_job(title) == (answer == "yes")


def test_no_job_word_and_no_similar_word_is_ever_corrected() -> None:
    known = JOB_WORDS | read_words("similar_words.txt") | read_words("frequent_words.txt")
    assert not [word for word in known if find_right_word(word)]


@pytest.mark.parametrize("word", sorted(read_words("frequent_words.txt")))
def test_every_frequent_word_is_a_job_word(word: str) -> None:
    assert word in JOB_WORDS


def test_role_words_name_a_job_and_places_and_abbreviations_do_not() -> None:
    assert all(map(is_role, ("cook", "cooks", "nurse", "welder", "rn")))
    assert not any(map(is_role, ("texas", "pa", "ma", "pt", "clinic", "senior")))


@settings(deadline=None, max_examples=500)
@given(st.lists(st.tuples(st.sampled_from(sorted(JOB_WORDS)), st.sampled_from([" ", ", "])), min_size=1, max_size=7))
def test_no_rule_changes_a_title_that_is_told_to_be_bare(words: list[tuple[str, str]]) -> None:
    title = "".join(word + after for word, after in words).strip(", ")
    assert not is_bare(title, read_title(title)) or apply_rules(title, read_title(title)) == title
