"""From outcomes to records that have landed and offsets that are committed: at least once, or exactly once."""

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from consumer.codec import Codec
from consumer.delivery.dead_letter_share import BadShare
from consumer.delivery.in_flight import InFlight
from consumer.delivery.retry_queue import FIRST_PAUSE_S, LONGEST_PAUSE_S, Refused
from consumer.enrich import Outcome, too_large
from consumer.errors import DeliveryFailed, RecordTooLarge
from consumer.messages import Sink, Source, TopicPartition, TransactionalSink
from consumer.metrics import Metrics

log = logging.getLogger(__name__)

SLICE_S = 0.05
SILENT_S = 10.0
"""A record that is not acknowledged for so long is trouble."""


class Delivery(Protocol):
    """Takes outcomes in reading order, writes their records and commits. One thread calls it."""

    @property
    def waiting(self) -> int:
        """How many messages have been taken and are not done."""
        ...

    @property
    def full(self) -> bool:
        """Whether nothing more should be read for now."""
        ...

    @property
    def trouble(self) -> str | None:
        """Why records do not get through, None while they do."""
        ...

    def deliver(self, outcomes: Sequence[Outcome]) -> None:
        """Take a batch. Raises DeliveryFailed: all that was read and not committed must be read again; BrokerError: for good."""
        ...

    def serve(self, timeout_s: float) -> None:
        """Go on with what is under way, waiting at most `timeout_s` for something to do. Raises BrokerError."""
        ...

    def settle(self, partitions: set[TopicPartition], until: float) -> None:
        """Finish and commit what is under way of partitions that are about to go, at most until then (monotonic seconds)."""
        ...

    def forget(self, partitions: set[TopicPartition]) -> None:
        """Drop all knowledge of partitions that are no longer ours; nothing of theirs is committed any more."""
        ...


class AtLeastOnce:
    """Records first, offsets once all records up to them are acknowledged.

    A record that the broker refuses is sent again, with a pause, until it is taken; meanwhile nothing more is read. An enriched
    posting that is too large for its topic becomes a dead letter, which may come to stand behind those of later messages. A
    record that the broker only does not answer stays with the client, which tries for as long as it takes.
    """

    def __init__(
        self,
        source: Source,
        sink: Sink,
        metrics: Metrics,
        *,
        codec: Codec,
        bad_share: BadShare,
        max_in_flight_messages: int = 4_096,
        max_in_flight_bytes: int = 33_554_432,
        commit_interval_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._sink = sink
        self._metrics = metrics
        self._bad_share = bad_share
        self._max_in_flight_messages = max_in_flight_messages
        self._max_in_flight_bytes = max_in_flight_bytes
        self._commit_interval_s = commit_interval_s
        self._clock = clock
        self._in_flight = InFlight()
        self._unanswered = self._bytes = 0  # records that the broker has, also those of partitions that are gone
        self._refused = Refused(partial(too_large, codec=codec), clock=clock)
        self._committed_at = self._moved_at = clock()

    @property
    def waiting(self) -> int:
        """See `Delivery`."""
        return self._in_flight.count()

    @property
    def full(self) -> bool:
        """See `Delivery`."""
        over = self.waiting >= self._max_in_flight_messages or self._bytes >= self._max_in_flight_bytes
        return over or bool(self._refused)

    @property
    def trouble(self) -> str | None:
        """See `Delivery`."""
        if self._refused.why is not None:
            return self._refused.why
        silent_s = self._clock() - self._moved_at
        if silent_s > SILENT_S and self._unanswered:
            return f"the broker has acknowledged none of {self._unanswered} records for {silent_s:.0f} s"
        return None

    def deliver(self, outcomes: Sequence[Outcome]) -> None:
        """See `Delivery`."""
        if not self._unanswered:
            self._moved_at = self._clock()
        self._in_flight.take(outcome.message for outcome in outcomes)
        self._produce(outcomes)

    def serve(self, timeout_s: float) -> None:
        """See `Delivery`."""
        self._sink.poll(timeout_s)
        self._send_refused_again()
        if self._clock() - self._committed_at >= self._commit_interval_s:
            self._commit(wait=False)

    def settle(self, partitions: set[TopicPartition], until: float) -> None:
        """See `Delivery`."""
        self._sink.poll(0.0)
        while self._in_flight.count(partitions) and self._clock() < until and not self._refused:
            self._sink.poll(SLICE_S)
        self._commit(wait=True)

    def forget(self, partitions: set[TopicPartition]) -> None:
        """See `Delivery`."""
        self._in_flight.forget(partitions)
        self._refused.forget(partitions)

    def _acknowledged(self, outcome: Outcome, error: DeliveryFailed | None) -> None:
        message = outcome.message
        self._unanswered -= 1
        self._bytes -= outcome.record.size_bytes
        self._moved_at = self._clock()
        if error is not None:
            if self._in_flight.has(message):
                where = f"the record of {message.event_id} was not delivered to {outcome.record.topic!r}"
                self._refuse([outcome], error, f"{where}: {error}")
            return
        self._in_flight.land(message)
        _count(outcome, self._metrics, self._bad_share)
        self._refused.through()

    def _send_refused_again(self) -> None:
        """Send them in reading order, once everything else has been answered: what was refused together stays in order."""
        if self._refused.due and self.waiting <= len(self._refused):
            self._produce(self._refused.take())

    def _produce(self, outcomes: Sequence[Outcome]) -> None:
        for number, outcome in enumerate(outcomes):
            try:
                self._sink.produce(outcome.record, partial(self._acknowledged, outcome))
            except DeliveryFailed as error:
                self._refuse(outcomes[number:], error, str(error))
                return
            self._unanswered += 1
            self._bytes += outcome.record.size_bytes

    def _refuse(self, outcomes: Sequence[Outcome], error: DeliveryFailed, why: str) -> None:
        self._refused.add(outcomes, error, why=why)
        self._metrics.undelivered.inc(len(outcomes))

    def _commit(self, *, wait: bool) -> None:
        self._committed_at = self._clock()
        if offsets := self._in_flight.committable():
            self._source.commit(offsets, wait=wait)
            self._metrics.commits.inc()


class ExactlyOnce:
    """Records, dead letters and offsets of a batch together, in a transaction that is over when `deliver` returns.

    One that fails leaves nothing behind: the batch is read again, after a pause.
    """

    def __init__(
        self,
        source: Source,
        sink: TransactionalSink,
        metrics: Metrics,
        *,
        codec: Codec,
        bad_share: BadShare,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._sink = sink
        self._metrics = metrics
        self._codec = codec
        self._bad_share = bad_share
        self._clock = clock
        self._why: str | None = None
        self._failed_at = 0.0
        self._failing: set[TopicPartition] = set()
        self._pause_s = FIRST_PAUSE_S
        self._again_at = 0.0

    @property
    def waiting(self) -> int:
        """See `Delivery`."""
        return 0

    @property
    def full(self) -> bool:
        """See `Delivery`."""
        return self._clock() < self._again_at

    @property
    def trouble(self) -> str | None:
        """See `Delivery`. It outlasts a success for a while: only some batches may have what cannot be written."""
        over = not self._failing and self._clock() - self._failed_at > SILENT_S
        return None if over else self._why

    def deliver(self, outcomes: Sequence[Outcome]) -> None:
        """See `Delivery`. Halves of a batch that is too large are tried, each with its offsets, until the guilty one is alone."""
        try:
            self._transact(outcomes)
        except RecordTooLarge as error:
            if len(outcomes) > 1:
                middle = len(outcomes) // 2
                self.deliver(outcomes[:middle])
                self.deliver(outcomes[middle:])
            elif outcomes[0].error is None:
                self.deliver([too_large(outcomes[0], self._codec)])
            else:
                raise self._failed(error, outcomes) from None
        except DeliveryFailed as error:
            raise self._failed(error, outcomes) from None

    def _failed(self, error: DeliveryFailed, outcomes: Sequence[Outcome]) -> DeliveryFailed:
        """Note a failure; returns it."""
        self._metrics.undelivered.inc(len(outcomes))
        self._why, self._failed_at = str(error), self._clock()
        self._failing = {outcome.message.topic_partition for outcome in outcomes}
        self._again_at = self._clock() + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        return error

    def _transact(self, outcomes: Sequence[Outcome]) -> None:
        offsets = {outcome.message.topic_partition: outcome.message.offset + 1 for outcome in outcomes}
        self._sink.transact([outcome.record for outcome in outcomes], offsets, self._source.group())
        for outcome in outcomes:
            _count(outcome, self._metrics, self._bad_share)
        self._metrics.commits.inc()
        self._pause_s = FIRST_PAUSE_S
        self._failing.clear()

    def serve(self, timeout_s: float) -> None:
        """See `Delivery`."""
        self._sink.poll(timeout_s)

    def settle(self, partitions: set[TopicPartition], until: float) -> None:
        """Nothing is under way between two calls."""

    def forget(self, partitions: set[TopicPartition]) -> None:
        """See `Delivery`. What failed because of them is another one's trouble."""
        self._failing -= partitions


def _count(outcome: Outcome, metrics: Metrics, bad_share: BadShare) -> None:
    """Count what has landed."""
    message = outcome.message
    bad_share.add(None if outcome.error is None else outcome.error.reason)
    if outcome.error is None:
        metrics.enriched.inc()
        metrics.decisions.labels(outcome.decision).inc()
    else:
        metrics.dead_letters.labels(outcome.error.reason).inc()
        log.warning("%s became a dead letter: %s", message.event_id, outcome.error)
    if message.timestamp_ms is not None:
        metrics.end_to_end_seconds.observe(max(0.0, time.time() - message.timestamp_ms / 1_000))
