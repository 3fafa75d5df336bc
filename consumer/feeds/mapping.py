"""A field mapping: for each field of a posting the JMESPath expressions that look for it in a message, in their order.

Fields that are not mapped are found by their names, see `fields.py`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

from consumer.errors import ConfigError, InvalidMessage
from consumer.feeds.closures import Evaluate
from consumer.feeds.expression import compile_expression, single_name
from consumer.feeds.fields import ByNames, FoundFields
from consumer.feeds.interpreter import MAX_STEPS, Steps, TooManySteps
from consumer.feeds.names import NAMES
from consumer.feeds.values import is_id_told, is_long_text, is_missing, is_title, read_body, read_id, read_title

FieldName = Literal["posting_id", "title", "body", "company", "location", "posted_at", "language", "allowed_codes"]
FIELD_NAMES: tuple[FieldName, ...] = get_args(FieldName)
"""The fields of a posting that occustream knows."""
UNDERSTOOD = ("title", "body", "posting_id")
"""The fields that a posting cannot do without, looked for first. All others are only passed on."""
MAX_EXPRESSIONS = 20
"""More expressions for one field are refused."""

Expressions = Mapping[str, Sequence[str]]


class ByMapping:
    """Finds fields by the expressions of a mapping, and those that are not mapped by their names. It is a `FieldFinder`."""

    def __init__(self, expressions: Expressions) -> None:
        """Compile all expressions. Raises ConfigError, which names the field, the expression and the place in it."""
        mapped = sorted((field for field, given in expressions.items() if given), key=lambda field: field not in UNDERSTOOD)
        self._choices = {field: _compile(field, expressions[field]) for field in mapped}
        names = {field: () if field in mapped else choices for field, choices in NAMES.items()}
        self._others = ByNames(names) if any(names.values()) else None
        titles = expressions.get("title") or ()
        self.title_names = tuple(single_name(text) or text for text in titles) or NAMES["title"]

    def find(self, fields: dict[str, Any]) -> FoundFields:
        """Return what was found. Raises InvalidMessage where title, body or identifier take too long to find."""
        found = FoundFields({}, frozenset()) if self._others is None else self._others.find(fields)
        values, consumed, steps = dict(found.values), set(found.consumed), Steps()
        for field, choices in self._choices.items():
            try:
                value, name = _find_first(fields, field, choices, steps=steps)
            except TooManySteps as error:
                if field in UNDERSTOOD:
                    detail = f"{field}: its mapping takes more than {MAX_STEPS:,} steps on this message"
                    raise InvalidMessage("invalid_field", detail, cause=error) from None
                continue
            if value is not None:
                values[field] = value
            if name is not None:
                consumed.add(name)
        return FoundFields(values, consumed)


def parse_expressions(given: Any) -> Any:  # noqa: ANN401 - whatever stands in a setting
    """Return the list of expressions that a setting holds: one text is one expression, or a JSON list of texts."""
    if not isinstance(given, str):
        return given
    try:
        listed = json.loads(given) if given.lstrip().startswith("[") else None
    except ValueError:
        listed = None
    return listed if listed and all(isinstance(each, str) for each in listed) else [given]


Choice = tuple[Evaluate, str | None]
"""An expression, and the name of the field at the top of the message if it is nothing but that."""


def _compile(field: str, expressions: Sequence[str]) -> tuple[Choice, ...]:
    if field not in FIELD_NAMES:
        raise ConfigError(f"mapping: {field} is no field of a posting; they are {', '.join(FIELD_NAMES)}")
    if len(expressions) > MAX_EXPRESSIONS:
        raise ConfigError(f"mapping: {field}: {len(expressions)} expressions; the limit is {MAX_EXPRESSIONS}")
    try:
        return tuple((compile_expression(text), single_name(text)) for text in expressions)
    except ConfigError as error:
        raise ConfigError(f"mapping: {field}: {error}") from error


def _find_first(fields: dict[str, Any], field: str, choices: Sequence[Choice], *, steps: Steps) -> tuple[Any, str | None]:
    """Return the first value that the field can have, and the field of the message that it is, if it is one.

    Where there is none, return the first value that is something else, so that the posting can be refused for it.
    """
    second_best: tuple[Any, str | None] = (None, None)
    for evaluate, name in choices:
        value = evaluate(fields, steps) if name is None else fields.get(name)
        if value is None:
            continue
        if is_long_text(value):
            return value, name
        if isinstance(value, list | dict):
            steps.take_for(value)
        if (read := READ[field](value)) is not None:
            return read, name
        if second_best[0] is None and field in REFUSED and REFUSED[field](value):
            second_best = (value, name)
    return second_best


def _read_title(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a title; the titles of a list are one. None for what is none."""
    if isinstance(value, list):
        parts = map(read_title, _flatten(value))
        value = " ".join(part for part in parts if part is not None and not is_missing(part))
    return value if is_title(value) else None


def _is_title_told(value: Any) -> bool:  # noqa: ANN401 - any JSON value
    """Return whether a value that is no title is worth a word: an empty text is, a word for nothing is not."""
    return _read_other(value) is not None or value == ""


def _read_other(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a value as it is; None where there is nothing in it."""
    if isinstance(value, list | dict):
        return value if any(part is not None for part in (value.values() if isinstance(value, dict) else value)) else None
    return None if is_missing(value) else value


def _flatten(items: list[Any]) -> list[Any]:
    flat: list[Any] = []
    waiting: list[Any] = [items]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list):
            waiting += reversed(each)
        else:
            flat.append(each)
    return flat


READ: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(FIELD_NAMES, _read_other),
    "title": _read_title,
    "body": read_body,
    "posting_id": read_id,
}
"""How the value of each field is read: None where it cannot be that field."""
REFUSED: Mapping[str, Callable[[Any], bool]] = {"title": _is_title_told, "posting_id": is_id_told}
"""The fields for which a posting is refused where they are there and cannot be read, and what tells that they are there."""
