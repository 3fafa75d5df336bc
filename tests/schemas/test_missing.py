"""A value that is spelled out as missing is missing; a word that only looks like it is none."""

import pytest

from schemas.missing import is_missing


@pytest.mark.parametrize(
    "text", ["", " \n", "nan", "NaN", "None", "N/A", "n/a", "null", "NULL", "<NA>", "#N/A", "-", " \u2014 ", "\\N"]
)
def test_an_empty_cell_and_the_words_for_one_are_missing(text: str) -> None:
    assert is_missing(text)


@pytest.mark.parametrize("text", ["Nan", "NA", "0", "None left", "- Cook", "--Cook--", "nanny", "x" * 1_000_000])
def test_a_word_that_may_mean_something_is_a_value(text: str) -> None:
    assert not is_missing(text)


def test_white_space_of_any_length_is_missing() -> None:
    assert is_missing(" " * 1_000_000)
