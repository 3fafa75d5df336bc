"""A mapping finds what it says and nothing else, whatever the message holds."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.errors import ConfigError, InvalidMessage
from consumer.feeds.fields import FoundFields
from consumer.feeds.json_values import parse_json
from consumer.feeds.mapping import FIELD_NAMES, ByMapping, parse_expressions
from schemas.events import JobPosting
from tests.consumer.feeds.test_expression import COSTLY, HOSTILE, LONGEST_S
from tests.support.expressions import expressions, messages
from tests.support.messages import make_codec, make_message
from tests.support.timing import cpu_seconds


def find(mapping: dict[str, list[str]], message: dict[str, Any]) -> FoundFields:
    return ByMapping(mapping).find(parse_json(json.dumps(message).encode()))


def give_up_in_time(finder: ByMapping, message: dict[str, Any]) -> None:
    with suppress(InvalidMessage):
        finder.find(message)


def decode(mapping: dict[str, list[str]], value: bytes) -> JobPosting:
    posting = make_codec(finder=ByMapping(mapping), max_message_bytes=2_000_000).decode(make_message(value))
    assert isinstance(posting, JobPosting)
    return posting


@pytest.mark.parametrize("nothing", [None, "", "  ", "nan", "N/A", [], [None], [""], {}, [[]]])
def test_the_first_expression_that_finds_something_counts(nothing: Any) -> None:
    mapping = {"title": ["a", "b.c"], "body": ["a", "b.c"], "company": ["a", "b.c"], "posting_id": ["a", "b.c"]}
    found = find(mapping, {"a": nothing, "b": {"c": "Roofer"}}).values
    empty = nothing in ([""], [[]])  # texts have nothing in them; what is only passed on is passed on as it is
    assert found == {**dict.fromkeys(mapping, "Roofer"), "company": nothing if empty else "Roofer"}


@pytest.mark.parametrize(
    ("value", "title", "body"),
    [
        (["Roofer", "Slate"], "Roofer Slate", "Roofer\nSlate"),
        ([["Roofer", None], "", [["Slate"]]], "Roofer Slate", "Roofer\nSlate"),
        (["Roofer", 7, True], "Roofer", "Roofer"),
    ],
)
def test_a_list_of_texts_is_one_text(value: Any, title: str, body: str) -> None:
    assert find({"title": ["x"], "body": ["x"]}, {"x": value}).values == {"title": title, "body": body}


def test_lists_in_other_fields_stay_as_they_are() -> None:
    message = {"towns": ["Bath", "Wells"], "firm": {"name": "Alder"}}
    found = find({"location": ["towns"], "company": ["firm"]}, message)
    assert (found.values["location"], found.values["company"]) == (["Bath", "Wells"], {"name": "Alder"})


def test_a_mapped_field_is_looked_for_nowhere_else_and_the_others_by_their_names() -> None:
    found = find({"title": ["role"]}, {"title": "ETF39E", "description": "Slates.", "id": 7}).values
    assert found == {"body": "Slates.", "posting_id": 7}


def test_a_field_at_the_top_is_used_up_and_a_nested_one_passes_through() -> None:
    posting = decode({"title": ["role"], "company": ["firm.name"]}, b'{"role": "Roofer", "firm": {"name": "Alder", "size": 3}}')
    assert (posting.title, posting.company) == ("Roofer", "Alder")
    assert posting.model_extra == {"firm": {"name": "Alder", "size": 3}}


def test_a_number_that_is_passed_on_keeps_its_digits() -> None:
    posting = decode({"title": ["t"], "posted_at": ["at.ms"]}, b'{"t": "Roofer", "at": {"ms": 1712400000000.50}}')
    assert str(posting.posted_at) == "1712400000000.50"


def test_an_expression_that_does_not_suit_a_message_finds_nothing_in_it() -> None:
    assert find({"title": ["join(' ', parts)", "name"]}, {"parts": None, "name": "Roofer"}).values["title"] == "Roofer"


def test_a_title_that_is_no_text_is_told_as_such() -> None:
    with pytest.raises(InvalidMessage, match="invalid_field: title: text is expected, not an object"):
        decode({"title": ["role"]}, b'{"role": {"code": 5}}')


@pytest.mark.parametrize("nothing", ["null", '""', '" "', "{}", "[]", "[null]", "NaN", '{"value": ""}'])
def test_a_mapped_identifier_in_which_nothing_is_does_not_cost_the_posting(nothing: str) -> None:
    message = f'{{"title": "Roofer", "ref": {nothing}, "other": "r-2"}}'.encode()
    assert decode({"posting_id": ["ref", "other"]}, message).posting_id == "r-2"
    assert decode({"posting_id": ["ref"]}, message).posting_id not in ("", "r-2")


def test_the_titles_of_a_list_may_be_marked_with_their_language() -> None:
    assert decode({"title": ["t"]}, b'{"t": [{"@value": "Dachdecker"}, {"#text": "Roofer"}]}').title == "Dachdecker Roofer"


def test_where_no_title_is_found_the_expressions_are_named() -> None:
    with pytest.raises(InvalidMessage, match=r"no_title: .*role\.name, \[a, b\]"):
        decode({"title": ["role.name", "[a, b]"]}, b'{"title": "Roofer"}')


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ({"titel": ["x"]}, "mapping: titel is no field of a posting; they are posting_id, title, "),
        ({"body": ["x", "y["]}, "mapping: body: 'y[' is no JMESPath expression at its end"),
        ({"body": ["x"] * 21}, "mapping: body: 21 expressions; the limit is 20"),
    ],
)
def test_a_bad_mapping_is_refused_with_its_field(mapping: dict[str, list[str]], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        ByMapping(mapping)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("given", "expressions"),
    [
        ("a.b", ["a.b"]),
        ('["a", "b.c"]', ["a", "b.c"]),
        ("[a, b]", ["[a, b]"]),
        ("[0]", ["[0]"]),
        ('"@type"', ['"@type"']),
        (["a", "b"], ["a", "b"]),
    ],
)
def test_a_setting_holds_one_expression_or_a_list(given: Any, expressions: list[str]) -> None:
    assert parse_expressions(given) == expressions


mappings = st.dictionaries(st.sampled_from(FIELD_NAMES), st.lists(expressions, min_size=1, max_size=3), min_size=1)


@settings(max_examples=200)
@given(mappings, messages(st.floats() | st.integers()))
def test_whatever_a_message_holds_a_mapping_raises_nothing_but_invalid_message(
    mapping: dict[str, list[str]], message: dict[str, Any]
) -> None:
    try:
        decode(mapping, json.dumps(message).encode())
    except InvalidMessage:
        return


@pytest.mark.parametrize("kind", HOSTILE)
def test_no_mapping_takes_long_on_a_megabyte(kind: str) -> None:
    message = parse_json(HOSTILE[kind])
    for expression in COSTLY:
        finder = ByMapping({field: [expression, "a"] for field in FIELD_NAMES})
        taken_s = min(cpu_seconds(give_up_in_time, finder, message) for _ in range(3))
        assert taken_s < LONGEST_S, f"{expression} took {taken_s * 1_000:.0f} ms"


def test_what_takes_too_long_costs_the_posting_only_in_a_field_that_is_needed() -> None:
    value = b'{"t": "Roofer", "a": [' + b"0," * 30_000 + b"0]}"
    assert decode({"title": ["t"], "company": ["a[*]"]}, value).company is None
    with pytest.raises(InvalidMessage, match="invalid_field: body: its mapping takes more than 10,000 steps on this message"):
        decode({"title": ["t"], "body": ["a[*]"]}, value)
