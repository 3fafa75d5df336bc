"""What names the job in a title stays, what does not goes, and nothing that is sent can break or slow the cleaning."""

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import noise
from schemas.text import MAX_CLEANED_CHARS, clean_title, plain_text, title_key

EXAMPLES = [
    tuple(line.split(" => "))
    for line in (Path(__file__).parent / "title_cleaning.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("# ")
]
PIECES = [
    *(raw for raw, _ in EXAMPLES[::3]),
    *(
        "Nurse",
        "RN",
        "PT",
        "Remote",
        "Boise",
        "ID",
        "TX",
        "7p-7a",
        "$20/hr",
        "Inc.",
        "Acme Group",
        "Tech",
        "or",
        "é",
        "\ud800",
        "a\u0301",
    ),
    *(" - ", ", ", " (", ") ", "/", " | ", "!", " + ", " in ", " at ", " ", "-", "[", "]", ".", "*"),
]
TITLES = st.one_of(
    st.text(), st.lists(st.sampled_from(PIECES), max_size=8).map("".join), st.lists(st.sampled_from(PIECES)).map(" ".join)
)


def test_there_are_examples_of_every_rule() -> None:
    assert len(EXAMPLES) >= 250
    assert len({raw for raw, _ in EXAMPLES}) == len(EXAMPLES)


@pytest.mark.parametrize(("raw", "cleaned"), EXAMPLES)
def test_what_names_the_job_stays_and_the_rest_goes(raw: str, cleaned: str) -> None:
    assert clean_title(raw) == cleaned


@settings(deadline=None, max_examples=500)
@given(TITLES)
def test_cleaning_a_clean_title_changes_nothing(title: str) -> None:
    assert clean_title(clean_title(title)) == clean_title(title)


@settings(deadline=None, max_examples=300)
@given(TITLES)
def test_a_title_with_text_is_never_cleaned_to_nothing(title: str) -> None:
    assert bool(clean_title(title)) == bool(plain_text(title))


@settings(deadline=None)
@given(TITLES)
def test_plain_text_and_title_are_cleaned_alike(title: str) -> None:
    assert clean_title(plain_text(title)) == clean_title(title)


@pytest.mark.parametrize(
    "title",
    [
        "Fachkraft für Lagerlogistik",
        "Enfermera de cuidados intensivos",
        "Infirmier de nuit",
        "Técnico IT",
        "软件工程师",
        "Kierowca kat. C+E",
    ],
)
def test_a_title_in_another_language_keeps_its_words(title: str) -> None:
    assert clean_title(title).startswith(title.split(maxsplit=1)[0])


def test_two_ways_of_posting_one_job_meet_under_one_key() -> None:
    one, other = "REGISTERED NURSE (Nights) - Boise, ID", "RN - $40/hr - Sign On Bonus!"
    assert title_key(clean_title(one)) == title_key(clean_title(other))


def test_a_title_longer_than_any_real_one_is_left_as_it_is() -> None:
    title = "Baker " * (MAX_CLEANED_CHARS // 6) + "(Remote)"
    assert clean_title(title) == title


SHAPES = [
    " ",
    "(",
    "1",
    ",",
    "-",
    " - ",
    "1 ",
    "$1 ",
    "up to ",
    "a, ",
    "(a) ",
    "RN ",
    "1st & ",
    "hiring now ",
    "in TX, ",
    "now ",
    ". ",
    "12:00 - ",
    "we are now ",
    "own car and ",
    "join our ",
    "PT/",
    "R.N.",
    "RN-",
    "RN_",
    "w/ ",
    "m/",
    "mon-",
    "TX ",
    "acountnat ",
]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_million_characters_of_any_shape_cost_less_than_a_second(shape: str) -> None:
    started = time.process_time()
    clean_title(shape * (1_000_000 // len(shape)))
    assert time.process_time() - started < 1


@pytest.mark.parametrize("shape", SHAPES)
def test_the_longest_title_that_is_cleaned_costs_milliseconds_whatever_its_shape(shape: str) -> None:
    started = time.process_time()
    clean_title("x" + shape * ((MAX_CLEANED_CHARS - 2) // len(shape)) + "x")
    assert time.process_time() - started < 0.2


@pytest.mark.parametrize("raw", [raw for raw, cleaned in EXAMPLES if noise.PHRASES.search(raw)])
def test_every_phrase_holds_a_word_that_triggers_its_search(raw: str) -> None:
    assert not noise.PHRASE_WORDS.isdisjoint("".join(c if c.isascii() and c.isalpha() else " " for c in raw.casefold()).split())
