"""A member of a Kafka consumer group behind `Source`."""

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import confluent_kafka as ck
from confluent_kafka import KafkaException

from consumer.errors import BrokerError
from consumer.kafka_client import (
    METADATA_TIMEOUT_S,
    as_message,
    ck_partitions,
    listed,
    make_client,
    named,
    partition_count,
    raise_if_hopeless,
)
from consumer.messages import Message, OnRevoke, TopicPartition

log = logging.getLogger(__name__)

LEAVE_TIMEOUT_S = 5.0
HEARTBEAT_AFTER_S = 1.0
"""How long after the last poll a heartbeat starts to matter; before that it would only cost the fetched messages."""

CONSUMER_DEFAULTS: Mapping[str, Any] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "earliest",
    "partition.assignment.strategy": "cooperative-sticky",
    "fetch.queue.backoff.ms": 10,  # the default second would show as latency
    "queued.max.messages.kbytes": 16_384,
    "statistics.interval.ms": 0,
}


class KafkaSource:
    """A consumer-group member over one topic; see `Source`."""

    def __init__(self, properties: Mapping[str, Any], *, topic: str) -> None:
        """Create the client; connects later. Raises ConfigError for a property that librdkafka does not take."""
        self._topic = topic
        self._servers = properties.get("bootstrap.servers", "")
        self._consumer = make_client(ck.Consumer, {**CONSUMER_DEFAULTS, **properties})
        self._assigned: set[TopicPartition] = set()
        self._on_revoke: OnRevoke = lambda _partitions, _lost: None
        self._unplaced: set[TopicPartition] = set()  # gained, and where reading begins is not looked up yet
        self._starts: dict[TopicPartition, int] = {}  # where it begins; librdkafka tells no position before a message
        self._stash: list[ck.Message] = []  # read by a heartbeat; handed out by the next poll
        self._paused: set[TopicPartition] = set()
        self._astray: set[TopicPartition] = set()  # to be set back to what is committed before anything of them is read
        self._joined = False
        self._polled_at = time.monotonic()

    @property
    def assigned(self) -> frozenset[TopicPartition]:
        """The partitions that are ours now."""
        return frozenset(self._assigned)

    def start(self, on_revoke: OnRevoke) -> None:
        """See `Source.start`."""
        partition_count(self._consumer, self._topic, servers=self._servers)
        self._on_revoke = on_revoke
        self._consumer.subscribe([self._topic], on_assign=self._gain, on_revoke=self._revoke, on_lost=self._lose)
        self._joined = True

    def poll(self, max_count: int, timeout_s: float) -> Sequence[Message]:
        """See `Source.poll`."""
        self._polled_at = time.monotonic()
        if self._paused:
            self._consumer.resume(ck_partitions(self._paused & self._assigned))
            self._paused = set()
        # poll returns at the first message, where consume(n, timeout) would sit the timeout out for a batch.
        if self._astray:
            self._set_back()
        raw, self._stash = self._stash, []
        first = self._consumer.poll(0.0 if raw else timeout_s)
        if first is not None:
            raw.append(first)
        if raw and len(raw) < max_count:
            raw += self._consumer.consume(max_count - len(raw), 0.0)
        if self._unplaced:  # not in the callback: while the group is being left, it would wait in vain
            self._place()
        # Filtered after the calls: a callback inside them may just have taken a partition away.
        ours = self._assigned - self._astray
        return [m for m in map(self._message, raw) if m is not None and m.topic_partition in ours]

    def heartbeat(self) -> None:
        """See `Source.heartbeat`."""
        if time.monotonic() - self._polled_at < HEARTBEAT_AFTER_S:
            return
        if reading := self._assigned - self._paused:
            self._consumer.pause(ck_partitions(reading))
            self._paused |= reading
        if (message := self._consumer.poll(0.0)) is not None:
            self._stash.append(message)

    def commit(self, offsets: Mapping[TopicPartition, int], *, wait: bool) -> None:
        """See `Source.commit`."""
        wanted = [ck.TopicPartition(p.topic, p.partition, offset) for p, offset in offsets.items()]
        try:
            self._consumer.commit(offsets=wanted, asynchronous=not wait)
        except KafkaException as error:
            if error.args[0].fatal():
                raise BrokerError(f"the group refuses this consumer for good: {error.args[0].str()}") from error
            log.warning("commit failed, its messages may be read again: %s", error.args[0].str())

    def rewind(self) -> None:
        """See `Source.rewind`. Done by the next `poll`, or the first that can: the broker may not answer now."""
        self._stash.clear()
        self._astray |= self._assigned

    def group(self) -> object:
        """See `Source.group`."""
        return self._consumer.consumer_group_metadata()

    def lag(self) -> Mapping[TopicPartition, int]:
        """See `Source.lag`."""
        lags = {}
        for position in self._consumer.position(ck_partitions(self._assigned)):
            partition = TopicPartition(position.topic, position.partition)
            low, high = self._consumer.get_watermark_offsets(position, cached=True)
            if high >= 0:
                at = position.offset if position.offset >= 0 else max(self._starts.get(partition, 0), low, 0)
                lags[partition] = max(0, high - at)
        return lags

    def close(self) -> None:
        """See `Source.close`."""
        if self._joined:
            self._joined = False
            self._give_back()
        self._consumer.close()

    def _give_back(self) -> None:
        """Leave the group while rebalances are still served: one that `close` finds in its queue can hang it for good.

        See confluentinc/librdkafka#4041 and #4884. What is read on the way is dropped, for the next owner to read.
        """
        self._consumer.unsubscribe()
        deadline = time.monotonic() + LEAVE_TIMEOUT_S
        while (self._consumer.poll(0.1) is not None or self._assigned) and time.monotonic() < deadline:
            pass

    def _gain(self, _consumer: ck.Consumer, partitions: list[ck.TopicPartition]) -> None:
        self._assigned |= named(partitions)
        self._unplaced |= named(partitions)
        log.info("assigned %s", listed(partitions))

    def _revoke(self, _consumer: ck.Consumer, partitions: list[ck.TopicPartition]) -> None:
        log.info("revoked %s", listed(partitions))
        self._on_revoke(named(partitions), False)  # noqa: FBT003 - OnRevoke
        self._let_go(named(partitions))

    def _lose(self, _consumer: ck.Consumer, partitions: list[ck.TopicPartition]) -> None:
        log.warning("lost %s", listed(partitions))
        self._on_revoke(named(partitions), True)  # noqa: FBT003 - OnRevoke
        self._let_go(named(partitions))

    def _let_go(self, partitions: set[TopicPartition]) -> None:
        """Forget partitions that are no longer ours. librdkafka would keep one paused, and it might come back to us."""
        if paused := self._paused & partitions:
            self._consumer.resume(ck_partitions(paused))
        self._paused -= partitions
        self._assigned -= partitions
        self._unplaced -= partitions
        self._astray -= partitions
        self._stash = [m for m in self._stash if TopicPartition(str(m.topic()), int(m.partition() or 0)) not in partitions]

    def _place(self) -> None:
        """Look up, once per gained partition, where reading begins; it counts as lag's position until a message comes."""
        unplaced, self._unplaced = self._unplaced, set()
        try:
            found = self._consumer.committed(ck_partitions(unplaced), timeout=METADATA_TIMEOUT_S)
        except KafkaException as error:
            log.warning("committed offsets are unknown; the lag may be shown too high: %s", error.args[0].str())
            return
        self._starts |= {TopicPartition(p.topic, p.partition): p.offset for p in found if p.offset >= 0}

    def _set_back(self) -> None:
        """Go back to committed offsets; a partition that cannot be set back now stays astray, and nothing of it is read."""
        try:
            for place in self._consumer.committed(ck_partitions(self._astray), timeout=METADATA_TIMEOUT_S):
                partition = TopicPartition(place.topic, place.partition)
                offset = place.offset if place.offset >= 0 else self._starts.get(partition, ck.OFFSET_BEGINNING)
                self._consumer.seek(ck.TopicPartition(place.topic, place.partition, offset))
                self._astray.discard(partition)
        except KafkaException as error:
            log.warning("not set back to what is committed yet: %s", error.args[0].str())

    def _message(self, raw: ck.Message) -> Message | None:
        if (error := raw.error()) is not None:
            raise_if_hopeless(error, self._topic)
            return None
        return as_message(raw)
