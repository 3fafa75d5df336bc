"""At-least-once delivery: records are sent first; an offset is committed once all records up to it are acknowledged."""

import time
from collections.abc import Callable, Sequence
from functools import partial

from consumer.codec import Codec
from consumer.delivery.dead_letter_share import DeadLetterShare
from consumer.delivery.in_flight import InFlight
from consumer.delivery.protocol import SILENT_S, count_delivered
from consumer.delivery.retry_queue import RetryQueue
from consumer.delivery.smaller import make_smaller
from consumer.enrich import Outcome
from consumer.errors import DeliveryFailed
from consumer.messages import Record, Sink, Source, TopicPartition
from consumer.metrics import Metrics

POLL_S = 0.05
"""How long one wait for acknowledgements takes while partitions are given up."""


class AtLeastOnce:
    """Sends records, and commits offsets once all records up to them are acknowledged.

    A record that the broker refuses is sent again, after a pause, until it is accepted; meanwhile nothing more is read. An
    enriched posting that is too large for its topic becomes a dead letter, which may then stand behind the dead letters of later
    messages. A dead letter that is too large is written without its message's value. A record that the broker merely does not
    acknowledge stays with the Kafka client, which tries without end.
    """

    def __init__(
        self,
        source: Source,
        sink: Sink,
        metrics: Metrics,
        *,
        codec: Codec,
        dead_letter_share: DeadLetterShare,
        max_in_flight_messages: int = 4_096,
        max_in_flight_bytes: int = 33_554_432,
        commit_interval_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._sink = sink
        self._metrics = metrics
        self._dead_letter_share = dead_letter_share
        self._max_in_flight_messages = max_in_flight_messages
        self._max_in_flight_bytes = max_in_flight_bytes
        self._commit_interval_s = commit_interval_s
        self._clock = clock
        self._in_flight = InFlight()
        # Sent and not answered, with those of partitions that are gone: the client still holds them.
        self._unanswered = self._unanswered_bytes = 0
        self._retry_queue = RetryQueue(partial(make_smaller, codec=codec), clock=clock)
        self._committed_at = self._answered_at = clock()

    @property
    def waiting(self) -> int:
        """See `Delivery`."""
        return self._in_flight.count()

    @property
    def full(self) -> bool:
        """See `Delivery`."""
        over_limit = self.waiting >= self._max_in_flight_messages or self._unanswered_bytes >= self._max_in_flight_bytes
        return over_limit or bool(self._retry_queue)

    @property
    def trouble(self) -> str | None:
        """See `Delivery`."""
        if self._retry_queue.trouble is not None:
            return self._retry_queue.trouble
        silent_s = self._clock() - self._answered_at
        if silent_s > SILENT_S and self._unanswered:
            return f"the broker has acknowledged none of {self._unanswered} records for {silent_s:.0f} s"
        return None

    def deliver(self, outcomes: Sequence[Outcome]) -> None:
        """See `Delivery`."""
        if not self._unanswered:
            self._answered_at = self._clock()
        self._in_flight.take(outcome.message for outcome in outcomes)
        for outcome in outcomes:
            if outcome.record is None:
                self._finish(outcome)
        self._produce([outcome for outcome in outcomes if outcome.record is not None])

    def serve(self, timeout_s: float) -> None:
        """See `Delivery`."""
        self._sink.poll(timeout_s)
        self._retry_refused()
        if self._clock() - self._committed_at >= self._commit_interval_s:
            self._commit(wait=False)

    def settle(self, partitions: set[TopicPartition], until: float) -> None:
        """See `Delivery`."""
        self._sink.poll(0.0)
        while self._in_flight.count(partitions) and self._clock() < until and not self._retry_queue:
            self._sink.poll(POLL_S)
        self._commit(wait=True)

    def forget(self, partitions: set[TopicPartition]) -> None:
        """See `Delivery`."""
        self._in_flight.forget(partitions)
        self._retry_queue.forget(partitions)

    def _produce(self, outcomes: Sequence[Outcome]) -> None:
        for number, outcome in enumerate(outcomes):
            try:
                self._sink.produce(_record(outcome), partial(self._on_ack, outcome))
            except DeliveryFailed as error:
                self._queue_for_retry(outcomes[number:], error, trouble=str(error))
                return
            self._unanswered += 1
            self._unanswered_bytes += _record(outcome).size_bytes

    def _on_ack(self, outcome: Outcome, error: DeliveryFailed | None) -> None:
        message = outcome.message
        self._unanswered -= 1
        self._unanswered_bytes -= _record(outcome).size_bytes
        self._answered_at = self._clock()
        if error is not None:
            if self._in_flight.has(message):
                what = f"the record of {message.event_id} was not delivered to {_record(outcome).topic!r}"
                self._queue_for_retry([outcome], error, trouble=f"{what}: {error}")
            return
        self._finish(outcome)
        self._retry_queue.note_success()

    def _finish(self, outcome: Outcome) -> None:
        """Note that nothing more is to be done for a message."""
        self._in_flight.land(outcome.message)
        count_delivered(outcome, self._metrics, self._dead_letter_share)

    def _retry_refused(self) -> None:
        """Send refused records again, once every other record has been answered: records refused together keep their order."""
        if self._retry_queue.due and self.waiting <= len(self._retry_queue):
            self._produce(self._retry_queue.take())

    def _queue_for_retry(self, outcomes: Sequence[Outcome], error: DeliveryFailed, *, trouble: str) -> None:
        self._retry_queue.add(outcomes, error, trouble=trouble)
        self._metrics.undelivered.inc(len(outcomes))

    def _commit(self, *, wait: bool) -> None:
        self._committed_at = self._clock()
        if offsets := {**self._source.tails(), **self._in_flight.committable()}:
            self._source.commit(offsets, wait=wait)
            self._metrics.commits.inc()


def _record(outcome: Outcome) -> Record:
    """Return the record of an outcome that is sent: one without a record never is."""
    if outcome.record is None:
        raise ValueError(f"{outcome.message.event_id} has no record to send")
    return outcome.record
