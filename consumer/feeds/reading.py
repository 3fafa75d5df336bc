"""Reads the value of a message as JSON. Readers of other formats keep the type `Read`."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from consumer.errors import InvalidMessage
from consumer.feeds.json_values import parse_json
from consumer.messages import Headers, Message

Read = Callable[[Message], Any]
"""Returns what the value of a message stands for, as a JSON value. Raises InvalidMessage. The message has a value."""
SCHEMA_HEADER = "__value_schema_id"
"""Names the schema of a value. Readers believe it before the value itself."""
FRAMING_BYTES = 5
"""Of Confluent's wire format: a magic byte 0, and the id of a schema in four bytes, big-endian."""
GUID_BYTES = 17
"""Of a header that names a schema: a magic byte 1, and the schema's GUID."""


def read_json(message: Message) -> Any:  # noqa: ANN401 - any JSON value
    """Return the JSON value of a message. Raises InvalidMessage (`schema_framing`, and those of `parse_json`)."""
    value = message.value or b""
    try:
        return parse_json(value)
    except InvalidMessage as error:  # a value whose schema is in a header may be plain JSON
        if error.reason == "invalid_text" or (schema := _describe_framing(value, message.headers)) is None:
            raise
        text = f"framed by a schema registry ({schema}; set --input-format to the format that producers write"
        looks_so = value.lstrip()[:1] == b"{"
        raise InvalidMessage("schema_framing", f"{text}; as JSON: {error.detail}" if looks_so else text) from None


def _describe_framing(value: bytes, headers: Headers) -> str | None:
    """Return how a value names its schema, and the schema; None where it names none."""
    named = next((held for name, held in headers if name == SCHEMA_HEADER), None)
    if named is not None:
        return f"header {SCHEMA_HEADER}), {_describe_schema(named)}"
    if value[:1] == b"\0" and len(value) >= FRAMING_BYTES:
        return f"Confluent wire format, magic byte 0), {_describe_schema(value)}"
    return None


def _describe_schema(framing: bytes) -> str:
    """Return the schema that framing bytes name. Protobuf has more bytes after them."""
    if framing[:1] == b"\0" and len(framing) >= FRAMING_BYTES:
        return f"schema id {int.from_bytes(framing[1:FRAMING_BYTES])}"
    if framing[:1] == b"\1" and len(framing) >= GUID_BYTES:
        return f"schema GUID {UUID(bytes=framing[1:GUID_BYTES])}"
    return f"which names no schema: {framing[:GUID_BYTES].hex(' ') or 'it is empty'}"
