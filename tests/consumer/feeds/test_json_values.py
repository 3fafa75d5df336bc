"""Numbers keep their digits from the message to the record, and what is no JSON is refused for the accurate reason."""

import json
from contextlib import nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.errors import InvalidMessage
from consumer.feeds.json_values import MAX_DEPTH, parse_json, write_json
from tests.support.fuzzing import exact_json

whole = st.from_regex(r"\A-?(0|[1-9][0-9]{0,60})\Z").filter(lambda digits: digits != "-0")
numbers = whole | st.from_regex(r"\A-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,40})?([eE][+-]?[0-2]?[0-9]{1,2})?\Z").filter(
    lambda digits: digits != "-0"
)
texts = st.text().map(lambda text: json.dumps(text, ensure_ascii=False))
documents = st.recursive(
    numbers | texts | st.sampled_from(["null", "true", "false"]),
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda items: f"[{','.join(items)}]")
        | st.dictionaries(texts, inner, max_size=4).map(
            lambda fields: "{" + ",".join(f"{name}:{value}" for name, value in fields.items()) + "}"
        )
    ),
    max_leaves=20,
)


@given(documents)
def test_whatever_is_read_is_written_with_the_same_digits(document: str) -> None:
    value = document.encode("utf-8", "replace")
    assert exact_json(write_json(parse_json(value))) == exact_json(value)


@pytest.mark.parametrize(
    "digits",
    [
        "1.10",
        "1e22",
        "1E+2",
        "-0.0",
        "12345678901234567890",
        "-9223372036854775809",
        "9" * 400,
        "0.30000000000000000001",
        "5e-324",
    ],
)
def test_no_digit_of_a_number_changes(digits: str) -> None:
    assert write_json(parse_json(b'{"a":[{"b":%s}]}' % digits.encode())) == b'{"a":[{"b":%s}]}' % digits.encode()


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 400 + ".0"])
def test_what_no_double_holds_is_written_as_null(number: str) -> None:
    assert write_json(parse_json(f'{{"pay": {number}}}'.encode())) == b'{"pay":null}'


@pytest.mark.parametrize(
    ("value", "reason", "text"),
    [
        (b'"\xff"', "not_utf8", "byte 1"),
        (b"", "not_json", "EOF"),
        (b"{'a': 1}", "not_json", "key must be a string"),
        (b'{"a": 1, "a": 2}', "not_json", "the key 'a' appears twice in one object"),
        (b'{"a\\"b": 1, "a\\"b": 2}', "not_json", "appears twice"),
        (b"[" * 150 + b"]" * 150, "not_json", "nested too deeply: the limit is 100"),
        (b"[" * 5_000 + b"]" * 5_000, "not_json", "nested too deeply: the limit is 100"),
        (b"[" + b"{}," * 50_000 + b"{}]", "not_json", "more than 50,000 objects and lists"),
        (b"[" + b"0.5," * 50_000 + b"1e5," * 50_001 + b"0]", "not_json", "more than 100,000 numbers with a point or an exponent"),
        (b'["\\ud800"]', "invalid_text", "a lone surrogate"),
        (b'{"\\udc00": 1}', "invalid_text", "a lone surrogate"),
        (b'["\\ud800"', "not_json", ""),
        (b'["\\u12"]', "not_json", "escape"),
        (b"[" + b"9" * 4_301 + b"]", "not_json", "out of range"),
    ],
)
def test_what_is_no_json_is_refused_for_the_accurate_reason(value: bytes, reason: str, text: str) -> None:
    with pytest.raises(InvalidMessage) as refused:
        parse_json(value)
    assert refused.value.reason == reason
    assert text in refused.value.detail


@given(st.binary() | documents.map(str.encode), st.binary(max_size=3))
def test_any_bytes_are_a_value_or_an_invalid_message(start: bytes, end: bytes) -> None:
    try:
        write_json(parse_json(start + end))
    except InvalidMessage:
        return


@pytest.mark.parametrize("inner", ["1", '"[[["', '"]]]"', '"\\\\"', '"\\"[["', '"\\\\\\"{"'])
@pytest.mark.parametrize(("depth", "is_read"), [(MAX_DEPTH, True), (MAX_DEPTH + 1, False)])
def test_brackets_inside_strings_are_no_depth(inner: str, depth: int, is_read: bool) -> None:
    value = f"[{'[1,2],' * 60} {'[' * (depth - 1)}{inner}{']' * (depth - 1)}]".encode()
    with nullcontext() if is_read else pytest.raises(InvalidMessage, match="nested too deeply"):
        parse_json(value)


def test_brackets_inside_strings_are_no_objects_or_lists() -> None:
    assert parse_json(b'["%s"]' % (b"[{" * 100_000)) == ["[{" * 100_000]
