"""The loop: poll -> batch -> enrich -> deliver -> commit. One thread runs it; `delivery/` writes records and commits offsets."""

import logging
import math
import time
from collections.abc import Callable

from consumer.batcher import Batch, Batcher
from consumer.codec import Codec
from consumer.delivery.protocol import Delivery
from consumer.enrich import enrich
from consumer.errors import DeliveryFailed, OccustreamError
from consumer.messages import Source, TopicPartition
from consumer.metrics import Metrics
from consumer.model.scorer import Scorer
from consumer.rules import Rules
from consumer.trouble_log import TroubleLog

log = logging.getLogger(__name__)

IDLE_POLL_S = 0.1
ACK_POLL_S = 0.005
"""While records are unacknowledged, polls are this short: acknowledgements are only served between them."""
LIVE_WITHIN_S = 60.0
"""A loop that has not taken a turn for so long is stuck."""
LAG_INTERVAL_S = 1.0


class Pipeline:
    """Moves messages from a source through the model to a delivery.

    `next_scorer` returns each new model version once, else None. It is called between batches, so that no batch mixes two
    versions. It and `check_background` raise the error of a background thread that died, so that the process ends, too.
    """

    def __init__(
        self,
        *,
        source: Source,
        delivery: Delivery,
        batcher: Batcher,
        codec: Codec,
        scorer: Scorer,
        metrics: Metrics,
        rules: Rules | None = None,
        next_scorer: Callable[[], Scorer | None] = lambda: None,
        check_background: Callable[[], None] = lambda: None,
        stop: Callable[[], bool] = lambda: False,
        on_failure: Callable[[OccustreamError], None] = lambda _error: None,
        drain_timeout_s: float = 20.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._delivery = delivery
        self._batcher = batcher
        self._codec = codec
        self._scorer = scorer
        self._metrics = metrics
        self._rules = rules or Rules()
        self._next_scorer = next_scorer
        self._check_background = check_background
        self._stop = stop
        self._on_failure = on_failure
        self._drain_timeout_s = drain_timeout_s
        self._clock = clock
        self._lag_updated_at = self._turned_at = clock()
        self._trouble_log = TroubleLog(clock)
        self._drain_until = math.inf
        self._failed = False
        metrics.serving(scorer.model)

    def live(self) -> str | None:
        """Return what is wrong with the loop; None while it takes turns. Safe from any thread."""
        silent_s = self._clock() - self._turned_at
        return f"the loop has not turned for {silent_s:.0f} s" if silent_s > LIVE_WITHIN_S else None

    def ready(self) -> str | None:
        """Return why no posting would be enriched now; None when one would. Safe from any thread."""
        if self._drain_until < math.inf:
            return "draining"
        if self._source.trouble or not self._source.assigned:
            return self._source.trouble or "no partition is assigned"
        return self._delivery.trouble or self.live()

    def run(self) -> None:
        """Join the group, take turns until stopped, finish what was read, and leave. Raises BrokerError, BackgroundFailed."""
        self._source.start(self.on_revoke)
        try:
            while not self._stop():
                self.turn()
            self.drain()
        except OccustreamError as error:
            self._on_failure(error)
            self._failed = True  # nothing more may be committed; by leaving, the group need not wait for the session timeout
            self._source.close()
            raise

    def turn(self) -> None:
        """Take one turn: read, process one batch at most, and commit what has been acknowledged."""
        self._turned_at = self._clock()
        self._check_background()
        self._switch_model()
        if self._delivery.full:
            self._delivery.serve(IDLE_POLL_S)
            self._source.heartbeat()
        else:
            self._read()
            if batch := self._batcher.take(self._clock()):
                self._process(batch)
        self._delivery.serve(0.0)
        self._update_gauges()

    def drain(self) -> None:
        """Finish what has been read, commit it and leave the group, all within the drain timeout."""
        self._drain_until = deadline = self._clock() + self._drain_timeout_s
        while self._clock() < deadline:
            self._delivery.serve(0.0)
            if self._delivery.trouble:  # later records must not overtake refused ones
                break
            if not (batch := self._batcher.take(self._clock(), drain=True)):
                break
            self._process(batch)
        self._delivery.settle(set(self._source.assigned), deadline)
        if unfinished := self._delivery.waiting + len(self._batcher):
            log.warning(
                "drained for %.0f s; %d messages stay uncommitted and will be read again", self._drain_timeout_s, unfinished
            )
        self._source.close()

    def on_revoke(self, partitions: set[TopicPartition], lost: bool) -> None:  # noqa: FBT001 - OnRevoke
        """Give up partitions: wait for their records in flight and commit, unless the partitions are lost already.

        Messages that still wait to be scored are dropped: the new owner reads them again sooner than they would be finished here.
        """
        self._metrics.revokes.labels("lost" if lost else "revoked").inc(len(partitions))
        self._batcher.drop(partitions)
        if not lost and not self._failed:
            # Leaving the group revokes, too.
            self._delivery.settle(partitions, min(self._drain_until, self._clock() + self._drain_timeout_s))
        self._delivery.forget(partitions)

    def _read(self) -> None:
        waiting_s = self._batcher.wait_s(self._clock())
        timeout_s = IDLE_POLL_S if waiting_s is None else min(IDLE_POLL_S, waiting_s)
        if self._delivery.waiting:
            timeout_s = min(timeout_s, ACK_POLL_S)
        messages = self._source.poll(max(1, self._batcher.room), timeout_s)
        self._metrics.messages.inc(len(messages))
        self._batcher.add(messages, self._clock())

    def _process(self, batch: Batch) -> None:
        self._metrics.batches.labels(batch.trigger).inc()
        self._metrics.batch_size.observe(len(batch.messages))
        outcomes = enrich(batch.messages, self._scorer, self._codec, self._metrics, self._rules)
        try:
            with self._metrics.stage("produce"):
                self._delivery.deliver(outcomes)
        except DeliveryFailed as error:
            log.warning("of %d messages not all were delivered; what is not committed is read again: %s", len(outcomes), error)
            self._batcher.clear()
            self._source.rewind()

    def _switch_model(self) -> None:
        scorer = self._next_scorer()
        if scorer is not None:
            log.info("model version %s replaces %s", scorer.version, self._scorer.version)
            self._scorer = scorer
            self._metrics.serving(scorer.model)

    def _update_gauges(self) -> None:
        self._metrics.assigned.set(0 if self._source.trouble else len(self._source.assigned))
        self._metrics.in_flight.set(self._delivery.waiting)
        self._metrics.blocked.set(self._delivery.trouble is not None)
        self._trouble_log.note(self._delivery.trouble)
        if self._clock() - self._lag_updated_at >= LAG_INTERVAL_S:
            self._lag_updated_at = self._clock()
            self._metrics.lags(self._source.lag())
