"""Dead letters for a terminal: whatever the bytes, nothing in them moves the cursor or passes for a line of ours."""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from consumer.dead_letter_record import Letter

SHOWN_CHARS = 4_000
"""Of a value."""
LINE_CHARS = 120
"""Of an error in a line of its own."""


@dataclass
class Row:
    """Letters of one topic, stage and reason."""

    letters: int = 0
    replayed: int = 0
    first_ms: int | None = None
    last_ms: int | None = None

    def add(self, letter: Letter, *, replayed: bool) -> None:
        """Count a letter."""
        self.letters += 1
        self.replayed += replayed
        if (at := letter.message.timestamp_ms) is not None:
            self.first_ms = at if self.first_ms is None else min(self.first_ms, at)
            self.last_ms = at if self.last_ms is None else max(self.last_ms, at)


def safe(text: str) -> str:
    """Return text with all that is not printable escaped: control characters, line ends, marks that turn the direction."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def when(time_ms: int | None) -> str:
    """Return a time as text, UTC; `-` for none, and for one that no calendar has."""
    if time_ms is None:
        return "-"
    try:
        return f"{datetime.fromtimestamp(time_ms / 1_000, UTC):%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return "-"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return aligned columns."""
    lines = [tuple(header), *(tuple(map(safe, row)) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)


def line(letter: Letter, *, replayed: bool) -> str:
    """Return one line about a letter."""
    error = safe(letter.error)
    told = [
        when(letter.message.timestamp_ms),
        safe(letter.event_id),
        f"{safe(letter.reason)}/{safe(letter.stage) or '-'}",
        f"attempt {letter.attempt}{', replayed' if replayed else ''}",
        error if len(error) <= LINE_CHARS else f"{error[:LINE_CHARS]}...",
    ]
    return "  ".join(told)


def as_json(letter: Letter, *, replayed: bool) -> dict[str, Any]:
    """Return a letter's story as JSON fields. Key and value: text where they are UTF-8, else base64."""
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
        "app_version": letter.app_version,
        "model_version": letter.model_version,
        **_json_bytes("key", letter.message.key),
        **_json_bytes("value", letter.message.value),
    }


def story(letter: Letter, *, replayed: bool) -> str:
    """Return all there is to a letter, over several lines."""
    told = {
        "message": letter.event_id,
        "sent at": when(letter.timestamp_ms),
        "dead letter": letter.position,
        "written at": when(letter.message.timestamp_ms),
        "reason": letter.reason,
        "stage": letter.stage or "-",
        "error": letter.error,
        "error class": letter.error_class or "-",
        "attempt": f"{letter.attempt}{', replayed' if replayed else ''}",
        "versions": f"application {letter.app_version or '-'}, model {letter.model_version or '-'}",
        "key": _bytes_text(letter.message.key),
        **{f"header {name}": _bytes_text(value) for name, value in letter.headers},
    }
    lines = [f"{safe(name) + ':':<14}{safe(text)}" for name, text in told.items()]
    return "\n".join([*lines, *_value_lines(letter.message.value)])


def _value_lines(value: bytes | None) -> list[str]:
    if value is None:
        return ["value:        none (a tombstone)"]
    text = value.decode("utf-8", "backslashreplace")
    shown = [f"  | {safe(part)}" for part in text[:SHOWN_CHARS].split("\n")]
    cut = [f"  ... {len(text) - SHOWN_CHARS:,} more characters; --raw writes all bytes"] if len(text) > SHOWN_CHARS else []
    return [f"value:        {len(value):,} bytes", *shown, *cut]


def _bytes_text(value: bytes | None) -> str:
    return "none" if value is None else value[:SHOWN_CHARS].decode("utf-8", "backslashreplace")


def _json_bytes(name: str, value: bytes | None) -> dict[str, str | None]:
    if value is None:
        return {name: None}
    try:
        return {name: value.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(value).decode()}
