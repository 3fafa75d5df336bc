"""Which of several names counts, what a title, a body and an identifier may be, and what passes through."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.errors import InvalidMessage
from consumer.feeds.names import NAMES
from schemas.events import JobPosting
from schemas.text import plain_title
from tests.support.messages import make_codec, make_message

EVERY_NAME = [(field, name) for field, names in NAMES.items() for name in names]

PASSED_ON = [name for field, name in EVERY_NAME if field != "posting_id"]


def decode(fields: dict[str, Any] | str) -> dict[str, Any]:
    """Return the posting that a message of these fields is, as it is written; without what is null."""
    text = fields if isinstance(fields, str) else json.dumps(fields)
    posting = make_codec().decode(make_message(text.encode(), key=b"the-key"))
    assert isinstance(posting, JobPosting)
    return {name: value for name, value in posting if value is not None}


@pytest.mark.parametrize(("field", "name"), EVERY_NAME)
def test_a_field_is_read_under_each_of_its_names_and_written_under_ours(field: str, name: str) -> None:
    given_fields = {**({} if field == "title" else {"title": "Cook"}), name: "a text that is here"}
    posting = decode(given_fields)
    assert posting[field] == "a text that is here"
    assert name == field or name not in posting


def test_no_name_stands_for_two_fields() -> None:
    names = [name for _field, name in EVERY_NAME]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("nothing", [None, "", " \u00a0\n", "nan", "None", "N/A", "null", " - ", "NULL"])
@pytest.mark.parametrize(
    ("first", "second", "field"),
    [("title", "jobTitle", "title"), ("ID", "job_id", "posting_id"), ("body", "description", "body")],
)
def test_where_the_first_name_holds_nothing_the_next_one_counts(nothing: Any, first: str, second: str, field: str) -> None:
    given_fields = {"title": "Welder", "ID": "7", "body": "Welds.", first: nothing, second: "a value of its own"}
    assert decode(given_fields)[field] == "a value of its own"


def test_nan_in_the_first_name_gives_way_to_the_next_one() -> None:
    posting = decode('{"title": NaN, "headline": "Welder", "posting_id": NaN, "uuid": "u-7", "company": NaN, "employer": "Fenn"}')
    assert posting == {"title": "Welder", "posting_id": "u-7", "company": "Fenn"}


def test_a_title_that_is_a_word_for_nothing_is_empty() -> None:
    with pytest.raises(InvalidMessage, match="empty_title: the title is 'None', a word for nothing"):
        decode({"title": "None"})


@pytest.mark.parametrize(
    "fields",
    [
        {"Id": 7, "Title": "Cook", "Description": "Grills."},
        {"Job ID": "7", "Job Title": "Cook", "Job Description": "Grills."},
        {"job-id": "7", "job-title": "Cook", "job-description": "Grills."},
        {"JobID": 7, "JobTitle": "Cook", "JobDescription": "Grills."},
        {"JobID": 8, "Id": 7, "jobTitle": "Cook", "Full Description": "Grills."},
        {"UUID": "7", "Stellenbezeichnung": "Cook", "Stellenbeschreibung": "Grills."},
        {"_id": 7, "Título": "Cook", "Descripción": "Grills."},
    ],
)
def test_names_in_another_spelling_count_where_nothing_else_does(fields: dict[str, Any]) -> None:
    posting = decode(fields)
    assert (posting["posting_id"], posting["title"], posting["body"]) == ("7", "Cook", "Grills.")


def test_a_name_of_ours_beats_its_other_spellings() -> None:
    posting = decode({"Id": 8, "_id": 7, "title": "Cook", "Job-Title": "Chef", "Description": "Grills."})
    assert (posting["posting_id"], posting["title"], posting["Id"]) == ("7", "Cook", 8)


def test_a_title_as_posted_beats_the_code_of_a_taxonomy() -> None:
    code = "ET0123456789ABCDEF"
    assert decode({"title": code, "title_raw": "Lift Mechanic"}) == {
        "posting_id": "the-key",
        "title": "Lift Mechanic",
        "original_title": code,
    }
    assert decode({"title": code, "headline": "Lift Mechanic"})["title"] == "Lift Mechanic"


def test_the_name_of_a_company_beats_its_number() -> None:
    posting = decode({"title": "Cook", "company": 4711, "company_name": "Oak Diner"})
    assert (posting["company"], posting["original_company"]) == ("Oak Diner", 4711)


def test_a_field_that_was_not_chosen_meets_no_other_field() -> None:
    posting = decode({"title_raw": "Cook", "title": "Chef", "original_title": "Koch"})
    assert (posting["original_title"], posting["original_original_title"]) == ("Koch", "Chef")


@pytest.mark.parametrize(
    ("given_id", "posting_id"),
    [
        ("7", "7"),
        ("3901987654.0", "3901987654"),
        ("12345678901234567890123", "12345678901234567890123"),
        ("-0.50", "-0.50"),
        ("1e22", "1e22"),
        ('"3901987654.0"', "3901987654.0"),
        ('" a "', " a "),
        ('{"$oid": "65f0"}', "65f0"),
        ('{"$date": {"$numberLong": "17"}}', "17"),
        ('{"@type": "PropertyValue", "name": "Oak Diner", "value": 5.0}', "5"),
        ("[41]", "41"),
        ('{"_attributes": {"source": "ats"}, "_text": "k-1"}', "k-1"),
        ('[{"$t": 12}]', "12"),
        ('{"$uuid": "3b241101-e2bb-4255-8caf-4136c566a962"}', "3b241101-e2bb-4255-8caf-4136c566a962"),
        ('{"$binary": {"base64": "OyQRAeK7QlWMr0E2xWapYg==", "subType": "04"}}', "3b241101-e2bb-4255-8caf-4136c566a962"),
        ('{"$binary": "OyQRAeK7QlWMr0E2xWapYg==", "$type": "04"}', "3b241101-e2bb-4255-8caf-4136c566a962"),
        ('{"$binary": {"base64": "AQID", "subType": "00"}}', "AQID"),
        ('{"scale": 0, "value": "AeJA"}', "123456"),
        ('{"scale": 0, "value": "/w=="}', "-1"),
        ('{"scale": 2, "value": "AeJA"}', "AeJA"),
        ('{"scale": 0, "value": "R-7"}', "R-7"),
        ('{"$binary": {"base64": "AQID", "subType": "04"}}', "AQID"),
        ("NaN", "the-key"),
        ('"n/a"', "the-key"),
    ],
)
def test_an_identifier_keeps_its_digits(given_id: str, posting_id: str) -> None:
    assert decode(f'{{"title": "Cook", "id": {given_id}}}')["posting_id"] == posting_id


@pytest.mark.parametrize(
    "nothing",
    [None, "", " ", {}, [], [None], [{}], {"value": None}, {"name": "Oak Diner", "value": ""}, {"value": {"@value": "nan"}}],
)
def test_an_identifier_in_which_nothing_is_does_not_cost_the_posting(nothing: Any) -> None:
    assert decode({"title": "Cook", "identifier": nothing})["posting_id"] == "the-key"
    assert decode({"title": "Cook", "identifier": nothing, "_id": "k-1"})["posting_id"] == "k-1"


@pytest.mark.parametrize("something", [True, {"board": "north"}, ["a", "b"], [{"value": [1, 2]}]])
def test_an_identifier_that_cannot_be_read_is_refused(something: Any) -> None:
    with pytest.raises(InvalidMessage, match="invalid_field: posting_id: text or a number is expected"):
        decode({"title": "Cook", "identifier": something})


@pytest.mark.parametrize(
    ("given_body", "body"),
    [
        ("Grills.", "Grills."),
        (["Grills.", {"text": "Cleans."}, None, 7, ["Serves."]], "Grills.\nCleans.\nServes."),
        ({"text": "Grills.", "html": "<p>Grills.</p>"}, "Grills."),
        ({"rendered": {"value": "Grills."}, "value": "Cleans."}, "Cleans."),
        ({"@language": "en", "@value": "<p>Grills.</p>"}, "Grills."),
        ([{"#text": "Grills."}, {"__cdata": "<p>Cleans.</p>"}], "Grills.\n\nCleans."),
    ],
)
def test_the_text_of_a_body_is_found_in_lists_and_objects(given_body: Any, body: str) -> None:
    assert decode({"title": "Cook", "description": given_body})["body"] == body


@pytest.mark.parametrize("given_body", [7, True, {"rendered": "Grills."}, [], [{"a": [[[["Grills."]]]]}]])
def test_a_body_that_cannot_be_read_does_not_cost_the_posting(given_body: Any) -> None:
    posting = decode({"title": "Cook", "body": given_body, "description": given_body})
    assert "body" not in posting
    assert posting["description"] == given_body
    assert posting["original_body"] == given_body
    assert decode({"title": "Cook", "body": given_body, "content": "Grills."})["body"] == "Grills."


@pytest.mark.parametrize(
    ("title", "kind"), [(7, "a number"), ({"de": "Koch"}, "an object"), (["a", "b"], "a list"), (True, "true")]
)
def test_a_title_that_is_no_text_is_refused_by_name(title: Any, kind: str) -> None:
    with pytest.raises(InvalidMessage, match=f"invalid_field: title: text is expected, not {kind}"):
        decode({"title": title})
    assert decode({"title": title, "headline": "Cook"})["title"] == "Cook"


@pytest.mark.parametrize(
    "title",
    [["Cook"], {"@language": "en", "@value": "Cook"}, [{"@value": "Cook"}], {"_cdata": "Cook"}, {"@lang": "en", "#text": "Cook"}],
)
def test_the_one_title_of_a_list_or_of_marked_text_is_the_title(title: Any) -> None:
    assert decode({"title": title})["title"] == "Cook"


@given(
    st.dictionaries(
        st.sampled_from(
            [name for field, name in EVERY_NAME if field != "posting_id"] + ["pay", "original_title", "_fields_set", "self"]
        ),
        st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.text(max_size=3), max_size=2),
        max_size=8,
    )
)
def test_no_value_is_lost_whatever_names_a_message_has(fields: dict[str, Any]) -> None:
    posting = decode({**fields, "TITLE_RAW": "Registered Nurse"})
    came = [json.dumps(value) for value in posting.values()]
    for name, value in fields.items():
        blank = value is None or (isinstance(value, str) and value.strip().lower() in ("", "-"))
        if name == "TITLE_RAW" or blank or name in NAMES["body"]:
            continue  # bodies come as text
        is_title = isinstance(value, str) and plain_title(value) == posting["title"]
        assert is_title or json.dumps(value) in came, f"{name} is lost"
