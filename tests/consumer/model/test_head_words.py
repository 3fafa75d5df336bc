"""The head of a title is its last words, those that name the role, whatever stands around them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.model.head_words import MAX_WORDS, find_head

HEADS = {
    "Podiatry Office Manager": "office manager",
    "Office Manager - Podiatry": "office manager",
    "Office Manager for Podiatrist": "office manager",
    "Office Manager (Podiatry)": "office manager",
    "Manager, Podiatry Office": "manager",
    "Engineer Recruiter": "engineer recruiter",
    "Senior Welder Recruiter": "welder recruiter",
    "Secretary to the Surgeon": "secretary",
    "Assistant to the Judge": "assistant",
    "Director of Nursing": "director",
    "Director Of Nursing": "director",
    "Driver / Warehouse": "driver",
    "Sales of Pianos": "sale",
    "Nurse, Registered": "nurse",
    "Registered Nurses": "registered nurse",
    "Line Cook II": "line cook",
    "Boss": "boss",
    "Bus Driver": "bus driver",
    "Scheduler with Hospital": "scheduler",
    "C++ Developer": "c++ developer",
    "Buyer | Toys": "buyer",
    "Barista: Airport": "barista",
    "Veterinary Clinic Receptionist": "clinic receptionist",
    "- Welder": "welder",
    "of": "of",
    "III": "",
    "": "",
    "\u2014": "",
}


@pytest.mark.parametrize(("title", "head"), HEADS.items())
def test_the_words_that_name_the_role_are_found(title: str, head: str) -> None:
    assert " ".join(find_head(title).words) == head


@pytest.mark.parametrize(
    ("title", "whole"),
    [
        ("Office Manager", True),
        ("Managers", True),
        ("Manager III", True),
        ("Director of Nursing", False),
        ("Pool Office Manager", False),
    ],
)
def test_a_title_is_whole_if_it_has_no_other_words(title: str, whole: bool) -> None:
    assert find_head(title).is_whole is whole


@given(st.text())
def test_any_text_has_a_head_of_few_words(title: str) -> None:
    head = find_head(title)
    assert len(head.words) <= MAX_WORDS
    assert head == find_head(title.upper()) or not title.isascii()
