"""Expressions mean what JMESPath says; the wrong ones are refused at the start, and none can be made to take long."""

import json
from contextlib import suppress
from typing import Any

import jmespath
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.errors import ConfigError
from consumer.feeds.closures import Evaluate
from consumer.feeds.expression import MAX_CHARS, compile_expression
from consumer.feeds.interpreter import Steps, TooManySteps
from consumer.feeds.json_values import parse_json
from tests.support.expressions import expressions, messages
from tests.support.timing import cpu_seconds

LONGEST_S = 0.05
MEGABYTE = 1_000_000


def evaluate(expression: str, message: Any) -> Any:
    return compile_expression(expression)(message, Steps())


def give_up_in_time(compiled: Evaluate, message: Any) -> None:
    with suppress(TooManySteps):
        compiled(message, Steps())


def by_the_package(expression: str, message: Any) -> Any:
    try:
        return jmespath.search(expression, message)
    except (ValueError, TypeError, AttributeError, ArithmeticError):
        return None


def compile_error(expression: str) -> str:
    with pytest.raises(ConfigError) as refused:
        compile_expression(expression)
    return str(refused.value)


@settings(max_examples=400)
@given(expressions, messages(st.integers(-3, 3)))
def test_an_expression_gives_what_the_package_gives(expression: str, message: dict[str, Any]) -> None:
    expected = by_the_package(expression, message)
    assert json.dumps(evaluate(expression, message), separators=(",", ":")) == json.dumps(expected, separators=(",", ":"))


@settings(max_examples=200)
@given(expressions, messages(st.floats() | st.integers()))
def test_numbers_that_keep_their_digits_raise_nothing(expression: str, message: dict[str, Any]) -> None:
    evaluate(expression, parse_json(json.dumps(message).encode()))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("x", b"1.10"),
        ("to_string(x)", "1.10"),
        ("to_string([x, y])", '[1.10,"t"]'),
        ("to_number(x)", b"1.10"),
        ("type(x)", "number"),
        ("x > `1`", True),
        ("x == `1.1`", True),
        ("max(n)", 2.5),
        ("sort_by(rows, &k)[0].v", "low"),
        ("rows[?k > `5`].v | [0]", "high"),
        ("not_null(none, x)", b"1.10"),
        ("n[0]", b"2.50"),
    ],
)
def test_a_number_is_a_number_and_keeps_its_digits_where_it_is_only_passed_on(expression: str, expected: Any) -> None:
    message = parse_json(b'{"x": 1.10, "y": "t", "n": [2.50, 1], "rows": [{"k": 7.5, "v": "high"}, {"k": 0.5, "v": "low"}]}')
    found = evaluate(expression, message)
    assert (bytes(found) if isinstance(expected, bytes) else found) == expected


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("a.[b", "'a.[b' is no JMESPath expression at its end: something is missing"),
        (
            "@type",
            "at character 2: Unexpected token: type. A name of other characters than letters",
        ),
        ("date-posted", "at character 5: "),
        ("a.b c", "at character 5: Unexpected token: c"),
        ("", "cannot be empty"),
        ("a.lenght(b)", "at character 3: there is no function lenght"),
        ("length(a, b)", "at character 1: arguments of length: 1, not 2"),
        ("join(', ')", "at character 1: arguments of join: 2, not 1"),
        ("sort_by(a, b)", "at character 1: sort_by takes an expression for each item"),
        ("a" * (MAX_CHARS + 1), "has 1,001 characters; the limit for an expression is 1,000"),
        ("[" * 60 + "a" + "]" * 60, "its parts nest deeper than 50"),
        ("!" * 900 + "a", "is no JMESPath expression: "),
    ],
)
def test_a_bad_expression_is_refused_with_its_place(expression: str, said: str) -> None:
    assert said in compile_error(expression)


@given(st.text(st.sampled_from("ab.[]*?|&!@(){}:,`'\"\\ 0-=<>é\ud800"), max_size=20))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    try:
        evaluate(text, {"a": [{"b": "x"}]})
    except ConfigError:
        return


HOSTILE = {
    "numbers": b'{"a": [' + b"0," * (MEGABYTE // 2) + b"0]}",
    "lists": b'{"a": [' + (b"[]" + b" " * 19 + b",") * (MEGABYTE // 22) + b"0]}",
    "objects": b'{"a": [' + (b'{"b":   0}' + b" " * 11 + b",") * (MEGABYTE // 22) + b"{}]}",
    "deep lists": b'{"a": [' + (b"[" * 90 + b" " * 1_800 + b"]" * 90 + b",") * (MEGABYTE // 1_981) + b"0]}",
    "a long text": b'{"a": "' + b"x" * MEGABYTE + b'"}',
    "long texts": b'{"a": [' + (b'"' + b"x" * 10_000 + b'",') * (MEGABYTE // 10_003) + b'"x"]}',
    "names": b"{" + b",".join(b'"%d":1.5' % number for number in range(MEGABYTE // 12)) + b"}",
}
COSTLY = (
    *("a", "a[]", "a[][][]", "a[*][*][*]", "a[?@ > `1`]", "a[?b == b]", "a[*].[@, @, @]", "*", "*.*", "*.*[]", "[@, @, @]"),
    *("to_string(@)", "a[*].to_string(@)", "[to_string(@), to_string(@)] | join('', @)", "join('', a)", "sort(a)"),
    *("max(a)", "sum(a)", "sort_by(a, &b)", "map(&to_string(@), a)", "reverse(a)", "a[::-1]", "a == a"),
    *("a[?contains(@, 'x')]", "keys(@)", "values(@)"),
    "[a, a, a, a] | [join('', @), join('', @), join('', @)] | [join('', @), join('', @)] | [join('', @), join('', @)]",
    "a | [@, @] | [] | [@, @] | [] | [@, @] | [] | [@, @] | [] | [@, @] | [] | [@, @] | []",
)


@pytest.mark.parametrize("kind", HOSTILE)
def test_no_expression_takes_long_on_a_megabyte(kind: str) -> None:
    message = parse_json(HOSTILE[kind])
    for expression in COSTLY:
        compiled = compile_expression(expression)
        taken_s = min(cpu_seconds(give_up_in_time, compiled, message) for _ in range(3))
        assert taken_s < LONGEST_S, f"{expression} took {taken_s * 1_000:.0f} ms"
