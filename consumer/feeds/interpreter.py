"""Evaluates JMESPath on what a message holds: in bounded time, and with numbers that keep their digits.

The language is the `jmespath` package's; here it only gets limits, and learns what a `LosslessFloat` is.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jmespath.functions
import jmespath.visitor
import orjson
from jiter import LosslessFloat

MAX_STEPS = 10_000
"""Steps that all expressions together may take on one message: 20 ms at most. A posting takes some dozens."""
CHARS_PER_STEP = 2_000
"""So many characters that are copied or returned count as one step."""


Method = TypeVar("Method", bound=Callable[..., Any])


class TooManySteps(Exception):
    """The expressions would take longer on this message than any posting is worth."""


class Steps:
    """What is left of the steps for one message."""

    __slots__ = ("left",)

    def __init__(self, left: int = MAX_STEPS) -> None:
        self.left = left

    def take(self, count: int = 1) -> None:
        """Take steps. Raises TooManySteps when they are used up."""
        self.left -= count
        if self.left < 0:
            raise TooManySteps

    def take_for(self, value: Any) -> None:  # noqa: ANN401 - any JSON value
        """Take the steps of reading all of a value. What the value holds several times counts each time."""
        waiting = [value]
        for each in waiting:
            if isinstance(each, str):
                self.left -= 1 + len(each) // CHARS_PER_STEP
            elif isinstance(each, list | dict):
                self.take(1 + len(each))
                waiting += each.values() if isinstance(each, dict) else each
        self.take(0)


class Interpreter(jmespath.visitor.TreeInterpreter):  # type: ignore[misc] # the package is untyped
    """Evaluates parsed expressions on one message. Raises TooManySteps, and what JMESPath raises."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        super().__init__(jmespath.visitor.Options(custom_functions=_Functions(steps)))

    def visit(self, node: Mapping[str, Any], value: Any) -> Any:  # noqa: ANN401 - JSON in, JSON out
        """Return what a node of an expression gives for a value."""
        self._steps.left -= 1  # not by a call: this is the innermost loop
        if self._steps.left < 0:
            raise TooManySteps
        return getattr(self, VISITS[node["type"]])(node, value)

    def visit_comparator(self, node: Mapping[str, Any], value: Any) -> Any:  # noqa: ANN401
        """Compare numbers as numbers."""
        given = [_literal(_as_number(self.visit(child, value))) for child in node["children"]]
        return super().visit_comparator({**node, "children": given}, None)

    def visit_flatten(self, node: Mapping[str, Any], value: Any) -> Any:  # noqa: ANN401
        """Count the items: the package flattens them without a visit to each."""
        base = self.visit(node["children"][0], value)
        if isinstance(base, list):
            self._steps.take(len(base) + sum(len(each) for each in base[:MAX_STEPS] if isinstance(each, list)))
        return super().visit_flatten({**node, "children": [_literal(base)]}, None)


VISITS = {name.removeprefix("visit_"): name for name in dir(Interpreter) if name.startswith("visit_")}
"""The method for each kind of node."""


_takes_anything: Callable[[Method], Method] = jmespath.functions.signature({"types": []})


class _Functions(jmespath.functions.Functions):  # type: ignore[misc]
    """JMESPath's functions. They take a `LosslessFloat` for the number it is, and count what they read."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    def call_function(self, function_name: str, resolved_args: list[Any]) -> Any:  # noqa: ANN401
        for given in resolved_args:
            if function_name in _READ_ALL:
                self._steps.take_for(given)
            elif isinstance(given, list | dict):
                self._steps.take(len(given))
        if function_name in _OF_NUMBERS:
            resolved_args = [_as_numbers(given) for given in resolved_args]
        return super().call_function(function_name, resolved_args)

    @_takes_anything
    def _func_to_string(self, arg: Any) -> str:  # noqa: ANN401
        return arg if isinstance(arg, str) else orjson.dumps(arg, default=_write_number).decode()

    @_takes_anything
    def _func_to_number(self, arg: Any) -> Any:  # noqa: ANN401
        return arg if isinstance(arg, LosslessFloat) else super()._func_to_number(arg)

    @_takes_anything
    def _func_type(self, arg: Any) -> str:  # noqa: ANN401
        return "number" if isinstance(arg, LosslessFloat) else str(super()._func_type(arg))

    def _convert_to_jmespath_type(self, pyobject: str) -> str:
        return "number" if pyobject == LosslessFloat.__name__ else str(super()._convert_to_jmespath_type(pyobject))

    def _create_key_func(self, *args: Any) -> Callable[[Any], Any]:  # noqa: ANN401
        key = super()._create_key_func(*args)
        return lambda value: _as_number(key(value))


_READ_ALL = frozenset({"to_string", "join"})
"""Functions that read all of what they are given, or make a text as long as all of it."""
_OF_NUMBERS = frozenset(
    name
    for name, spec in _Functions.FUNCTION_TABLE.items()
    if any("number" in kind for given in spec["signature"] for kind in given["types"])
)


def _as_number(value: Any) -> Any:  # noqa: ANN401
    return float(value) if isinstance(value, LosslessFloat) else value


def _as_numbers(value: Any) -> Any:  # noqa: ANN401
    return [_as_number(each) for each in value] if isinstance(value, list) else _as_number(value)


def _literal(value: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return a node of an expression that gives this value."""
    return {"type": "literal", "value": value, "children": []}


def _write_number(value: object) -> orjson.Fragment:
    if isinstance(value, LosslessFloat):
        return orjson.Fragment(bytes(value))
    raise TypeError(f"{type(value).__name__} is no JSON")
