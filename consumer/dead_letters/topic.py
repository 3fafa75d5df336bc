"""The dead-letter topic as it is now: its letters, which of them were replayed, and which are asked for."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from consumer.dead_letter_record import Letter
from consumer.errors import ConfigError
from consumer.messages import Headers, Message, Record

Read = Callable[[Mapping[int, range] | None], Iterable[Message]]
"""Reads the topic as it is now: all of it, or ranges of offsets by partition."""
RECEIPT = "dead-letter.receipt"
"""The header of a receipt: it lies in the partition of the letters that it says were replayed, behind them."""


class Letters:
    """The letters of a topic up to its end as it is now. Replayed ones are known before the first is given out."""

    def __init__(self, read: Read) -> None:
        """Read the topic once, for receipts. Raises what `read` raises, BrokerError."""
        self._read = read
        self._replayed: set[tuple[int, int]] = set()
        self._ends: dict[int, range] = {}
        self.others = 0  # messages that are neither letters nor receipts
        for message in read(None):
            self._ends[message.partition] = range(message.offset + 1)
            if (offsets := replayed_offsets(message)) is not None:
                self._replayed.update((message.partition, offset) for offset in offsets)
            elif Letter.of(message) is None:
                self.others += 1

    def replayed(self, letter: Letter) -> bool:
        """Return whether a replay has sent it back."""
        return (letter.message.partition, letter.message.offset) in self._replayed

    def __iter__(self) -> Iterator[Letter]:
        """Read them, in order per partition; again each time."""
        for message in self._read(self._ends):
            if (letter := Letter.of(message)) is not None:
                yield letter


def receipt(topic: str, partition: int, offsets: Sequence[int]) -> Record:
    """Return the record that says of letters of a partition that they were replayed."""
    value = json.dumps({"replayed": list(offsets)}).encode()
    return Record(topic, None, value, ((RECEIPT, b"1"),), partition)


def replayed_offsets(message: Message) -> list[int] | None:
    """Return what a receipt says; None where a message is none, as a letter of one that had got into an input topic."""
    if not _has(message.headers, RECEIPT) or Letter.of(message) is not None:
        return None
    try:
        return [int(offset) for offset in json.loads(message.value or b"")["replayed"]]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def _has(headers: Headers, name: str) -> bool:
    return any(header == name for header, _value in headers)


FIELDS: Mapping[str, Callable[[Letter], str]] = {
    "reason": lambda letter: letter.reason,
    "stage": lambda letter: letter.stage,
    "topic": lambda letter: letter.topic,
    "model-version": lambda letter: letter.model_version,
    "app-version": lambda letter: letter.app_version,
    "error-class": lambda letter: letter.error_class,
    "attempt": lambda letter: str(letter.attempt),
}
TIMES = ("since", "until")
_AGO = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class Filter:
    """Which letters are asked for: by what their story says, and by when they were written."""

    wanted: Mapping[str, frozenset[str]]
    since_ms: float = float("-inf")
    until_ms: float = float("inf")

    @classmethod
    def parse(cls, texts: Iterable[str], *, now: datetime | None = None) -> Self:
        """Read `NAME=VALUE`, several with commas between. One name twice: either value. Raises ConfigError."""
        wanted: dict[str, frozenset[str]] = {}
        times: dict[str, float] = {}
        for pair in (part for text in texts for part in text.split(",") if part.strip()):
            name, equals, value = (part.strip() for part in pair.partition("="))
            if not equals or name not in (*FIELDS, *TIMES):
                raise ConfigError(
                    f"--filter takes NAME=VALUE with a NAME of {', '.join((*FIELDS, *TIMES))}; not {pair.strip()!r}"
                )
            if name in TIMES:
                times[f"{name}_ms"] = _milliseconds(value, now or datetime.now(UTC))
            else:
                wanted[name] = wanted.get(name, frozenset()) | {value}
        return cls(wanted, **times)

    def matches(self, letter: Letter) -> bool:
        """Return whether a letter is one of those."""
        written_ms = letter.message.timestamp_ms or 0
        return self.since_ms <= written_ms < self.until_ms and all(
            FIELDS[n](letter) in values for n, values in self.wanted.items()
        )


def _milliseconds(text: str, now: datetime) -> float:
    """Return a time in milliseconds since 1970: ISO 8601, UTC where it names no zone, or `2h`: so long ago."""
    if ago := re.fullmatch(r"([0-9]{1,6})([smhd])", text):
        return now.timestamp() * 1_000 - timedelta(seconds=int(ago[1]) * _AGO[ago[2]]) / timedelta(milliseconds=1)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"{text!r} is no time: write 2026-01-31, 2026-01-31T08:00:00+01:00, or 90m, 24h, 7d for so long ago"
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000
