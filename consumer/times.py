"""Times on the command line, in one grammar for all commands: a moment, or an age such as `24h`, which means so long ago."""

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

LAST_MS = 253_402_300_799_999
"""The end of the year 9999, in milliseconds since 1970."""
EXPECTED = (
    "write 2026-05-01T08:30:00Z, 2026-05-01T10:30+02:00, 2026-05-01 (midnight UTC), milliseconds since 1970, "
    "or an age: 90s, 45m, 24h or 7d ago"
)
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def parse_time(text: str, *, now_ms: int | None = None, default_zone: tzinfo | None = None) -> int:
    """Return milliseconds since 1970. Ages count back from `now_ms`, by default the present.

    A time of day without a timezone is taken to be in `default_zone`. Raises ValueError, which says what is expected, also where
    there is no such zone.
    """
    text = text.strip()
    if age := re.fullmatch(r"(\d{1,6})([smhd])", text):
        now_ms = round(time.time() * 1_000) if now_ms is None else now_ms
        return max(0, now_ms - int(age[1]) * _UNIT_MS[age[2]])
    if re.fullmatch(r"\d{1,15}", text) and len(text) != len("20260501"):
        if len(text) < 11:  # noqa: PLR2004 - as milliseconds that would be in 1970
            raise ValueError(f"{text} looks like seconds since 1970; milliseconds are expected: {text}000")
        return _check_range(int(text), text)
    return _check_range(round(_parse_iso(text, default_zone).timestamp() * 1_000), text)


def _parse_iso(text: str, default_zone: tzinfo | None) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no moment; {EXPECTED}") from None
    if moment.tzinfo is not None:
        return moment
    if re.fullmatch(r"\d{4}-?\d{2}-?\d{2}", text):
        return moment.replace(tzinfo=UTC)
    if default_zone is None:
        raise ValueError(f"{text!r} names no timezone; write {text}Z for UTC, or {text}+02:00")
    return moment.replace(tzinfo=default_zone)


def _check_range(milliseconds: int, text: str) -> int:
    if not 0 <= milliseconds <= LAST_MS:  # Kafka takes negative timestamps for the ends of a partition
        raise ValueError(f"{text} is before 1970 or beyond the year 9999, in UTC")
    return milliseconds


def format_time(milliseconds: int) -> str:
    """Return milliseconds since 1970 as ISO 8601 in UTC."""
    return datetime.fromtimestamp(milliseconds / 1_000, UTC).isoformat().replace("+00:00", "Z")


@dataclass(frozen=True)
class Period:
    """A period in milliseconds since 1970; its end is not part of it.

    None stands for the beginning of the topic, or for its end at the time the consumer starts.
    """

    from_ms: int | None
    to_ms: int | None

    def __str__(self) -> str:
        start = "the beginning" if self.from_ms is None else format_time(self.from_ms)
        end = "the end" if self.to_ms is None else format_time(self.to_ms)
        return f"from {start} to {end}"
