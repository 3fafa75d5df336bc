"""The wire format of a dead letter: the message with key, value and headers unchanged, and headers that say why it failed."""

import importlib.metadata
import re
from dataclasses import dataclass
from functools import cache
from typing import Literal, Self

from consumer.errors import InvalidMessage
from consumer.messages import Headers, Message, Record

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
MAX_ERROR_CHARS = 1_000
_OUR_HEADERS = frozenset((REPLAY_OF_HEADER, *(HEADER_PREFIX + name for name in HEADER_NAMES)))

Stage = Literal["decode", "score", "encode", "deliver"]
"""The step at which a message failed."""


def make_dead_letter(message: Message, error: InvalidMessage, *, topic: str, stage: Stage, model_version: str) -> Record:
    """Return the dead letter of a message. For a replayed message, headers of its former dead letter are replaced."""
    values = (
        error.reason,
        error.detail[:MAX_ERROR_CHARS],
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
    return Record(topic, message.key, message.value, (*original_headers(message.headers), *headers), message.partition)


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
