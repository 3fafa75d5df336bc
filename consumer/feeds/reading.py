"""Reads the value of a message as JSON. Readers of other formats keep the type `Read`."""

from collections.abc import Callable
from typing import Any

from consumer.errors import InvalidMessage
from consumer.feeds.json_values import parse_json
from consumer.messages import Message

Read = Callable[[Message], Any]
"""Returns what the value of a message stands for, as a JSON value. Raises InvalidMessage. The message has a value."""
FRAMING_BYTES = 5
"""Of Confluent's wire format: a magic byte 0, and the id of a schema in four bytes, big-endian."""


def read_json(message: Message) -> Any:  # noqa: ANN401 - any JSON value
    """Return the JSON value of a message. Raises InvalidMessage (`schema_framing`, and those of `parse_json`)."""
    value = message.value or b""
    if value[:1] == b"\0" and len(value) >= FRAMING_BYTES:
        schema_id = int.from_bytes(value[1:FRAMING_BYTES])
        raise InvalidMessage(
            "schema_framing",
            f"framed by a schema registry (Confluent wire format, magic byte 0), schema id {schema_id}; "
            "set --input-format to the format that producers write",
        )
    return parse_json(value)
