"""Records that the broker did not take, and when which of them go to it again: pure, in reading order, for at-least-once."""

import time
from collections.abc import Callable, Sequence

from consumer.enrich import Outcome
from consumer.errors import RecordTooLarge
from consumer.messages import TopicPartition

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 10.0
"""Between a failure and the next try; each pause is twice the one before."""
MANY = 1 << 30


class Refused:
    """Refused outcomes. A broker judges what a client sends together as a whole, so one that is too large is found by halves.

    `bury` makes a dead letter of one that was refused as too large when it went alone; a dead letter goes on being tried.
    """

    def __init__(self, bury: Callable[[Outcome], Outcome], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._bury = bury
        self._clock = clock
        self._refused: list[Outcome] = []
        self._behind: list[Outcome] = []  # go again once those are through
        self._too_large = False
        self._sent = self._most = MANY
        self._pause_s = FIRST_PAUSE_S
        self._again_at = 0.0
        self.why: str | None = None

    def __len__(self) -> int:
        return len(self._refused) + len(self._behind)

    @property
    def due(self) -> bool:
        """Whether there is something to send, and its pause is over."""
        return len(self) > 0 and self._clock() >= self._again_at

    def add(self, outcomes: Sequence[Outcome], error: Exception, *, why: str) -> None:
        """Take outcomes that were refused, in reading order."""
        self._refused += outcomes
        self._too_large |= isinstance(error, RecordTooLarge)
        self.why = why
        if not self._too_large or self._hopeless:
            self._again_at = self._clock() + self._pause_s
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def take(self) -> list[Outcome]:
        """Return what goes now; nothing else may be on its way. It is no longer held here."""
        if self._too_large and self._alone and not self._hopeless:
            self._refused = [self._bury(self._refused[0])]
        self._most = max(1, self._sent // 2) if self._too_large else min(MANY, 2 * self._most)
        waiting = self._refused + self._behind
        now, self._refused, self._behind = waiting[: self._most], [], waiting[self._most :]
        self._sent, self._too_large = len(now), False
        return now

    def through(self) -> None:
        """Note that a record was taken: with none left here, all is well again."""
        if not self:
            self._recover()

    def forget(self, partitions: set[TopicPartition]) -> None:
        """Drop what is of partitions that are no longer ours."""
        self._refused = [outcome for outcome in self._refused if outcome.message.topic_partition not in partitions]
        self._behind = [outcome for outcome in self._behind if outcome.message.topic_partition not in partitions]
        if not self:
            self._recover()

    def _recover(self) -> None:
        self.why, self._too_large = None, False
        self._pause_s, self._sent, self._most = FIRST_PAUSE_S, MANY, MANY

    @property
    def _alone(self) -> bool:
        return self._sent == 1 and len(self._refused) == 1

    @property
    def _hopeless(self) -> bool:
        """Whether it is a dead letter already that went alone."""
        return self._alone and self._refused[0].error is not None
