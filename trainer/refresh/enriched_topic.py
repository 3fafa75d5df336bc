"""Enriched events from a Kafka topic, counted in the drift monitor."""

import json
import logging
from collections.abc import Callable

from consumer.messages import Message, Source, next_offsets
from schemas.events import EnrichedPosting
from trainer.refresh.drift import DriftMonitor, Reference
from trainer.refresh.metrics import Metrics
from trainer.refresh.topic_thread import MAX_COUNT

log = logging.getLogger(__name__)


class EnrichedTopic:
    """Feeds the enriched events of a topic to a drift monitor, shows its windows as metrics and stores its reference."""

    def __init__(
        self,
        source: Source,
        monitor: DriftMonitor,
        in_service: Callable[[], str | None],
        metrics: Metrics,
        *,
        store_reference: Callable[[Reference], None] = lambda _: None,
    ) -> None:
        """Take `in_service`, which returns the version in service, and `store_reference`, which may raise OSError."""
        self._source = source
        self._monitor = monitor
        self._in_service = in_service
        self._metrics = metrics
        self._store_reference = store_reference
        self._stored = monitor.reference

    def start(self) -> None:
        """Join the group. Raises BrokerError."""
        self._source.start(lambda _partitions, _lost: None)

    def read(self, timeout_s: float) -> int:
        """Read some events and count them; return how many messages there were. Raises BrokerError."""
        messages = self._source.poll(MAX_COUNT, timeout_s)
        for message in messages:
            self._metrics.enriched.labels(self._look_at(message)).inc()
        if messages:
            self._source.commit(next_offsets(messages), wait=False)
        return len(messages)

    def _look_at(self, message: Message) -> str:
        """Count the event of a message; returns what the message was."""
        if message.value is None:
            return "delete"
        try:
            event = EnrichedPosting.model_validate(json.loads(message.value))
        except (ValueError, RecursionError):
            return "invalid"
        self._count(event)
        return "counted"

    def close(self) -> None:
        """Leave the group."""
        self._source.close()

    def _count(self, event: EnrichedPosting) -> None:
        monitor = self._monitor
        if monitor.add(event, in_service=self._in_service()) and monitor.latest is not None:
            self._metrics.show_window(monitor.latest, monitor.shifts)
            self._keep_reference()

    def _keep_reference(self) -> None:
        """Store a new reference. If that fails, the service goes on, and the next window tries again."""
        reference = self._monitor.reference
        if reference is None or reference is self._stored:
            return
        try:
            self._store_reference(reference)
            self._stored = reference
        except OSError as error:
            log.warning("the reference for drift could not be stored, a restart would forget it: %s", error)
