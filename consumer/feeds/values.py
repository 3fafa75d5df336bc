"""Reads the value of one field: whether there is anything in it, and which text or identifier it stands for."""

import base64
import contextlib
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

import jiter

from consumer.feeds.json_values import is_nan
from schemas.missing import is_missing as is_missing_text

MAX_NESTING = 4
"""How deep in lists and objects the text of a field is looked for."""
MARKED_NAMES = ("@value", "#text", "#cdata-section", "_text", "_cdata", "__text", "__cdata", "$t")
"""Where JSON-LD and converters of XML have the text of what has a language, attributes or a CDATA section."""
TEXT_NAMES = ("text", "value", "content", "plain", "html", "text_formatted", *MARKED_NAMES)
"""Where an object that stands for a text has this text, best first."""
ID_NAMES = (
    *("$oid", "$numberLong", "$numberInt", "$numberDouble", "$numberDecimal", "$uuid", "$binary", "$date", "value"),
    *MARKED_NAMES,
)
"""Where an object that stands for an identifier has it: MongoDB's extended JSON, schema.org's PropertyValue."""
_UUID_KIND = "04"  # of MongoDB's binary values
_CODE, _CODE_CHARS = re.compile(r"ET[0-9A-F]{16}"), 18  # of a title in a taxonomy
MAX_ID_DIGITS = 40
"""A number of more digits is no identifier that a data frame made of a whole one: it stays as it is written."""


def is_missing(value: Any) -> bool:  # noqa: ANN401 - any JSON value
    """Return whether a field holds nothing, or a word that programs write for nothing."""
    return is_missing_text(value) if isinstance(value, str) else value is None or is_nan(value)


def is_long_text(value: Any) -> bool:  # noqa: ANN401 - any JSON value
    """Return whether a field holds text that is longer than any word for nothing: then it is good for every field."""
    return type(value) is str and len(value) > _CODE_CHARS and not value.isspace()


def is_title(value: Any) -> bool:  # noqa: ANN401 - any JSON value
    """Return whether a field holds a title, rather than a word for nothing, the code of a taxonomy, or no text at all."""
    text = read_title(value)
    return text is not None and not is_missing(text) and (len(text) != _CODE_CHARS or _CODE.fullmatch(text) is None)


def is_id(value: Any) -> bool:  # noqa: ANN401 - any JSON value
    """Return whether a field holds an identifier."""
    return read_id(value) is not None


def is_body(value: Any, *, nesting: int = MAX_NESTING) -> bool:  # noqa: ANN401 - any JSON value
    """Return whether a field holds the text of a body, without reading all of it."""
    if isinstance(value, str):
        return not is_missing(value)
    if isinstance(value, dict):
        value = [value[name] for name in TEXT_NAMES if name in value]
    return isinstance(value, list) and nesting > 0 and any(is_body(item, nesting=nesting - 1) for item in value)


def read_title(value: Any) -> str | None:  # noqa: ANN401 - any JSON value
    """Return the text of a title: a string, the one of a list, or one under MARKED_NAMES; None for anything else."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict):
        value = next((value[name] for name in MARKED_NAMES if name in value), None)
    return value if isinstance(value, str) else None


def read_id(value: Any) -> str | None:  # noqa: ANN401 - any JSON value
    """Return an identifier as text; None for what is none. No digit changes, but `3901987654.0` is `3901987654`.

    Data frames make such numbers of whole ones, and others write them as `3.901987654E9`. An object counts where it has one of
    ID_NAMES, a list where it has one item.
    """
    if not isinstance(value, str):
        value = _unpack_id(value)
    if isinstance(value, str):
        return None if is_missing(value) else value
    if isinstance(value, bool) or not isinstance(value, int | float | jiter.LosslessFloat) or is_nan(value):
        return None
    digits = str(value)
    if "." not in digits:
        return digits
    number = Decimal(digits)
    whole = number == number.to_integral_value() and number.adjusted() < MAX_ID_DIGITS
    return f"{number:.0f}" if whole else digits


def is_id_told(value: Any) -> bool:  # noqa: ANN401 - any JSON value
    """Return whether a value that is no identifier is worth a word: something is in it."""
    inner = _unpack_id(value)
    return not (is_missing(inner) or inner in ([], {}))


def _unpack_id(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return what lies in the lists of one and the objects around an identifier, as far as they can be read."""
    for _ in range(MAX_NESTING):
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        elif isinstance(value, dict) and (name := next((name for name in ID_NAMES if name in value), None)) is not None:
            value = _read_binary(value) if name == "$binary" else _read_decimal(value) or value[name]
        else:
            break
    return value


def _read_binary(value: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any JSON value
    """Return a binary value of MongoDB's extended JSON as text: a UUID as such, others in Base64 as they came."""
    held = value["$binary"]
    encoded, kind = (held.get("base64"), held.get("subType")) if isinstance(held, dict) else (held, value.get("$type"))
    if isinstance(encoded, str) and kind == _UUID_KIND:
        with contextlib.suppress(ValueError):
            return str(UUID(bytes=base64.b64decode(encoded)))
    return encoded


def _read_decimal(value: Mapping[str, Any]) -> str | None:
    """Return the digits of a whole number as Debezium writes those without a fixed scale; None for anything else."""
    encoded = value.get("value")
    if value.keys() != {"scale", "value"} or value["scale"] != 0 or not isinstance(encoded, str) or len(encoded) > MAX_ID_DIGITS:
        return None
    with contextlib.suppress(ValueError):
        return str(int.from_bytes(base64.b64decode(encoded, validate=True), signed=True))
    return None


def read_body(value: Any, *, nesting: int = MAX_NESTING) -> str | None:  # noqa: ANN401 - any JSON value
    """Return the text of a body; None where there is none.

    The texts of a list are joined, a line each. An object counts where one of TEXT_NAMES has a text.
    """
    if isinstance(value, str):
        return value if is_long_text(value) or not is_missing(value) else None
    if not nesting:
        return None
    if isinstance(value, list):
        return "\n".join(text for item in value if (text := read_body(item, nesting=nesting - 1)) is not None) or None
    if isinstance(value, dict):
        for name in TEXT_NAMES:
            if name in value and (text := read_body(value[name], nesting=nesting - 1)) is not None:
                return text
    return None
