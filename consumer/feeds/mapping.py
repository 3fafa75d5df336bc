"""A field mapping: for each field of a posting the JMESPath expressions that look for it in a message, in their order.

What a posting has without a mapping is in `names.py`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from consumer.errors import ConfigError, InvalidMessage
from consumer.feeds.expression import Evaluate, compile_expression
from consumer.feeds.interpreter import MAX_STEPS, Steps, TooManySteps

FieldName = Literal["posting_id", "title", "body", "company", "location", "posted_at", "language"]
FIELD_NAMES: tuple[FieldName, ...] = get_args(FieldName)
"""The fields of a posting that occustream knows."""
UNDERSTOOD = ("title", "body", "posting_id")
"""The fields that a posting cannot do without, looked for first. All others are only passed on."""
SEPARATORS: Mapping[str, str] = {"title": " ", "body": "\n"}
"""The fields that are text. What stands between the parts where an expression finds a list."""
MAX_EXPRESSIONS = 20
"""More expressions for one field are refused."""

Expressions = Mapping[str, Sequence[str]]


class FieldMapping:
    """The expressions of each field, compiled. `expressions` are those it was made of; a field without any is not mapped."""

    def __init__(self, expressions: Expressions) -> None:
        """Compile all expressions. Raises ConfigError, which names the field, the expression and the place in it."""
        ordered = sorted(expressions, key=lambda field: field not in UNDERSTOOD)
        self.expressions = {field: tuple(expressions[field]) for field in ordered if expressions[field]}
        self._compiled = {field: _compile(field, given) for field, given in self.expressions.items()}

    @property
    def fields(self) -> frozenset[str]:
        """The fields that are mapped."""
        return frozenset(self._compiled)

    def find(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields found: of each, what the first expression gives that gives anything.

        Title and body are text; where no expression finds text, what else was found. Any other field comes as it is.
        Raises InvalidMessage where title, body or identifier take too long; another field that does is not found.
        """
        steps, found = Steps(), {}
        for field, expressions in self._compiled.items():
            try:
                value = _find_first(message, expressions, steps, separator=SEPARATORS.get(field))
            except TooManySteps as error:
                if field in UNDERSTOOD:
                    raise _took_too_long(field, error) from None
                continue
            if value is not None:
                found[field] = value
        return found


def parse_expressions(given: Any) -> Any:  # noqa: ANN401 - whatever stands in a setting
    """Return the list of expressions that a setting holds: one text is one expression, or a JSON list of texts."""
    if not isinstance(given, str):
        return given
    try:
        listed = json.loads(given) if given.lstrip().startswith("[") else None
    except ValueError:
        listed = None
    return listed if listed and all(isinstance(each, str) for each in listed) else [given]


def _compile(field: str, expressions: Sequence[str]) -> tuple[Evaluate, ...]:
    if field not in FIELD_NAMES:
        raise ConfigError(f"{field} is no field of a posting; they are {', '.join(FIELD_NAMES)}")
    if len(expressions) > MAX_EXPRESSIONS:
        raise ConfigError(f"{field}: {len(expressions)} expressions; the limit is {MAX_EXPRESSIONS}")
    try:
        return tuple(compile_expression(text) for text in expressions)
    except ConfigError as error:
        raise ConfigError(f"{field}: {error}") from error


def _took_too_long(field: str, cause: Exception) -> InvalidMessage:
    return InvalidMessage(
        "invalid_field", f"{field}: its mapping takes more than {MAX_STEPS:,} steps on this message", cause=cause
    )


def _find_first(message: Mapping[str, Any], expressions: Sequence[Evaluate], steps: Steps, *, separator: str | None) -> Any:  # noqa: ANN401
    other = None
    for evaluate in expressions:
        value = evaluate(message, steps)
        if value is None or _is_empty(value):
            continue
        if separator is None or isinstance(value, str):
            return value
        if (text := _join_texts(value, steps, separator=separator)) is not None:
            return text
        other = value if other is None else other
    return other


def _is_empty(value: Any) -> bool:  # noqa: ANN401
    return not value.strip() if isinstance(value, str) else isinstance(value, list | dict) and not value


def _join_texts(value: Any, steps: Steps, *, separator: str) -> str | None:  # noqa: ANN401
    """Return the texts of a list, of the lists in it too; None where there is none."""
    texts, waiting = [], [value] if isinstance(value, list) else []
    while waiting:
        each = waiting.pop()
        if isinstance(each, list):
            steps.take(1 + len(each))
            waiting += reversed(each)
        elif isinstance(each, str) and each.strip():
            texts.append(each)
    return separator.join(texts) or None
