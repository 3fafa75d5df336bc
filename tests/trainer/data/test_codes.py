"""A code is read in every spelling that has one meaning, and in no other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.codes import read_beginning, read_code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        *((text, "29-1141.00") for text in ("29-1141.00", "29-1141.0", "29114100", "29114100.0", "29.1141.00", "291141.00")),
        *((text, "29-1141.00") for text in (" 29-1141.00\u00a0", '="29-1141.00"', "'29-1141.00", "\u201c29-1141.00\u201d")),
        *((text, "29-1141.00") for text in ("29\u20131141.00", "29 \u2014 1141.00", "29\u22121141.00", "29\u20111141-00")),
        *((text, "29-1141.00") for text in ("29-1141.00 Registered Nurses", "29-1141.00: Nurses", "O*NET-SOC 29-1141.00")),
        *((text, "29-1141") for text in ("29-1141", "291141", "291141.0", "29 1141", "SOC: 29-1141", "29-1141 (Nurses)")),
        ("159999.01", "15-9999.01"),
    ],
)
def test_a_code_is_read_in_every_spelling_that_has_one_meaning(text: str, code: str) -> None:
    assert read_code(text) == code


@pytest.mark.parametrize(
    "text", ["", "nurse", "29-1141.1", "29-114", "2911410", "29-1141.000", "29-1141.00; 29-1151.00", "15-1252, 15-1253", "Nov-21"]
)
def test_what_has_no_or_several_meanings_stays_as_it_is(text: str) -> None:
    assert read_code(text) == text


@given(st.text(alphabet="0123456789-. \u2013=\"'abc:("))
def test_a_code_that_was_read_is_read_as_itself(text: str) -> None:
    assert read_code(read_code(text)) == read_code(text)


@pytest.mark.parametrize(
    ("text", "beginning"),
    [
        ("29-1141.00", "29-1141.00"),
        ("29-1141", "29-1141"),
        ("15-12", "15-12"),
        ("13-", "13-"),
        ("13", "13"),
        ("13\u2013", "13-"),
        (" 29114100 ", "29-1141.00"),
        ("1", None),
        ("13-x", None),
        ("29-1141.1", None),
        ("29-1141.0", "29-1141.00"),
        ("13-99999", None),
        ("", None),
    ],
)
def test_the_beginning_of_a_code_stands_for_its_group(text: str, beginning: str | None) -> None:
    assert read_beginning(text) == beginning
