"""Reads and writes JSON without changing a digit: a number with a point or an exponent stays the text it came as.

NaN, infinite numbers and numbers that no double holds are read, too. They are written as null.
"""

import json
import math
import re
from decimal import Decimal
from typing import Any

import jiter
import numpy as np
import orjson

from consumer.errors import InvalidMessage

MAX_DEPTH = 100
"""How deep a posting's objects and lists may nest; the posting itself is the first level."""
_BOM = b"\xef\xbb\xbf"
_REPEATED_KEY = re.compile(r'Detected duplicate key "(.*)" at line \d+ column \d+', re.DOTALL)
_LEAST, _GREATEST = -(1 << 63), (1 << 64) - 1
_STEPS = np.zeros(256, np.int8)
_STEPS[[ord("["), ord("{")]] = 1
_STEPS[[ord("]"), ord("}")]] = -1


def parse_json(value: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value that JSON text stands for. A number with a point or an exponent, NaN and Infinity are LosslessFloat.

    Raises InvalidMessage (`not_utf8`, `not_json`, `invalid_text`).
    """
    text = value.removeprefix(_BOM)
    try:
        parsed = jiter.from_json(
            text, allow_inf_nan=True, catch_duplicate_keys=True, float_mode="lossless-float", cache_mode="keys"
        )
    except ValueError as error:
        raise _explain(text, error) from None
    if text.count(b"[") + text.count(b"{") > MAX_DEPTH:
        _check_depth(text)
    return parsed


def write_json(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """Return a value as JSON text, its numbers with the digits they came with. Raises TypeError for what is no JSON value."""
    try:
        return orjson.dumps(value, default=_write_number)
    except TypeError:
        return orjson.dumps(_wrap_long_integers(value), default=_write_number)


def is_nan(value: object) -> bool:
    """Return whether a value is NaN, infinite, or a number that no double holds."""
    return isinstance(value, float | jiter.LosslessFloat) and not math.isfinite(float(value))


def _write_number(value: object) -> orjson.Fragment | None:
    if isinstance(value, jiter.LosslessFloat):
        return orjson.Fragment(bytes(value)) if math.isfinite(float(value)) else None
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value)) if value.is_finite() else None
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _wrap_long_integers(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a value with its integers beyond 64 bits as text that is written as it is: orjson refuses to write them."""
    if isinstance(value, int):
        return orjson.Fragment(str(value))
    if isinstance(value, dict):
        return {name: _wrap_long_integers(inner) if _may_be_long(inner) else inner for name, inner in value.items()}
    if isinstance(value, list):
        return [_wrap_long_integers(inner) if _may_be_long(inner) else inner for inner in value]
    return value


def _may_be_long(value: Any) -> bool:  # noqa: ANN401 - any JSON value
    return not _LEAST <= value <= _GREATEST if type(value) is int else isinstance(value, dict | list)


def _check_depth(text: bytes) -> None:
    """Refuse JSON text that many parsers could not read again: they go no deeper than 128."""
    plain = text.replace(rb"\\", b"").replace(rb"\"", b"") if b"\\" in text else text  # every quote opens or closes a string
    characters = np.frombuffer(plain, np.uint8)
    steps = _STEPS[characters]
    steps[np.cumsum(characters == ord('"'), dtype=np.int32) & 1 == 1] = 0
    if int(np.cumsum(steps, dtype=np.int32).max()) > MAX_DEPTH:
        raise InvalidMessage("not_json", f"nested too deeply: the limit is {MAX_DEPTH}")


def _explain(text: bytes, error: ValueError) -> InvalidMessage:
    """Return the accurate reason why jiter did not read a text."""
    try:
        text.decode()
    except UnicodeDecodeError as not_utf8:
        return InvalidMessage("not_utf8", f"byte {not_utf8.start} is not UTF-8: {not_utf8.reason}", cause=not_utf8)
    told = str(error)
    if (repeated := _REPEATED_KEY.fullmatch(told)) is not None:
        return InvalidMessage("not_json", f"the key {repeated[1][:80]!r} appears twice in one object", cause=error)
    if told.startswith("recursion limit"):
        return InvalidMessage("not_json", f"nested too deeply: the limit is {MAX_DEPTH}", cause=error)
    if b"\\u" in text and _is_json(text):  # only an escape can stand for a lone surrogate, which UTF-8 cannot hold
        return InvalidMessage("invalid_text", "a lone surrogate: text that is no Unicode", cause=error)
    return InvalidMessage("not_json", told, cause=error)


def _is_json(text: bytes) -> bool:
    """Return whether the standard library reads a text, which takes lone surrogates."""
    try:
        json.loads(text, parse_int=len, parse_float=len)
    except (ValueError, RecursionError):
        return False
    return True
