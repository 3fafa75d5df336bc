"""Turns decoded Avro values into what JSON has: text, numbers, true, false, null, lists and objects."""

import base64
import math
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID


def to_plain(value: Any) -> Any:  # noqa: ANN401 - any decoded value
    """Return a decoded value as JSON has it. docs/schema-registry.md lists what each type becomes."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, dict):
        return {str(name): to_plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(inner) for inner in value]
    return _scalar_to_plain(value)


def _scalar_to_plain(value: Any) -> str | float | Decimal | None:  # noqa: ANN401
    if isinstance(value, float | Decimal):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes | bytearray):
        return to_base64(value)
    if isinstance(value, datetime):
        return write_time(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"no JSON value stands for {type(value).__name__}")


def write_time(moment: datetime) -> str:
    """Return a time as RFC 3339: in UTC with a Z, or without a zone where it has none."""
    if moment.tzinfo is None:
        return moment.isoformat()
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def to_base64(value: bytes | bytearray) -> str:
    """Return bytes as text, as Protobuf's and Kafka Connect's JSON have them."""
    return base64.b64encode(value).decode("ascii")
