"""Makes a function of a parsed JMESPath expression, which takes a quarter of the interpreter's time.

Paths, lists, projections, alternatives: what mappings are made of. Everything else, such as most of JMESPath's functions, is left
to the interpreter. Both give the same; a test compares them.
"""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from consumer.feeds.interpreter import Interpreter, Steps

Evaluate = Callable[[Any, Steps], Any]
"""Returns what an expression gives for a value, None for nothing. Raises TooManySteps, and what the interpreter raises."""
Node = Mapping[str, Any]


def make_closure(node: Node) -> Evaluate:
    """Return a function that evaluates an expression."""
    names = plain_names(node)
    if names is not None:
        return _follow(names)
    is_function = node["type"] == "function_expression"
    maker = _FUNCTIONS.get(node["value"]) if is_function else _MAKERS.get(node["type"])
    if maker is None:
        return lambda value, steps: Interpreter(steps).visit(node, value)
    return maker(node, *(make_closure(child) for child in node["children"] if isinstance(child, dict)))


def plain_names(node: Node) -> tuple[str, ...] | None:
    """Return the names of a chain of plain names; None for any other expression."""
    if node["type"] == "field":
        return (node["value"],)
    if node["type"] != "subexpression":
        return None
    parts = [plain_names(child) for child in node["children"]]
    return tuple(name for part in parts if part is not None for name in part) if all(parts) else None


def _follow(names: tuple[str, ...]) -> Evaluate:
    def follow(value: Any, _steps: Steps) -> Any:  # noqa: ANN401 - any JSON value, here and below
        for name in names:
            if not isinstance(value, dict):
                return None
            value = value.get(name)
        return value

    return follow


def _chain(_node: Node, *parts: Evaluate) -> Evaluate:
    def chain(value: Any, steps: Steps) -> Any:  # noqa: ANN401
        for part in parts:
            value = part(value, steps)
        return value

    return chain


def _index(node: Node) -> Evaluate:
    number = node["value"]

    def index(value: Any, _steps: Steps) -> Any:  # noqa: ANN401
        return value[number] if isinstance(value, list) and -len(value) <= number < len(value) else None

    return index


def _select(_node: Node, *parts: Evaluate) -> Evaluate:
    def select(value: Any, steps: Steps) -> Any:  # noqa: ANN401
        steps.take(len(parts))
        return None if value is None else [part(value, steps) for part in parts]

    return select


def _or(_node: Node, left: Evaluate, right: Evaluate) -> Evaluate:
    def either(value: Any, steps: Steps) -> Any:  # noqa: ANN401
        found = left(value, steps)
        return right(value, steps) if is_false(found) else found

    return either


def _project(_node: Node, base: Evaluate, right: Evaluate) -> Evaluate:
    def project(value: Any, steps: Steps) -> Any:  # noqa: ANN401
        items = base(value, steps)
        if not isinstance(items, list):
            return None
        steps.take(len(items))
        return [found for item in items if (found := right(item, steps)) is not None]

    return project


def _filter(_node: Node, base: Evaluate, right: Evaluate, condition: Evaluate) -> Evaluate:
    def keep(value: Any, steps: Steps) -> Any:  # noqa: ANN401
        items = base(value, steps)
        if not isinstance(items, list):
            return None
        steps.take(len(items))
        kept = [item for item in items if not is_false(condition(item, steps))]
        return [found for item in kept if (found := right(item, steps)) is not None]

    return keep


def _flatten(_node: Node, base: Evaluate) -> Evaluate:
    def flatten(value: Any, steps: Steps) -> Any:  # noqa: ANN401
        items = base(value, steps)
        if not isinstance(items, list):
            return None
        flat: list[Any] = []
        for item in items:
            steps.take(1 + len(item) if isinstance(item, list) else 1)
            flat += item if isinstance(item, list) else [item]
        return flat

    return flatten


def _itself(_node: Node) -> Evaluate:
    return lambda value, _steps: value


def _to_array(_node: Node, argument: Evaluate) -> Evaluate:
    def to_array(value: Any, steps: Steps) -> Any:  # noqa: ANN401
        found = argument(value, steps)
        return found if isinstance(found, list) else [found]

    return to_array


def _to_number(_node: Node, argument: Evaluate) -> Evaluate:
    def to_number(value: Any, steps: Steps) -> Any:  # noqa: ANN401
        found = argument(value, steps)
        if not isinstance(found, str):
            return None if isinstance(found, list | dict | bool) else found
        for read in (int, float):
            with contextlib.suppress(ValueError):
                return read(found)
        return None

    return to_number


def is_false(value: Any) -> bool:  # noqa: ANN401
    """Return whether JMESPath takes a value for false: nothing, false, and what is empty."""
    return value is None or value is False or (isinstance(value, str | list | dict) and not value)


_MAKERS: Mapping[str, Callable[..., Evaluate]] = {
    "subexpression": _chain,
    "index_expression": _chain,
    "pipe": _chain,
    "index": _index,
    "multi_select_list": _select,
    "or_expression": _or,
    "projection": _project,
    "filter_projection": _filter,
    "flatten": _flatten,
    "identity": _itself,
    "current": _itself,
}
_FUNCTIONS: Mapping[str, Callable[..., Evaluate]] = {"to_array": _to_array, "to_number": _to_number}
