"""Exactly-once delivery: the records and the offsets of a batch are written in one Kafka transaction."""

import time
from collections.abc import Callable, Sequence

from consumer.codec import Codec
from consumer.delivery.dead_letter_share import DeadLetterShare
from consumer.delivery.protocol import RETRY_PAUSES, SILENT_S, count_delivered
from consumer.delivery.smaller import has_smallest_record, make_smaller
from consumer.enrich import Outcome
from consumer.errors import DeliveryFailed, RecordTooLarge
from consumer.messages import Source, TopicPartition, TransactionalSink, next_offsets
from consumer.metrics import Metrics

TAIL_INTERVAL_S = 1.0
"""Between two looks for offsets behind finished messages."""


class ExactlyOnce:
    """Writes enriched postings, dead letters and offsets of a batch in one transaction, which ends before `deliver` returns.

    A transaction that fails leaves nothing behind: the batch is read again, after a pause.
    """

    def __init__(
        self,
        source: Source,
        sink: TransactionalSink,
        metrics: Metrics,
        *,
        codec: Codec,
        dead_letter_share: DeadLetterShare,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._sink = sink
        self._metrics = metrics
        self._codec = codec
        self._dead_letter_share = dead_letter_share
        self._clock = clock
        self._last_failure: str | None = None
        self._failed_at = 0.0
        self._failing_partitions: set[TopicPartition] = set()
        self._pauses = RETRY_PAUSES.pauses()
        self._retry_at = self._tails_at = 0.0

    @property
    def waiting(self) -> int:
        """See `Delivery`."""
        return 0

    @property
    def full(self) -> bool:
        """See `Delivery`."""
        return self._clock() < self._retry_at

    @property
    def trouble(self) -> str | None:
        """See `Delivery`. It outlasts a success by SILENT_S: perhaps only some batches hold a record that cannot be written."""
        is_over = not self._failing_partitions and self._clock() - self._failed_at > SILENT_S
        return None if is_over else self._last_failure

    def deliver(self, outcomes: Sequence[Outcome]) -> None:
        """See `Delivery`. A batch that is too large is parted, each part with its offsets, down to the one record at fault."""
        try:
            self._write_transaction(outcomes)
        except RecordTooLarge as error:
            if len(outcomes) > 1:
                for part in _part(outcomes):
                    self.deliver(part)
            elif not has_smallest_record(outcomes[0]):
                self.deliver([make_smaller(outcomes[0], self._codec)])
            else:
                raise self._note_failure(error, outcomes) from None
        except DeliveryFailed as error:
            raise self._note_failure(error, outcomes) from None

    def serve(self, timeout_s: float) -> None:
        """See `Delivery`."""
        self._sink.poll(timeout_s)
        if self._clock() >= self._tails_at and not self.full:
            self._commit_tails()

    def settle(self, partitions: set[TopicPartition], until: float) -> None:
        """Do nothing: between two calls no work is in progress."""

    def forget(self, partitions: set[TopicPartition]) -> None:
        """See `Delivery`. A failure on these partitions is their next owner's trouble."""
        self._failing_partitions -= partitions

    def _commit_tails(self) -> None:
        """Commit what lies behind finished messages, in a transaction: a plain commit could overtake that of later messages."""
        self._tails_at = self._clock() + TAIL_INTERVAL_S
        if not (tails := self._source.tails()):
            return
        try:
            self._sink.transact([], tails, self._source.group())
        except DeliveryFailed as error:
            self._note_failure(error, [])
        else:
            self._metrics.commits.inc()

    def _write_transaction(self, outcomes: Sequence[Outcome]) -> None:
        offsets = next_offsets(outcome.message for outcome in outcomes)
        records = [outcome.record for outcome in outcomes if outcome.record is not None]
        self._sink.transact(records, offsets, self._source.group())
        for outcome in outcomes:
            count_delivered(outcome, self._metrics, self._dead_letter_share)
        self._metrics.commits.inc()
        self._pauses = RETRY_PAUSES.pauses()
        self._failing_partitions.clear()

    def _note_failure(self, error: DeliveryFailed, outcomes: Sequence[Outcome]) -> DeliveryFailed:
        """Note a failure and when to try again; returns the error."""
        self._metrics.undelivered.inc(len(outcomes))
        self._last_failure, self._failed_at = str(error), self._clock()
        self._failing_partitions = {outcome.message.topic_partition for outcome in outcomes}
        self._retry_at = self._clock() + next(self._pauses)
        return error


def _part(outcomes: Sequence[Outcome]) -> list[Sequence[Outcome]]:
    """Return a batch in parts, in order: two halves, or around a record that holds most of the bytes. It is likely at fault."""
    sizes = [outcome.record.size_bytes if outcome.record is not None else 0 for outcome in outcomes]
    largest = sizes.index(max(sizes))
    if 2 * sizes[largest] <= sum(sizes):
        middle = len(outcomes) // 2
        return [outcomes[:middle], outcomes[middle:]]
    return [part for part in (outcomes[:largest], outcomes[largest : largest + 1], outcomes[largest + 1 :]) if part]
