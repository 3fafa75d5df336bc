"""The queue of records that the broker refused, and when which of them are sent again. At-least-once delivery uses it.

The queue keeps reading order and talks to no broker itself.
"""

import time
from collections.abc import Callable, Sequence

from consumer.delivery.protocol import RETRY_PAUSES
from consumer.delivery.smaller import has_smallest_record
from consumer.enrich import Outcome
from consumer.errors import RecordTooLarge
from consumer.messages import TopicPartition

UNLIMITED = 1 << 30


class RetryQueue:
    """Outcomes whose records were refused.

    A broker accepts or refuses what a client sends together as a whole. So a record that is too large is found by halving what is
    sent. `make_smaller` replaces an outcome that was refused as too large when it was sent alone. Where even the smallest record
    is refused, all forms are tried without end.
    """

    def __init__(self, make_smaller: Callable[[Outcome], Outcome], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._make_smaller = make_smaller
        self._clock = clock
        self._refused: list[Outcome] = []
        self._postponed: list[Outcome] = []  # sent once the refused ones have got through
        self._too_large = False
        self._last_sent = self._send_at_most = UNLIMITED
        self._pauses = RETRY_PAUSES.pauses()
        self._retry_at = 0.0
        self.trouble: str | None = None

    def __len__(self) -> int:
        return len(self._refused) + len(self._postponed)

    @property
    def due(self) -> bool:
        """Whether there is something to send, and its pause is over."""
        return len(self) > 0 and self._clock() >= self._retry_at

    def add(self, outcomes: Sequence[Outcome], error: Exception, *, trouble: str) -> None:
        """Add refused outcomes. `trouble` says what went wrong, for people."""
        self._refused += outcomes
        self._too_large |= isinstance(error, RecordTooLarge)
        self.trouble = trouble
        if not self._too_large or self._sent_smallest_alone:  # the search by halves goes on without a pause
            self._retry_at = self._clock() + next(self._pauses)

    def take(self) -> list[Outcome]:
        """Remove and return the outcomes to send now. All records sent before must have been answered."""
        if self._too_large and self._sent_alone:
            self._refused = [self._make_smaller(self._refused[0])]
        self._send_at_most = max(1, self._last_sent // 2) if self._too_large else min(UNLIMITED, 2 * self._send_at_most)
        queued = sorted(self._refused + self._postponed, key=_offset)  # of a partition, a client may refuse the later ones first
        now, self._refused, self._postponed = queued[: self._send_at_most], [], queued[self._send_at_most :]
        self._last_sent, self._too_large = len(now), False
        return now

    def note_success(self) -> None:
        """Note that the broker accepted a record: with an empty queue, the trouble is over."""
        if not self:
            self._reset()

    def forget(self, partitions: set[TopicPartition]) -> None:
        """Drop the outcomes of partitions that are no longer ours."""
        self._refused = [outcome for outcome in self._refused if outcome.message.topic_partition not in partitions]
        self._postponed = [outcome for outcome in self._postponed if outcome.message.topic_partition not in partitions]
        if not self:
            self._reset()

    def _reset(self) -> None:
        self.trouble, self._too_large = None, False
        self._last_sent = self._send_at_most = UNLIMITED
        self._pauses = RETRY_PAUSES.pauses()

    @property
    def _sent_alone(self) -> bool:
        """Whether the last try sent a single record, which was refused."""
        return self._last_sent == 1 and len(self._refused) == 1

    @property
    def _sent_smallest_alone(self) -> bool:
        """Whether nothing smaller can be sent instead of that single record."""
        return self._sent_alone and has_smallest_record(self._refused[0])


def _offset(outcome: Outcome) -> int:
    return outcome.message.offset
