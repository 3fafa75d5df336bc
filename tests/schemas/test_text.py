"""The text that a model sees is the same for every spelling of a title, in training and in serving."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.text import TEMPLATE_ID, clean_title, title_key


@pytest.mark.parametrize(
    ("title", "text"),
    [
        ("Registered Nurse", "Registered Nurse"),
        ("  Registered\u00a0\u2003Nurse\r\n", "Registered Nurse"),
        ("Ｃｏｏｋ", "Cook"),
        ("O\ufb03ce Clerk", "Office Clerk"),
        ("Cafe\u0301 Manager", "Café Manager"),
        ("CDL-A Driver (m/f/d) – $30/hr", "CDL-A Driver"),
        (" \t\n\u3000", ""),
    ],
)
def test_template_title_v2_stays_what_artifacts_were_trained_on(title: str, text: str) -> None:
    assert TEMPLATE_ID == "title-v2"
    assert clean_title(title) == text


@settings(deadline=None)
@given(st.text(), st.sampled_from([" ", "\n", "\u00a0", "\t \u3000"]))
def test_white_space_around_a_title_changes_nothing(title: str, space: str) -> None:
    assert clean_title(space + title + space) == clean_title(title)


@pytest.mark.parametrize(("one", "other"), [("REGISTERED nurse", "Registered  Nurse "), ("Straßenbauer", "STRASSENBAUER")])
def test_two_spellings_of_one_title_meet_under_one_key(one: str, other: str) -> None:
    assert title_key(clean_title(one)) == title_key(clean_title(other))
