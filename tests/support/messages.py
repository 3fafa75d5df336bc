"""Messages of the three topics: good postings, bad ones of each kind, and the codec that reads them."""

import json
from typing import Any

from consumer.codec import Codec
from consumer.messages import Headers, Message

IN, OUT, DEAD = "postings.raw", "postings.enriched", "postings.dead-letters"
MAX_MESSAGE_BYTES = 20_000
MAX_TITLE_CHARS = 1_000

BAD_VALUES: tuple[tuple[str, bytes | None], ...] = (
    ("schema_framing", b"\0\0\0\0\x07" + b'{"title": "Nurse"}'),
    ("not_utf8", b'{"title": "Caf\xe9 manager"}'),
    ("not_json", b'{"title": "Nurse"'),
    ("not_an_object", b'["Nurse"]'),
    ("no_title", b'{"posting_id": "7", "body": "We hire."}'),
    ("empty_title", b'{"title": " \\t "}'),
    ("title_too_long", json.dumps({"title": "nurse " * 200}).encode()),
    ("invalid_field", b'{"title": {"de": "Nurse"}}'),
    ("too_large", json.dumps({"title": "Nurse", "body": "x" * MAX_MESSAGE_BYTES}).encode()),
)
"""One message value of each kind that is no posting, with the reason its dead letter gives."""


def posting_bytes(title: Any = "Registered Nurse", **fields: Any) -> bytes:
    """Return a posting as a publisher would send it."""
    return json.dumps({"title": title, **fields}).encode()


def make_message(
    value: bytes | None = b'{"title": "Registered Nurse"}',
    *,
    offset: int = 0,
    partition: int = 0,
    key: bytes | None = None,
    headers: Headers = (),
    timestamp_ms: int | None = None,
) -> Message:
    """Return a message of the input topic."""
    return Message(IN, partition, offset, key, value, headers, timestamp_ms)


def make_codec(*, max_message_bytes: int = MAX_MESSAGE_BYTES, max_title_chars: int = MAX_TITLE_CHARS, **options: Any) -> Codec:
    """Return a codec of the three topics, with the limits that BAD_VALUES break."""
    limits = {"max_message_bytes": max_message_bytes, "max_title_chars": max_title_chars}
    return Codec(output_topic=OUT, dead_letter_topic=DEAD, **limits, **options)


def event_id(record: Message) -> str:
    """Return the id of the input message that an output message was made of."""
    headers = {name: (value or b"").decode() for name, value in record.headers}
    if "occustream.event-id" in headers:
        return headers["occustream.event-id"]
    return ":".join(headers[f"dead-letter.{name}"] for name in ("topic", "partition", "offset"))
