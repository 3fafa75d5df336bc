"""The share of dead letters among the last messages. Above a limit the consumer ends, lest a whole topic become dead letters."""

from collections import Counter, deque

from consumer.errors import DeadLetterReason, TooManyDeadLetters


class DeadLetterShare:
    """Counts delivered messages in a sliding window. Places of the window that are still empty count as enriched.

    One thread adds; any thread may read.
    """

    def __init__(self, *, limit: float = 1.0, window: int = 1_000) -> None:
        self._limit = limit
        self._window = window
        self._last: deque[DeadLetterReason | None] = deque()
        self._reasons: Counter[DeadLetterReason] = Counter()
        self._verdict: str | None = None

    @property
    def share(self) -> float:
        """Dead letters among the last `window` messages, 0 to 1. Safe from any thread."""
        return self._reasons.total() / self._window

    @property
    def exceeded(self) -> bool:
        """Whether the share has ever been above the limit."""
        return self._verdict is not None

    def add(self, reason: DeadLetterReason | None) -> None:
        """Count a delivered message: the reason of a dead letter, None for an enriched posting."""
        self._last.append(reason)
        if reason is not None:
            self._reasons[reason] += 1
        if len(self._last) > self._window and (oldest := self._last.popleft()) is not None:
            self._reasons[oldest] -= 1
        if self._verdict is None and self.share > self._limit:
            self._verdict = self._describe()

    def check(self) -> None:
        """Raise TooManyDeadLetters where the share has ever been above the limit."""
        if self._verdict is not None:
            raise TooManyDeadLetters(self._verdict)

    def _describe(self) -> str:
        commonest = ", ".join(f"{count:,} {reason}" for reason, count in self._reasons.most_common(3))
        return (
            f"{self._reasons.total():,} of the last {self._window:,} messages (bad_share_window) became dead letters, "
            f"above the limit of {self._limit:g} (bad_share_limit): {commonest}. "
            "Mend the producer and replay them, or raise --bad-share-limit (1: no limit)"
        )
