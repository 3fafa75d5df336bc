"""A member of a Kafka consumer group behind `Source`."""

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import confluent_kafka as ck
from confluent_kafka import KafkaError, KafkaException

from consumer.kafka.client import (
    as_message,
    ck_partitions,
    go_to,
    is_fatal,
    listed,
    make_client,
    named,
    partition_count,
    place_of,
    raise_if_hopeless,
)
from consumer.kafka.group_properties import member_properties, stays
from consumer.kafka.offsets import Membership, OffsetEvents, Offsets
from consumer.kafka.partitions import Partitions
from consumer.kafka.topic_id import TopicIdentity
from consumer.messages import Message, OnRevoke, TopicPartition

log = logging.getLogger(__name__)

LEAVE_TIMEOUT_S = 5.0
HEARTBEAT_AFTER_S = 1.0
"""How long after the last poll a heartbeat starts to matter; before that it would only cost the fetched messages."""

SLICE_S = 0.1
COMMIT_TIMEOUT_S = 3.0
"""How long a commit that is waited for may take to be answered."""
RETRY_S = 1.0
"""Between two tries to look offsets up, or to commit what was refused."""


class KafkaSource:
    """A consumer-group member over one topic; see `Source`."""

    def __init__(
        self,
        properties: Mapping[str, Any],
        *,
        topic: str,
        begin: Mapping[TopicPartition, int] | None = None,
        events: OffsetEvents | None = None,
    ) -> None:
        """Create the client; connects later. `begin`: where to begin what has no committed offset, instead of as configured.

        Raises ConfigError for a property that librdkafka does not take, or that would break a promise of ours.
        """
        self._topic = topic
        self._servers = properties.get("bootstrap.servers", "")
        given = member_properties(properties)
        reset = given.pop("auto.offset.reset", "earliest")
        self._stays = stays(given)
        self._offsets: Offsets
        self._consumer = make_client(ck.Consumer, {**given, "auto.offset.reset": "error", "on_commit": self._answered})
        self._identity = TopicIdentity(properties, topic)
        self._partitions = Partitions()
        self._offsets = Offsets(
            self._consumer,
            str(given.get("group.id", "")),
            self._identity,
            self._partitions,
            reset=reset,
            begin=begin,
            events=events,
        )
        self._on_revoke: OnRevoke = lambda _partitions, _lost: None
        self._stash: list[ck.Message] = []  # read by a heartbeat; handed out by the next poll
        self._again_at = 0.0
        self._joined = False
        self._in_callback = False
        self._polled_at = time.monotonic()

    @property
    def assigned(self) -> frozenset[TopicPartition]:
        """The partitions that are ours now."""
        return frozenset(self._partitions.where(lambda state: state.assigned))

    def start(self, on_revoke: OnRevoke) -> None:
        """See `Source.start`."""
        self._offsets.start(partition_count(self._consumer, self._topic, servers=self._servers))
        self._on_revoke = on_revoke
        self._consumer.subscribe([self._topic], on_assign=self._gain, on_revoke=self._revoke, on_lost=self._lose)
        self._joined = True

    def poll(self, max_count: int, timeout_s: float) -> Sequence[Message]:
        """See `Source.poll`."""
        self._polled_at = time.monotonic()
        self._mend()  # before anything is at hand: it may find that what was read counts no longer
        raw, self._stash = self._stash, []
        # This returns at the first message, where consume(n, timeout) would sit the timeout out for a batch.
        if (first := self._consumer.poll(0.0) if raw else self._first(timeout_s)) is not None:
            raw.append(first)
        if raw and len(raw) < max_count:
            raw += self._consumer.consume(max_count - len(raw), 0.0)
        # Filtered after the calls: a callback inside them may just have taken a partition away.
        # And before the errors among them are looked at: what precedes "position out of range" was read and counts.
        ours = set(self._partitions.where(lambda state: state.is_read))
        return [m for m in map(self._message, raw) if m is not None and m.topic_partition in ours]

    def heartbeat(self) -> None:
        """See `Source.heartbeat`."""
        if time.monotonic() - self._polled_at < HEARTBEAT_AFTER_S:
            return
        self._serve(0.0)
        if self._stash and (error := self._stash[-1].error()) is not None and is_fatal(error):
            raise_if_hopeless(error, self._topic)

    def commit(self, offsets: Mapping[TopicPartition, int], *, wait: bool) -> None:
        """See `Source.commit`."""
        self._offsets.commit(offsets)
        until = time.monotonic() + COMMIT_TIMEOUT_S
        while wait and not self._in_callback and self._offsets.unanswered and time.monotonic() < until:
            self._serve(SLICE_S)

    def hold(self, partitions: Collection[TopicPartition]) -> None:
        """Read no more of these, until they are gained again or all is rewound."""
        not_held = self._partitions.where(lambda state: state.assigned and not state.held)
        if new := set(partitions).intersection(not_held):
            self._consumer.pause(ck_partitions(new))
            for name in new:
                self._partitions[name].held = True

    def committed(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Return what the group has committed; nothing where that is not known now."""
        return self._offsets.committed(partitions)

    def start_of(self, partition: TopicPartition) -> int | None:
        """Return where reading of a partition began, None where that is not looked up yet."""
        return None if (state := self._partitions.get(partition)) is None else state.start

    def end_seen_of(self, partition: TopicPartition) -> int | None:
        """Return where reading met the end of a partition last; only with `enable.partition.eof`."""
        return None if (state := self._partitions.get(partition)) is None else state.end_seen

    def rewind(self) -> None:
        """See `Source.rewind`. Done by the next `poll`, or the first that can: the broker may not answer now."""
        self._stash.clear()
        for state in self._partitions.values():
            if state.assigned:
                state.rewind()
        self._again_at = 0.0

    def group(self) -> object:
        """See `Source.group`."""
        return Membership(self._consumer.consumer_group_metadata(), self._identity.id)

    def lag(self) -> Mapping[TopicPartition, int]:
        """See `Source.lag`."""
        lags = {}
        for position in self._consumer.position(ck_partitions(self._partitions.where(lambda state: state.is_read))):
            partition = TopicPartition(position.topic, position.partition)
            state = self._partitions[partition]
            _low, high = self._consumer.get_watermark_offsets(position, cached=True)
            at = position.offset if position.offset >= 0 else state.start  # before a message came
            if high >= 0 and at is not None:
                # What ends a transaction takes an offset, too, and the position stays before it.
                lags[partition] = max(0, high - max(at, -1 if state.end_seen is None else state.end_seen))
        return lags

    def close(self) -> None:
        """See `Source.close`."""
        if self._joined:
            self._joined = False
            if not self._stays:
                self._give_back()
        self._consumer.close()
        self._identity.close()

    def _serve(self, timeout_s: float) -> None:
        """Serve the client's callbacks without reading on; what it had at hand is kept for the next poll."""
        if reading := self._partitions.where(lambda state: state.assigned and not state.paused):
            self._consumer.pause(ck_partitions(reading))
            for name in reading:
                self._partitions[name].paused = True
        if (message := self._consumer.poll(timeout_s)) is not None and not self._partitions.is_unplaced(place_of(message)):
            self._stash.append(message)

    def _answered(self, error: KafkaError | None, places: list[ck.TopicPartition]) -> None:
        self._offsets.on_commit(error, places)
        if self._offsets.begun:
            self._again_at = 0.0

    def _give_back(self) -> None:
        """Leave the group while rebalances are still served: one that `close` finds in its queue can hang it for good.

        See confluentinc/librdkafka#4041 and #4884. What is read on the way is dropped, for the next owner to read.
        """
        self._consumer.unsubscribe()
        deadline = time.monotonic() + LEAVE_TIMEOUT_S
        while (self._consumer.poll(0.1) is not None or self.assigned) and time.monotonic() < deadline:
            pass

    def _gain(self, _consumer: ck.Consumer, partitions: list[ck.TopicPartition]) -> None:
        """Take partitions, without reading of them before they are placed.

        That is for the next poll: while the group is being left, looking offsets up in a callback would wait in vain. Till then
        their offset is a number, though a wrong one: where the client had to ask for it (the end, say), it would go there when
        the answer came, even if that is after we have placed it.
        """
        for partition in partitions:
            partition.offset = 0
        self._consumer.incremental_assign(partitions)
        self._consumer.pause(partitions)
        self._partitions.gain(named(partitions))
        self._again_at = 0.0
        log.info("assigned %s", listed(partitions))

    def _revoke(self, _consumer: ck.Consumer, partitions: list[ck.TopicPartition]) -> None:
        log.info("revoked %s", listed(partitions))
        self._in_callback = True  # no answer is served in it; the client sends what we commit before it lets go
        try:
            self._on_revoke(named(partitions), False)  # noqa: FBT003 - OnRevoke
        finally:
            self._in_callback = False
        self._let_go(named(partitions))

    def _lose(self, _consumer: ck.Consumer, partitions: list[ck.TopicPartition]) -> None:
        log.warning("lost %s", listed(partitions))
        self._on_revoke(named(partitions), True)  # noqa: FBT003 - OnRevoke
        self._let_go(named(partitions))

    def _let_go(self, partitions: set[TopicPartition]) -> None:
        """Forget partitions that are no longer ours. librdkafka would keep one paused, and it might come back to us."""
        if paused := partitions.intersection(self._partitions.where(lambda state: state.paused or state.held)):
            self._consumer.resume(ck_partitions(paused))
        self._partitions.drop(partitions)
        self._drop_stashed(partitions)

    def _drop_stashed(self, partitions: set[TopicPartition]) -> None:
        self._stash = [m for m in self._stash if place_of(m) not in partitions]

    def _first(self, timeout_s: float) -> ck.Message | None:
        """Wait for a message, in slices: partitions gained meanwhile must be placed before there can be one of them."""
        until = time.monotonic() + timeout_s
        while True:
            left_s = max(0.0, until - time.monotonic())
            message: ck.Message | None = self._consumer.poll(min(SLICE_S, left_s))
            if message is not None or left_s <= SLICE_S:
                return message
            self._mend()

    def _begin_anew(self) -> None:
        """Let go of the messages of a topic that was deleted, and begin the one of the same name."""
        self._on_revoke(set(self.assigned), True)  # noqa: FBT003 - OnRevoke
        self._stash.clear()
        for name in self.assigned:
            self._partitions[name].begin_anew()
        self._again_at = 0.0

    def _mend(self) -> None:
        """Do what must be done before all of ours can be read; what fails is tried again later."""
        if self._identity.changed():
            self._begin_anew()
        self._resume(self._partitions.where(lambda state: state.is_read))
        unplaced = self._partitions.where(lambda state: state.unplaced)
        if time.monotonic() < self._again_at or not (unplaced or self._offsets.refused):
            return
        self._again_at = time.monotonic() + RETRY_S
        if self._offsets.refused:
            self._offsets.commit({})
        if unplaced:
            self._place(unplaced)
            if self._identity.changed():  # placing asked again
                self._begin_anew()

    def _place(self, unplaced: Collection[TopicPartition]) -> None:
        """Go on reading where `Offsets` says; what that cannot be done for now stays unplaced."""
        try:
            placed = self._offsets.place(unplaced)
            self._resume(placed.keys())  # before they are placed: the client resumes where it was
            for partition, offset in placed.items():
                self._go_to(partition, offset)
                self._partitions[partition].unplaced = False
        except KafkaException as error:
            left = self._partitions.where(lambda state: state.unplaced)
            log.warning("%s is not read yet, where to is not known: %s", listed(left), error.args[0].str())

    def _resume(self, partitions: Collection[TopicPartition]) -> None:
        if paused := [p for p in partitions if self._partitions[p].paused and not self._partitions[p].held]:
            self._consumer.resume(ck_partitions(paused))
            for partition in paused:
                self._partitions[partition].paused = False

    def _go_to(self, partition: TopicPartition, offset: int) -> None:
        state = self._partitions[partition]
        missing, state.out_of_range = state.out_of_range, None
        if missing is not None and offset < missing:
            self._on_revoke({partition}, True)  # noqa: FBT003 - OnRevoke
            self._drop_stashed({partition})
        go_to(self._consumer, partition, offset)

    def _message(self, raw: ck.Message) -> Message | None:
        if (error := raw.error()) is not None:
            self._heed(error, raw)
            return None
        return as_message(raw)

    def _heed(self, error: KafkaError, raw: ck.Message) -> None:
        if error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 - librdkafka's own codes start with an underscore
            state = self._partitions.get(place_of(raw))
            if state is not None and state.lose_position(int(raw.offset() or 0)):
                self._again_at = 0.0
        elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
            if (state := self._partitions.get(place_of(raw))) is not None and not state.unplaced:
                state.end_seen = int(raw.offset() or 0)
        elif error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            log.error("topic %r is gone; it is waited for until somebody creates it", self._topic)
        else:
            raise_if_hopeless(error, self._topic)
