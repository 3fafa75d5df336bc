"""The wire format of a dead letter: the message with key, value and headers unchanged, and headers that say why it failed.

A letter that its topic does not take whole is abridged: it says where its message lies.
"""

import hashlib
import importlib.metadata
import re
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal, Self

from consumer.errors import InvalidMessage
from consumer.messages import Headers, Message, Record
from consumer.passed_headers import keep_one_trace, trace_headers

HEADER_PREFIX = "dead-letter."
ATTEMPT_HEADER = f"{HEADER_PREFIX}attempt"
REPLAY_OF_HEADER = f"{HEADER_PREFIX}replay-of"
"""A replayed message has this header. It holds the event id of the message that became the dead letter."""
HEADER_NAMES = (
    "reason",
    "error",
    "error-class",
    "stage",
    "attempt",
    "topic",
    "partition",
    "offset",
    "timestamp-ms",
    "app-version",
    "model-version",
)
"""The headers of a dead letter, after HEADER_PREFIX, in the order in which they are written."""
LEFT_OUT_HEADER = f"{HEADER_PREFIX}left-out"
"""Only an abridged letter has this header and the next one. It holds VALUE_LEFT_OUT or ALL_LEFT_OUT."""
DIGEST_HEADER = f"{HEADER_PREFIX}value-sha256"
"""The SHA-256 of the message's value, in hexadecimal digits: what is read at its place later must have it."""
VALUE_LEFT_OUT = "value"
ALL_LEFT_OUT = "value,key,headers"
_STORY_HEADERS = frozenset(HEADER_PREFIX + name for name in HEADER_NAMES)
_OUR_HEADERS = _STORY_HEADERS | {REPLAY_OF_HEADER, LEFT_OUT_HEADER, DIGEST_HEADER}

Stage = Literal["decode", "score", "encode", "deliver"]
"""The step at which a message failed."""


def make_dead_letter(message: Message, error: InvalidMessage, *, topic: str, stage: Stage, model_version: str) -> Record:
    """Return the dead letter of a message. For a replayed message, headers of its former dead letter are replaced."""
    values = (
        error.reason,
        error.detail,
        error.error_class,
        stage,
        count_attempts(message.headers) + 1,
        message.topic,
        message.partition,
        message.offset,
        "" if message.timestamp_ms is None else message.timestamp_ms,
        app_version(),
        model_version,
    )
    headers = tuple(
        (HEADER_PREFIX + name, str(value).encode("utf-8", "backslashreplace"))
        for name, value in zip(HEADER_NAMES, values, strict=True)
    )
    return Record(
        topic, message.key, message.value, (*keep_one_trace(original_headers(message.headers)), *headers), message.partition
    )


def abridge(letter: Record, message: Message) -> Record:
    """Return the next smaller form of a message's dead letter: without the value, then without key and headers, too.

    After the smallest form comes the whole letter again.
    """
    own = tuple(header for header in letter.headers if header[0] in _STORY_HEADERS)
    trace, left_out = trace_headers(message.headers), _left_out(letter)
    if left_out == ALL_LEFT_OUT:
        whole = (*keep_one_trace(original_headers(message.headers)), *own)
        return replace(letter, key=message.key, value=message.value, headers=whole)
    if left_out or message.value is None:
        return replace(letter, key=None, value=None, headers=(*trace, *own, *_place_headers(message, ALL_LEFT_OUT)))
    return replace(letter, value=None, headers=(*letter.headers, *_place_headers(message, VALUE_LEFT_OUT)))


def is_abridged(letter: Record) -> bool:
    """Return whether a dead letter lacks something of its message."""
    return _left_out(letter) != ""


def is_smallest(letter: Record) -> bool:
    """Return whether a dead letter lacks all of its message."""
    return _left_out(letter) == ALL_LEFT_OUT


def value_digest(message: Message) -> str:
    """Return what DIGEST_HEADER holds for a message."""
    return hashlib.sha256(message.value or b"").hexdigest()


def _place_headers(message: Message, left_out: str) -> Headers:
    return (LEFT_OUT_HEADER, left_out.encode()), (DIGEST_HEADER, value_digest(message).encode())


def _left_out(letter: Record) -> str:
    return next((_text(value) for name, value in letter.headers if name == LEFT_OUT_HEADER), "")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter as read. Fields that an older version did not write are empty; `attempt` is then 1."""

    message: Message
    reason: str
    error: str
    error_class: str
    stage: str
    attempt: int
    topic: str
    partition: int
    offset: int
    timestamp_ms: int | None
    app_version: str
    model_version: str
    left_out: str = ""
    """What an abridged letter lacks of its message: VALUE_LEFT_OUT or ALL_LEFT_OUT; empty for a whole letter."""
    value_sha256: str = ""

    @classmethod
    def parse(cls, message: Message) -> Self | None:
        """Return the dead letter that a message of the dead-letter topic holds; None where the message is something else."""
        fields = {name.removeprefix(HEADER_PREFIX): _text(value) for name, value in message.headers}
        partition, offset = _parse_number(fields.get("partition")), _parse_number(fields.get("offset"))
        if not fields.get("reason") or not fields.get("topic") or partition is None or offset is None:
            return None
        return cls(
            message=message,
            reason=fields["reason"],
            error=fields.get("error", ""),
            error_class=fields.get("error-class", ""),
            stage=fields.get("stage", ""),
            attempt=max(1, count_attempts(message.headers)),
            topic=fields["topic"],
            partition=partition,
            offset=offset,
            timestamp_ms=_parse_number(fields.get("timestamp-ms")),
            app_version=fields.get("app-version", ""),
            model_version=fields.get("model-version", ""),
            left_out=fields.get("left-out", ""),
            value_sha256=fields.get("value-sha256", ""),
        )

    @property
    def event_id(self) -> str:
        """The event id of the message that became this dead letter: `topic:partition:offset` of the input."""
        return f"{self.topic}:{self.partition}:{self.offset}"

    @property
    def position(self) -> str:
        """The place of the dead letter itself: `topic:partition:offset`."""
        return self.message.event_id

    @property
    def headers(self) -> Headers:
        """The headers of the message that became this dead letter."""
        return original_headers(self.message.headers)


def count_attempts(headers: Headers) -> int:
    """Return how often a message with these headers has become a dead letter."""
    return next((_parse_number(_text(value)) or 0 for name, value in headers if name == ATTEMPT_HEADER), 0)


def original_headers(headers: Headers) -> Headers:
    """Return the headers without those that a dead letter or a replay added."""
    return tuple((name, value) for name, value in headers if name not in _OUR_HEADERS)


@cache
def app_version() -> str:
    """Return the version of this program, `unknown` where it runs without being installed."""
    try:
        return importlib.metadata.version("occustream")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")


def _parse_number(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"[0-9]{1,18}", text) else None
