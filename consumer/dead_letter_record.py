"""A dead letter: key, value and headers of a message untouched, and in further headers the story of how it came to that."""

import importlib.metadata
import re
from dataclasses import dataclass
from functools import cache
from typing import Literal, Self

from consumer.errors import InvalidMessage
from consumer.messages import Headers, Message, Record

PREFIX = "dead-letter."
ATTEMPT = f"{PREFIX}attempt"
REPLAY_OF = f"{PREFIX}replay-of"
"""Of a message that a replay sent: the event id that its dead letter told."""
STORY = (
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
"""The headers of a dead letter, after PREFIX, in the order in which they are written."""
MAX_ERROR_CHARS = 1_000
_STORY_HEADERS = frozenset((REPLAY_OF, *(PREFIX + name for name in STORY)))

Stage = Literal["decode", "score", "encode", "deliver"]
"""Where a message failed."""


def dead_letter(message: Message, error: InvalidMessage, *, topic: str, stage: Stage, model_version: str) -> Record:
    """Return the dead letter of a message. Of one that was replayed, the old story is replaced and the attempt counted up."""
    story = (
        error.reason,
        error.detail[:MAX_ERROR_CHARS],
        error.error_class,
        stage,
        attempts(message.headers) + 1,
        message.topic,
        message.partition,
        message.offset,
        "" if message.timestamp_ms is None else message.timestamp_ms,
        app_version(),
        model_version,
    )
    told = tuple((PREFIX + name, str(of).encode("utf-8", "backslashreplace")) for name, of in zip(STORY, story, strict=True))
    return Record(topic, message.key, message.value, (*without_story(message.headers), *told), message.partition)


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter as read. What an older version did not write is empty; `attempt` is 1 then."""

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
    def of(cls, message: Message) -> Self | None:
        """Return the letter that a message of the dead-letter topic is; None where it is something else."""
        told = {name.removeprefix(PREFIX): (value or b"").decode("utf-8", "replace") for name, value in message.headers}
        partition, offset = _number(told.get("partition")), _number(told.get("offset"))
        if not told.get("reason") or not told.get("topic") or partition is None or offset is None:
            return None
        return cls(
            message=message,
            reason=told["reason"],
            error=told.get("error", ""),
            error_class=told.get("error-class", ""),
            stage=told.get("stage", ""),
            attempt=max(1, attempts(message.headers)),
            topic=told["topic"],
            partition=partition,
            offset=offset,
            timestamp_ms=_number(told.get("timestamp-ms")),
            app_version=told.get("app-version", ""),
            model_version=told.get("model-version", ""),
        )

    @property
    def event_id(self) -> str:
        """The event id of the message that it was."""
        return f"{self.topic}:{self.partition}:{self.offset}"

    @property
    def position(self) -> str:
        """Where it lies itself: `topic:partition:offset`."""
        return self.message.event_id

    @property
    def headers(self) -> Headers:
        """The headers of the message that it was."""
        return without_story(self.message.headers)


def attempts(headers: Headers) -> int:
    """Return how often a message with these headers has been a dead letter."""
    return next((_number((value or b"").decode("utf-8", "replace")) or 0 for name, value in headers if name == ATTEMPT), 0)


def without_story(headers: Headers) -> Headers:
    """Return the headers that are not about a dead letter."""
    return tuple((name, value) for name, value in headers if name not in _STORY_HEADERS)


@cache
def app_version() -> str:
    """Return the version of this program, `unknown` where it runs without being installed."""
    try:
        return importlib.metadata.version("occustream")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"[0-9]{1,18}", text) else None
