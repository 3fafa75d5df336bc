"""One JMESPath expression: parsed once, checked at the start, and evaluated on each message.

A chain of plain names (`a.b.c`), as most are, needs no interpreter.
"""

import re
from collections.abc import Iterator
from typing import Any, NoReturn

import jmespath.exceptions
import jmespath.functions
import jmespath.parser

from consumer.errors import ConfigError
from consumer.feeds.closures import Evaluate, Node, make_closure, plain_names
from consumer.feeds.interpreter import Steps

MAX_CHARS = 1_000
"""Longer expressions are refused."""
MAX_NESTING = 50
"""How deep the parts of an expression may nest."""

QUOTES = 'A name of other characters than letters, digits and _ stands in double quotes: "@type"'

FAILURES = (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, RecursionError)
"""What an expression raises for a message that it was not written for, as a `join` of what is no list."""
PASS_NOTHING_ON = ("subexpression", "index_expression", "projection", "filter_projection", "value_projection", "flatten", "pipe")
"""Nodes that find nothing where their first child finds nothing, if the children after it do likewise."""
NOTHING_FROM_NOTHING = (*PASS_NOTHING_ON, "field", "index", "slice", "identity", "multi_select_list", "multi_select_dict")


def compile_expression(text: str) -> Evaluate:
    """Return what evaluates an expression on a message: None for nothing. It raises TooManySteps and nothing else.

    Raises ConfigError, which says where in the expression the fault is.
    """
    root = _parse(text)
    closure, first = make_closure(root), _first_name(root)
    if plain_names(root) is not None:
        return closure

    def evaluate(fields: dict[str, Any], steps: Steps) -> Any:  # noqa: ANN401 - any JSON value
        if first is not None and fields.get(first) is None:
            return None
        try:
            return closure(fields, steps)
        except FAILURES:
            return None

    return evaluate


def single_name(text: str) -> str | None:
    """Return the name of the field that an expression is; None where it is more than a field at the top of the message."""
    names = plain_names(_parse(text))
    return names[0] if names is not None and len(names) == 1 else None


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
