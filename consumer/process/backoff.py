"""Pauses between tries that double up to a limit. The limits are a value; where one stands between two tries is apart."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """The shortest and the longest pause, in seconds."""

    first_s: float
    longest_s: float

    def pauses(self) -> Iterator[float]:
        """Yield the pause before each further try, without end; after a success, start again with new ones."""
        pause_s = self.first_s
        while True:
            yield pause_s
            pause_s = min(2 * pause_s, self.longest_s)
