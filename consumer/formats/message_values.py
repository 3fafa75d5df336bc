"""Turns Protobuf messages into what JSON has. Names of fields stay as in the schema, integers stay numbers."""

import math
import struct
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from consumer.formats.plain_values import to_base64

_WRAPPERS = frozenset(
    f"google.protobuf.{kind}Value"
    for kind in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
)
_TEXTS = frozenset(f"google.protobuf.{kind}" for kind in ("Timestamp", "Duration", "FieldMask"))
_SINGLE_DIGITS = range(6, 9)
"""So many digits may tell a single-precision number from its neighbours. Nine always do."""


def message_to_plain(message: Any) -> Any:  # noqa: ANN401 - of a class that exists only at run time
    """Return a message as an object. Fields that are not set, or have the default of proto3, are left out."""
    name = message.DESCRIPTOR.full_name
    if name in _TEXTS:
        return message.ToJsonString()
    if name in _WRAPPERS:
        return _scalar(message.DESCRIPTOR.fields_by_name["value"], message.value)
    if (convert := _STRUCTS.get(name)) is not None:
        return convert(message)
    return {field.name: _field(field, value) for field, value in message.ListFields()}


def _field(field: FieldDescriptor, value: Any) -> Any:  # noqa: ANN401
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        inner = field.message_type.fields_by_name["value"]
        return {_key(key): _single(inner, value[key]) for key in value}
    if field.is_repeated:
        return [_single(field, item) for item in value]
    return _single(field, value)


def _single(field: FieldDescriptor, value: Any) -> Any:  # noqa: ANN401
    return message_to_plain(value) if field.message_type is not None else _scalar(field, value)


def _scalar(field: FieldDescriptor, value: Any) -> Any:  # noqa: ANN401
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return value if known is None else known.name
    if isinstance(value, bytes):
        return to_base64(value)
    if isinstance(value, float):
        return _number(value, single=field.type == FieldDescriptor.TYPE_FLOAT)
    return value


def _number(value: float, *, single: bool) -> float | None:
    if not math.isfinite(value):
        return None
    return _shortest(value) if single else value


def _shortest(value: float) -> float:
    """Return the number of fewest digits that has the same single precision: 1.1, not 1.10000002384."""
    for digits in _SINGLE_DIGITS:
        short = float(f"{value:.{digits}g}")
        if struct.unpack("f", struct.pack("f", short))[0] == value:
            return short
    return float(f"{value:.9g}")


def _key(key: Any) -> str:  # noqa: ANN401 - text, an integer or a truth value
    return str(key).lower() if isinstance(key, bool) else str(key)


def _struct(message: Any) -> dict[str, Any]:  # noqa: ANN401
    return {name: _value(message.fields[name]) for name in message.fields}


def _list(message: Any) -> list[Any]:  # noqa: ANN401
    return [_value(item) for item in message.values]


def _value(message: Any) -> Any:  # noqa: ANN401
    kind = message.WhichOneof("kind")
    if kind is None or kind == "null_value":
        return None
    inner = getattr(message, kind)
    if kind == "struct_value":
        return _struct(inner)
    if kind == "list_value":
        return _list(inner)
    return _struct_number(inner) if kind == "number_value" else inner


def _struct_number(value: float) -> float | None:
    """Return a number of a Struct, which knows no integers: 5, not 5.0."""
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() else value


_STRUCTS: Mapping[str, Callable[[Any], Any]] = {
    "google.protobuf.Struct": _struct,
    "google.protobuf.ListValue": _list,
    "google.protobuf.Value": _value,
}
