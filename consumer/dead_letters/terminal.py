"""Dead letters as text. Whatever bytes they hold, none moves the cursor of a terminal or looks like a line of this program."""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from consumer.dead_letter_record import DeadLetter

MAX_VALUE_CHARS = 4_000
"""Of a value that is printed."""
MAX_ERROR_CHARS = 120
"""Of an error in a list with a line for each dead letter."""
_LEFT_OUT = "value:        left out: the whole letter is larger than its topic takes; --raw reads it where it lies"


@dataclass
class Counts:
    """How many dead letters there are of one topic, stage and reason, and when the first and the last were written."""

    letters: int = 0
    replayed: int = 0
    first_ms: int | None = None
    last_ms: int | None = None

    def add(self, letter: DeadLetter, *, replayed: bool) -> None:
        """Count a dead letter."""
        self.letters += 1
        self.replayed += replayed
        if (written_ms := letter.message.timestamp_ms) is not None:
            self.first_ms = written_ms if self.first_ms is None else min(self.first_ms, written_ms)
            self.last_ms = written_ms if self.last_ms is None else max(self.last_ms, written_ms)


def escape(text: str) -> str:
    """Return text with unprintable characters escaped: control characters, line ends, marks that change the direction."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def format_time(time_ms: int | None) -> str:
    """Return a time as text, in UTC; `-` for None and for a time that no calendar has."""
    if time_ms is None:
        return "-"
    try:
        return f"{datetime.fromtimestamp(time_ms / 1_000, UTC):%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return "-"


def format_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return aligned columns."""
    lines = [tuple(header), *(tuple(map(escape, row)) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)


def format_line(letter: DeadLetter, *, replayed: bool) -> str:
    """Return one line about a dead letter."""
    error = escape(letter.error)
    parts = [
        format_time(letter.message.timestamp_ms),
        escape(letter.event_id),
        f"{escape(letter.reason)}/{escape(letter.stage) or '-'}",
        f"attempt {letter.attempt}{', replayed' if replayed else ''}",
        error if len(error) <= MAX_ERROR_CHARS else f"{error[:MAX_ERROR_CHARS]}...",
    ]
    return "  ".join(parts)


def to_json_fields(letter: DeadLetter, *, replayed: bool) -> dict[str, Any]:
    """Return a dead letter as JSON fields. Key and value are text where they are UTF-8, else base64."""
    return {
        "position": letter.position,
        "written_at_ms": letter.message.timestamp_ms,
        "event_id": letter.event_id,
        "timestamp_ms": letter.timestamp_ms,
        "reason": letter.reason,
        "stage": letter.stage,
        "error": letter.error,
        "error_class": letter.error_class,
        "attempt": letter.attempt,
        "replayed": replayed,
        "left_out": letter.left_out,
        "app_version": letter.app_version,
        "model_version": letter.model_version,
        **_json_field("key", letter.message.key),
        **_json_field("value", letter.message.value),
    }


def format_details(letter: DeadLetter, *, replayed: bool) -> str:
    """Return everything that is known of a dead letter, in several lines."""
    details = {
        "message": letter.event_id,
        "sent at": format_time(letter.timestamp_ms),
        "dead letter": letter.position,
        "written at": format_time(letter.message.timestamp_ms),
        "reason": letter.reason,
        "stage": letter.stage or "-",
        "error": letter.error,
        "error class": letter.error_class or "-",
        "attempt": f"{letter.attempt}{', replayed' if replayed else ''}",
        "versions": f"application {letter.app_version or '-'}, model {letter.model_version or '-'}",
        **({"left out": f"{letter.left_out}; it lies at {letter.event_id}"} if letter.left_out else {}),
        "key": _bytes_text(letter.message.key),
        **{f"header {name}": _bytes_text(value) for name, value in letter.headers},
    }
    lines = [f"{escape(name) + ':':<14}{escape(text)}" for name, text in details.items()]
    return "\n".join([*lines, *([_LEFT_OUT] if letter.left_out else _value_lines(letter.message.value))])


def _value_lines(value: bytes | None) -> list[str]:
    if value is None:
        return ["value:        none (a tombstone)"]
    text = value.decode("utf-8", "backslashreplace")
    lines = [f"  | {escape(part)}" for part in text[:MAX_VALUE_CHARS].split("\n")]
    if len(text) > MAX_VALUE_CHARS:
        lines.append(f"  ... {len(text) - MAX_VALUE_CHARS:,} more characters; --raw writes all bytes")
    return [f"value:        {len(value):,} bytes", *lines]


def _bytes_text(value: bytes | None) -> str:
    return "none" if value is None else value[:MAX_VALUE_CHARS].decode("utf-8", "backslashreplace")


def _json_field(name: str, value: bytes | None) -> dict[str, str | None]:
    if value is None:
        return {name: None}
    try:
        return {name: value.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(value).decode()}
