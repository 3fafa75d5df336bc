"""The filter of the `dead-letters` command: which dead letters are asked for."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Self

from consumer.dead_letter_record import DeadLetter
from consumer.errors import ConfigError
from consumer.times import parse_time

FIELDS: Mapping[str, Callable[[DeadLetter], str]] = {
    "reason": lambda letter: letter.reason,
    "stage": lambda letter: letter.stage,
    "topic": lambda letter: letter.topic,
    "model-version": lambda letter: letter.model_version,
    "app-version": lambda letter: letter.app_version,
    "error-class": lambda letter: letter.error_class,
    "attempt": lambda letter: str(letter.attempt),
}
TIMES = ("since", "until")


@dataclass(frozen=True, slots=True)
class Filter:
    """Accepts dead letters by the values of their fields, and by when they were written (milliseconds since 1970)."""

    accepted: Mapping[str, frozenset[str]]
    since_ms: float = float("-inf")
    until_ms: float = float("inf")

    @classmethod
    def parse(cls, texts: Iterable[str], *, now_ms: int | None = None) -> Self:
        """Return the filter of texts `NAME=VALUE[,NAME=VALUE...]`. A name given twice accepts either value.

        `now_ms` is the moment from which ages such as `24h` count back, by default the present. Raises ConfigError.
        """
        accepted: dict[str, frozenset[str]] = {}
        times: dict[str, float] = {}
        for pair in (part for text in texts for part in text.split(",") if part.strip()):
            name, equals, value = (part.strip() for part in pair.partition("="))
            if not equals or name not in (*FIELDS, *TIMES):
                raise ConfigError(
                    f"--filter takes NAME=VALUE with a NAME of {', '.join((*FIELDS, *TIMES))}; not {pair.strip()!r}"
                )
            if name in TIMES:
                times[f"{name}_ms"] = _parse(name, value, now_ms)
            else:
                accepted[name] = accepted.get(name, frozenset()) | {value}
        return cls(accepted, **times)

    def matches(self, letter: DeadLetter) -> bool:
        """Return whether the filter accepts a dead letter."""
        written_ms = letter.message.timestamp_ms or 0
        return self.since_ms <= written_ms < self.until_ms and all(
            FIELDS[name](letter) in values for name, values in self.accepted.items()
        )


def _parse(name: str, value: str, now_ms: int | None) -> int:
    try:
        return parse_time(value, now_ms=now_ms, default_zone=UTC)
    except ValueError as error:
        raise ConfigError(f"--filter {name}: {error}") from error
