"""The `Delivery` protocol, which both delivery modes keep to, and the limits and counts that both share."""

import logging
import time
from collections.abc import Sequence
from typing import Protocol

from consumer.dead_letter_record import is_abridged
from consumer.delivery.dead_letter_share import DeadLetterShare
from consumer.enrich import Outcome
from consumer.feeds.kinds import DeleteAction
from consumer.messages import TopicPartition
from consumer.metrics import Metrics
from consumer.process.backoff import Backoff

log = logging.getLogger(__name__)

RETRY_PAUSES = Backoff(first_s=0.1, longest_s=10.0)
"""The pauses between a failed delivery and the next try."""
SILENT_S = 10.0
"""At least once: a record that is not acknowledged for so long is reported as trouble. Exactly once: so long is a failed
transaction reported after a later one has succeeded."""


class Delivery(Protocol):
    """Takes outcomes in reading order, writes their records and commits. One thread calls it."""

    @property
    def waiting(self) -> int:
        """How many messages were taken and are not finished yet."""
        ...

    @property
    def full(self) -> bool:
        """Whether nothing more should be read for now."""
        ...

    @property
    def trouble(self) -> str | None:
        """The reason why records do not get through; None while they do."""
        ...

    def deliver(self, outcomes: Sequence[Outcome]) -> None:
        """Take a batch.

        Raises DeliveryFailed where everything that was read and not committed must be read again, BrokerError where no try
        can succeed any more.
        """
        ...

    def serve(self, timeout_s: float) -> None:
        """Continue the work in progress. Waits at most `timeout_s` for something to do. Raises BrokerError."""
        ...

    def settle(self, partitions: set[TopicPartition], until: float) -> None:
        """Finish and commit the work in progress of partitions that are about to go, until then at most (monotonic seconds)."""
        ...

    def forget(self, partitions: set[TopicPartition]) -> None:
        """Drop all knowledge of partitions that are no longer ours: none of their offsets is committed any more."""
        ...


def count_delivered(outcome: Outcome, metrics: Metrics, dead_letter_share: DeadLetterShare) -> None:
    """Count an outcome whose record the broker has acknowledged, or that has none. A dead letter is logged, too.

    A delete is never part of the share of dead letters: no producer has done anything wrong.
    """
    message = outcome.message
    if outcome.error is not None:
        metrics.dead_letters.labels(outcome.error.reason).inc()
        log.warning("%s became a dead letter: %s", message.event_id, outcome.error)
        if outcome.record is not None and is_abridged(outcome.record):
            metrics.dead_letters_abridged.inc()
            log.warning(
                "the dead letter of %s lacks the value: the whole is larger than %r takes (max.message.bytes). "
                "Raise that, and replay it before retention deletes the message",
                message.event_id,
                outcome.record.topic,
            )
    if outcome.delete is not None:
        metrics.deletes.labels(outcome.delete.kind, _delete_action(outcome)).inc()
    else:
        dead_letter_share.add(None if outcome.error is None else outcome.error.reason)
        if outcome.error is None:
            metrics.enriched.inc()
            metrics.decisions.labels(outcome.decision).inc()
        if outcome.reason is not None:
            metrics.rules.labels(outcome.reason).inc()
    if message.timestamp_ms is not None:
        metrics.end_to_end_seconds.observe(max(0.0, time.time() - message.timestamp_ms / 1_000))


def _delete_action(outcome: Outcome) -> DeleteAction:
    """Return what became of a delete."""
    if outcome.error is not None:
        return "dead_letter"
    return "skipped" if outcome.record is None else "forwarded"
