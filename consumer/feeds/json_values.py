"""Reads and writes JSON without changing a digit: a number with a point or an exponent stays the text it came as.

NaN, infinite numbers and numbers that no double holds are read, too. They are written as null.
"""

import contextlib
import gc
import json
import math
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import jiter
import numpy as np
import numpy.typing as npt
import orjson

from consumer.errors import MAX_QUOTED_CHARS, InvalidMessage

MAX_DEPTH = 100
"""How deep a posting's objects and lists may nest; the posting itself is the first level."""
MAX_CONTAINERS = 50_000
"""How many objects and lists a message may have, so that no message of 1 MB takes long to read."""
MAX_DECIMALS = 100_000
"""How many numbers with a point or an exponent a message may have, for the same reason."""
LARGE_BYTES = 100_000
"""From so many bytes on, garbage is not collected while a text is read."""
_AT_ONCE = contextlib.nullcontext()
_TOO_DEEP = f"nested too deeply: the limit is {MAX_DEPTH}"
_BOM = b"\xef\xbb\xbf"
_REPEATED_KEY = re.compile(r'Detected duplicate key "(.*)" at line \d+ column \d+', re.DOTALL)
_LEAST, _GREATEST = -(1 << 63), (1 << 64) - 1
_STEP_OF = np.zeros(256, np.int8)
_STEP_OF[[ord("["), ord("{")]] = 1
_STEP_OF[[ord("]"), ord("}")]] = -1


def parse_json(value: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value that JSON text stands for. A number with a point or an exponent, NaN and Infinity are LosslessFloat.

    Raises InvalidMessage (`not_utf8`, `not_json`, `invalid_text`).
    """
    text = value.removeprefix(_BOM)
    brackets = text.count(b"[") + text.count(b"{")
    if brackets > MAX_CONTAINERS and int((_steps(text) > 0).sum()) > MAX_CONTAINERS:
        raise InvalidMessage("not_json", f"more than {MAX_CONTAINERS:,} objects and lists")
    if len(text) > 2 * MAX_DECIMALS and _count_decimals(text) > MAX_DECIMALS:
        raise InvalidMessage("not_json", f"more than {MAX_DECIMALS:,} numbers with a point or an exponent")
    try:
        with _pause_garbage_collection() if len(text) > LARGE_BYTES else _AT_ONCE:
            parsed = jiter.from_json(
                text, allow_inf_nan=True, catch_duplicate_keys=True, float_mode="lossless-float", cache_mode="keys"
            )
    except ValueError as error:
        raise _explain(text, error) from None
    if brackets > MAX_DEPTH and int(np.cumsum(_steps(text), dtype=np.int32).max()) > MAX_DEPTH:
        raise InvalidMessage("not_json", _TOO_DEEP)  # many parsers could not read it again: they go no deeper than 128
    return parsed


@contextlib.contextmanager
def _pause_garbage_collection() -> Iterator[None]:
    """Keep Python from looking for garbage in hundreds of thousands of new objects again and again: it takes most of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


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


def _steps(text: bytes) -> npt.NDArray[np.int8]:
    """Return, for each byte of JSON text outside strings, whether a list or object opens (1) or closes (-1) there; else 0.

    Escapes are left out, so that every quote opens or closes a string.
    """
    plain = text.replace(rb"\\", b"").replace(rb"\"", b"") if b"\\" in text else text
    characters = np.frombuffer(plain, np.uint8)
    steps = _STEP_OF[characters]
    steps[np.cumsum(characters == ord('"'), dtype=np.int32) & 1 == 1] = 0
    return steps


def _count_decimals(text: bytes) -> int:
    """Return how many points and exponents follow a digit."""
    characters = np.frombuffer(text, np.uint8)
    is_digit = (characters >= ord("0")) & (characters <= ord("9"))
    is_mark = (characters == ord(".")) | (characters == ord("e")) | (characters == ord("E"))
    return int((is_digit[:-1] & is_mark[1:]).sum())


def _explain(text: bytes, error: ValueError) -> InvalidMessage:
    """Return the accurate reason why jiter did not read a text."""
    try:
        text.decode()
    except UnicodeDecodeError as not_utf8:
        return InvalidMessage("not_utf8", f"byte {not_utf8.start} is not UTF-8: {not_utf8.reason}", cause=not_utf8)
    told = str(error)
    if (repeated := _REPEATED_KEY.fullmatch(told)) is not None:
        return InvalidMessage("not_json", f"the key {repeated[1][:MAX_QUOTED_CHARS]!r} appears twice in one object", cause=error)
    if told.startswith("recursion limit"):
        return InvalidMessage("not_json", _TOO_DEEP, cause=error)
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
