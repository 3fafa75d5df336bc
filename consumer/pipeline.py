"""The loop: poll -> batch -> enrich -> produce -> acknowledged -> commit. One thread owns it."""

import logging
import math
import time
from collections.abc import Callable
from functools import partial

from consumer.batcher import Batch, Batcher
from consumer.codec import Codec
from consumer.enrich import Outcome, enrich
from consumer.errors import DeliveryFailed, OccustreamError
from consumer.in_flight import InFlight
from consumer.messages import Message, Sink, Source, TopicPartition
from consumer.metrics import Metrics
from consumer.scorer import Scorer

log = logging.getLogger(__name__)

IDLE_POLL_S = 0.1
LIVE_WITHIN_S = 60.0
"""A loop that has not turned for so long is stuck."""
LAG_INTERVAL_S = 1.0


class Pipeline:
    """Moves messages from a source to a sink, and commits what has landed.

    `next_scorer` returns a new model version once when there is one; it is asked between batches, so that no batch mixes
    two. It and `check_background` raise what died in the background, so that the process follows.
    """

    def __init__(
        self,
        *,
        source: Source,
        sink: Sink,
        batcher: Batcher,
        codec: Codec,
        scorer: Scorer,
        metrics: Metrics,
        next_scorer: Callable[[], Scorer | None] = lambda: None,
        check_background: Callable[[], None] = lambda: None,
        stop: Callable[[], bool] = lambda: False,
        max_in_flight_messages: int = 4_096,
        commit_interval_s: float = 1.0,
        drain_timeout_s: float = 20.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._sink = sink
        self._batcher = batcher
        self._codec = codec
        self._scorer = scorer
        self._metrics = metrics
        self._next_scorer = next_scorer
        self._check_background = check_background
        self._stop = stop
        self._max_in_flight_messages = max_in_flight_messages
        self._commit_interval_s = commit_interval_s
        self._drain_timeout_s = drain_timeout_s
        self._clock = clock
        self._in_flight = InFlight()
        self._failure: DeliveryFailed | None = None
        self._committed_at = self._lag_shown_at = self._turned_at = clock()
        self._drain_until = math.inf
        metrics.serving(scorer.model)

    def live(self) -> str | None:
        """Return what is wrong with the loop, None while it turns. Safe from any thread."""
        silent_s = self._clock() - self._turned_at
        return f"the loop has not turned for {silent_s:.0f} s" if silent_s > LIVE_WITHIN_S else None

    def ready(self) -> str | None:
        """Return why no posting would be enriched now, None when one would. Safe from any thread."""
        if self._drain_until < math.inf:
            return "draining"
        if not self._source.assigned:
            return "no partition is assigned"
        return self.live()

    def run(self) -> None:
        """Join, turn until stopped, then finish what was read and leave. Raises BrokerError, BackgroundFailed."""
        self._source.start(self.on_revoke)
        try:
            while not self._stop():
                self.turn()
            self.drain()
        except OccustreamError:
            self._in_flight = InFlight()  # nothing more may be committed; leaving spares the group a session timeout
            self._source.close()
            raise

    def turn(self) -> None:
        """One turn: a batch at most. What has been acknowledged is committed."""
        self._turned_at = self._clock()
        self._check_background()
        self._take_up_new_model()
        if self._in_flight.count() >= self._max_in_flight_messages:
            self._sink.poll(IDLE_POLL_S)
            self._source.heartbeat()
        else:
            self._read()
            if batch := self._batcher.take(self._clock()):
                self._process(batch)
        self._sink.poll(0.0)
        self._raise_failure()
        self._commit_if_due()
        self._show()

    def drain(self) -> None:
        """Finish what has been read, commit it and leave the group, all within the drain timeout."""
        self._drain_until = deadline = self._clock() + self._drain_timeout_s
        while self._clock() < deadline and (batch := self._batcher.take(self._clock(), drain=True)):
            self._process(batch)
        self._sink.flush(max(0.0, deadline - self._clock()))
        self._commit(wait=True)
        if unfinished := self._in_flight.count() + len(self._batcher):
            log.warning(
                "drained for %.0f s; %d messages stay uncommitted and will be read again", self._drain_timeout_s, unfinished
            )
        self._source.close()
        self._raise_failure()

    def on_revoke(self, partitions: set[TopicPartition], lost: bool) -> None:  # noqa: FBT001 - OnRevoke
        """Let go of partitions: wait for what is in flight and commit it, unless they are lost already.

        What only waits to be scored is dropped: its new owner reads it again, sooner than we would finish it.
        """
        self._metrics.revokes.labels("lost" if lost else "revoked").inc(len(partitions))
        self._batcher.drop(partitions)
        if not lost:
            deadline = min(self._drain_until, self._clock() + self._drain_timeout_s)  # leaving the group revokes, too
            while self._in_flight.count(partitions) and self._clock() < deadline and not self._failure:
                self._sink.poll(0.05)
            self._commit(wait=True)
        self._in_flight.forget(partitions)

    def _read(self) -> None:
        waiting_s = self._batcher.wait_s(self._clock())
        timeout_s = IDLE_POLL_S if waiting_s is None else min(IDLE_POLL_S, waiting_s)
        if self._in_flight.count():
            timeout_s = min(timeout_s, 0.005)  # acknowledgements arrive meanwhile; do not sit on them
        messages = self._source.poll(max(1, self._batcher.room), timeout_s)
        self._metrics.messages.inc(len(messages))
        self._batcher.add(messages, self._clock())

    def _process(self, batch: Batch) -> None:
        self._metrics.batches.labels(batch.trigger).inc()
        self._metrics.batch_size.observe(len(batch.messages))
        outcomes = enrich(batch.messages, self._scorer, self._codec, self._metrics)
        self._in_flight.take(batch.messages)
        with self._metrics.stage("produce"):
            for outcome in outcomes:
                self._sink.produce(outcome.record, partial(self._acknowledged, outcome))

    def _acknowledged(self, outcome: Outcome, error: str | None) -> None:
        message = outcome.message
        if error is not None:
            self._failure = self._failure or DeliveryFailed(
                f"the record of {message.event_id} was not delivered to {outcome.record.topic!r}: {error}"
            )
            return
        self._in_flight.land(message)
        self._count(outcome, message)

    def _count(self, outcome: Outcome, message: Message) -> None:
        if outcome.error is None:
            self._metrics.enriched.inc()
            self._metrics.decisions.labels(outcome.decision).inc()
        else:
            self._metrics.dead_letters.labels(outcome.error.reason).inc()
            log.warning("%s became a dead letter: %s", message.event_id, outcome.error)
        if message.timestamp_ms is not None:
            self._metrics.end_to_end_seconds.observe(max(0.0, time.time() - message.timestamp_ms / 1_000))

    def _take_up_new_model(self) -> None:
        scorer = self._next_scorer()
        if scorer is not None:
            log.info("model version %s replaces %s", scorer.version, self._scorer.version)
            self._scorer = scorer
            self._metrics.serving(scorer.model)

    def _commit_if_due(self) -> None:
        if self._clock() - self._committed_at >= self._commit_interval_s:
            self._commit(wait=False)

    def _commit(self, *, wait: bool) -> None:
        self._committed_at = self._clock()
        if offsets := self._in_flight.committable():
            self._source.commit(offsets, wait=wait)
            self._metrics.commits.inc()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _show(self) -> None:
        self._metrics.in_flight.set(self._in_flight.count())
        if self._clock() - self._lag_shown_at >= LAG_INTERVAL_S:
            self._lag_shown_at = self._clock()
            self._metrics.lags(self._source.lag())
