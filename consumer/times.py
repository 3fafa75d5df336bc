"""Moments as people write them: ISO 8601 with a timezone, a date (midnight UTC), or milliseconds since 1970."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

LAST_MS = 253_402_300_799_999
"""The end of the year 9999."""


def parse_moment(text: str) -> int:
    """Return milliseconds since 1970. Raises ValueError, which says what is expected."""
    text = text.strip()
    if re.fullmatch(r"\d{1,15}", text):
        if len(text) < 11:  # noqa: PLR2004 - as milliseconds that would be in 1970
            raise ValueError(f"{text} looks like seconds since 1970; milliseconds are expected: {text}000")
        return _within_reason(int(text), text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is no moment; write 2026-05-01T08:30:00Z, 2026-05-01T10:30+02:00, 2026-05-01 (midnight UTC) "
            "or milliseconds since 1970"
        ) from None
    if moment.tzinfo is None:
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            raise ValueError(f"{text!r} names no timezone; write {text}Z for UTC, or {text}+02:00")
        moment = moment.replace(tzinfo=UTC)
    return _within_reason(round(moment.timestamp() * 1_000), text)


def _within_reason(milliseconds: int, text: str) -> int:
    if not 0 <= milliseconds <= LAST_MS:  # for Kafka, negative ones are no moments but the ends of a partition
        raise ValueError(f"{text} is before 1970 or beyond the year 9999, in UTC")
    return milliseconds


def show_moment(milliseconds: int) -> str:
    """Return it in UTC, as ISO 8601."""
    return datetime.fromtimestamp(milliseconds / 1_000, UTC).isoformat().replace("+00:00", "Z")


@dataclass(frozen=True)
class Period:
    """From a moment, or the beginning, until before another, or the end as it is at the start; milliseconds since 1970."""

    from_ms: int | None
    to_ms: int | None

    def __str__(self) -> str:
        since = "the beginning" if self.from_ms is None else show_moment(self.from_ms)
        until = "the end" if self.to_ms is None else show_moment(self.to_ms)
        return f"from {since} to {until}"
