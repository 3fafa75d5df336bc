"""Divides the stream into micro-batches by count, bytes and age, and says which limit closed each."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from consumer.messages import Message, TopicPartition

Trigger = Literal["count", "bytes", "age", "drain"]


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """The limits that close a batch. Its age counts from the arrival of its first message, not from the last batch."""

    max_count: int
    max_bytes: int
    max_age_s: float


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages to be scored together, in arrival order, and the limit that closed the batch."""

    messages: tuple[Message, ...]
    trigger: Trigger


class Batcher:
    """Holds the messages that wait for a batch. Times are seconds of any monotonic clock."""

    def __init__(self, policy: BatchPolicy) -> None:
        self._policy = policy
        self._waiting: deque[tuple[Message, float]] = deque()
        self._waiting_bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def room(self) -> int:
        """How many more messages may wait; 0 while there are enough bytes for a batch."""
        return 0 if self._waiting_bytes >= self._policy.max_bytes else max(0, self._policy.max_count - len(self._waiting))

    def add(self, messages: Iterable[Message], now_s: float) -> None:
        """Add messages that arrived at `now_s`."""
        for message in messages:
            self._waiting.append((message, now_s))
            self._waiting_bytes += message.size_bytes

    def wait_s(self, now_s: float) -> float | None:
        """Return the seconds until the age limit closes the batch; None when nothing waits."""
        if not self._waiting:
            return None
        return max(0.0, self._waiting[0][1] + self._policy.max_age_s - now_s)

    def take(self, now_s: float, *, drain: bool = False) -> Batch | None:
        """Return a batch if a limit is reached, else None. With `drain`, whatever waits is a batch."""
        trigger = self._closing_trigger(now_s, drain=drain)
        return Batch(self._take_batch(), trigger) if trigger else None

    def drop(self, partitions: set[TopicPartition]) -> int:
        """Forget the waiting messages of partitions that are no longer ours; returns how many there were."""
        kept = [(m, arrived_s) for m, arrived_s in self._waiting if m.topic_partition not in partitions]
        dropped = len(self._waiting) - len(kept)
        self._waiting = deque(kept)
        self._waiting_bytes = sum(m.size_bytes for m, _ in kept)
        return dropped

    def clear(self) -> None:
        """Forget all waiting messages: they will be read again."""
        self._waiting.clear()
        self._waiting_bytes = 0

    def _closing_trigger(self, now_s: float, *, drain: bool) -> Trigger | None:
        if not self._waiting:
            return None
        if len(self._waiting) >= self._policy.max_count:
            return "count"
        if self._waiting_bytes >= self._policy.max_bytes:
            return "bytes"
        if self.wait_s(now_s) == 0.0:
            return "age"
        return "drain" if drain else None

    def _take_batch(self) -> tuple[Message, ...]:
        """Remove and return messages up to the limits; at least one, since a single message may be larger than max_bytes."""
        taken: list[Message] = []
        size = 0
        while self._waiting and len(taken) < self._policy.max_count:
            message = self._waiting[0][0]
            if taken and size + message.size_bytes > self._policy.max_bytes:
                break
            self._waiting.popleft()
            taken.append(message)
            size += message.size_bytes
        self._waiting_bytes -= size
        return tuple(taken)
