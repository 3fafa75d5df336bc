"""One JMESPath expression: parsed once, checked at the start, and evaluated on each message.

A chain of plain names (`a.b.c`), as most are, needs no interpreter.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

import jmespath.exceptions
import jmespath.functions
import jmespath.parser

from consumer.errors import ConfigError
from consumer.feeds.interpreter import Interpreter, Steps

MAX_CHARS = 1_000
"""Longer expressions are refused."""
MAX_NESTING = 50
"""How deep the parts of an expression may nest."""

QUOTES = 'A name of other characters than letters, digits and _ stands in double quotes: "@type"'

Evaluate = Callable[[Mapping[str, Any], Steps], Any]
"""Returns what an expression finds in a message, None for nothing. Raises TooManySteps and nothing else."""
Node = Mapping[str, Any]

FAILURES = (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, RecursionError)
"""What an expression raises for a message that it was not written for, as a `join` of what is no list."""
PASS_NOTHING_ON = ("subexpression", "index_expression", "projection", "filter_projection", "value_projection", "flatten", "pipe")
"""Nodes that find nothing where their first child finds nothing, if the children after it do likewise."""
NOTHING_FROM_NOTHING = (*PASS_NOTHING_ON, "field", "index", "slice", "identity", "multi_select_list", "multi_select_dict")


def compile_expression(text: str) -> Evaluate:
    """Return what evaluates an expression. Raises ConfigError, which says where in it the fault is."""
    root = _parse(text)
    names = plain_names(root)
    if names is not None:
        return _follow(names)
    return _interpret(root, _first_name(root))


def first_names(text: str) -> frozenset[str]:
    """Return the fields of the message that an expression begins with; none where it may look at any field."""
    name = _first_name(_parse(text))
    return frozenset() if name is None else frozenset({name})


def plain_names(node: Node) -> tuple[str, ...] | None:
    """Return the names of a chain of plain names; None for any other expression."""
    if node["type"] == "field":
        return (node["value"],)
    if node["type"] != "subexpression":
        return None
    parts = [plain_names(child) for child in node["children"]]
    return tuple(name for part in parts if part is not None for name in part) if all(parts) else None


def _follow(names: tuple[str, ...]) -> Evaluate:
    first, rest = names[0], names[1:]

    def follow(fields: Mapping[str, Any], _steps: Steps) -> Any:  # noqa: ANN401 - any JSON value
        value = fields.get(first)
        for name in rest:
            if not isinstance(value, dict):
                return None
            value = value.get(name)
        return value

    return follow


def _interpret(root: Node, first: str | None) -> Evaluate:
    def interpret(fields: Mapping[str, Any], steps: Steps) -> Any:  # noqa: ANN401 - any JSON value
        if first is not None and fields.get(first) is None:
            return None
        try:
            found = Interpreter(steps).visit(root, fields)
        except FAILURES:
            return None
        steps.take_for(found)
        return found

    return interpret


def _first_name(node: Node) -> str | None:
    """Return the name without which an expression finds nothing; None where there is no such name."""
    if node["type"] == "field":
        return str(node["value"])
    if node["type"] not in PASS_NOTHING_ON:
        return None
    others = node["children"][1:] if node["type"] in ("subexpression", "index_expression", "pipe") else []
    return _first_name(node["children"][0]) if all(other["type"] in NOTHING_FROM_NOTHING for other in others) else None


def _parse(text: str) -> Node:
    if len(text) > MAX_CHARS:
        raise ConfigError(f"{text[:80]!r}... has {len(text):,} characters; the limit for an expression is {MAX_CHARS:,}")
    try:
        root: Node = jmespath.parser.Parser().parse(text).parsed
    except jmespath.exceptions.ParseError as error:
        _refuse_unparsed(text, error)
    except FAILURES as error:
        _refuse(text, str(error) or type(error).__name__)
    for node, depth in _walk(root):
        if depth > MAX_NESTING:
            _refuse(text, f"its parts nest deeper than {MAX_NESTING}")
        if node["type"] == "function_expression":
            _check_function(text, node)
    return root


def _refuse_unparsed(text: str, error: jmespath.exceptions.ParseError) -> NoReturn:
    if isinstance(error, jmespath.exceptions.IncompleteExpressionError):
        _refuse(text, "something is missing", at=len(text))
    problem = error.message if isinstance(error, jmespath.exceptions.LexerError) else error.msg
    _refuse(text, f"{problem}. {QUOTES}", at=error.lex_position)


def _walk(root: Node) -> Iterator[tuple[Node, int]]:
    waiting = [(root, 1)]
    while waiting:
        node, depth = waiting.pop()
        yield node, depth
        waiting += [(child, depth + 1) for child in node.get("children", []) if isinstance(child, dict)]


def _check_function(text: str, node: Node) -> None:
    """Refuse what could never be called: the package notices it only when a message comes."""
    name, given = node["value"], node["children"]
    found = re.search(rf"\b{re.escape(name)}\s*\(", text)
    at = found.start() if found else 0
    if (known := jmespath.functions.Functions.FUNCTION_TABLE.get(name)) is None:
        _refuse(text, f"there is no function {name}", at=at)
    signature = known["signature"]
    or_more = " or more" if signature[-1].get("variadic") else ""
    if len(given) < len(signature) or (len(given) > len(signature) and not or_more):
        _refuse(text, f"arguments of {name}: {len(signature)}{or_more}, not {len(given)}", at=at)
    for argument, expected in zip(given, signature, strict=False):
        if ("expref" in expected["types"]) != (argument["type"] == "expref"):
            _refuse(text, f"{name} takes an expression for each item, which begins with &, where it must and nowhere else", at=at)


def _refuse(text: str, problem: str, *, at: int | None = None) -> NoReturn:
    place = "" if at is None else f" at character {at + 1}" if at < len(text) else " at its end"
    raise ConfigError(f"{text!r} is no JMESPath expression{place}: {problem}")
