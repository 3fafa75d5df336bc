"""A member of a Kafka consumer group behind `Source`."""

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import confluent_kafka as ck
from confluent_kafka import KafkaError, KafkaException

from consumer.kafka.broker_watch import BrokerWatch
from consumer.kafka.client import leave_group, make_client, partition_counts, seek
from consumer.kafka.convert import (
    format_partitions,
    from_client_partition,
    from_client_partitions,
    offset_of,
    partition_of,
    to_client_partitions,
    to_message,
)
from consumer.kafka.failures import PARTITION_END, POSITION_OUT_OF_RANGE, is_fatal, raise_or_log
from consumer.kafka.group_properties import keeps_membership, member_properties
from consumer.kafka.known_lags import KnownLags
from consumer.kafka.login_watch import LoginWatch
from consumer.kafka.offsets import Membership, OffsetEvents, Offsets
from consumer.kafka.partitions import Partitions, PartitionState
from consumer.kafka.topic_id import TopicIds
from consumer.kafka_names import InputTopics
from consumer.messages import Message, OnRevoke, TopicPartition

log = logging.getLogger(__name__)

HEARTBEAT_AFTER_S = 1.0
"""How long after the last poll a heartbeat starts to matter. Before that it would only stop the fetching."""
SLICE_S = 0.1
COMMIT_TIMEOUT_S = 3.0
"""How long a commit that is waited for may take to be answered."""
RETRY_S = 1.0
"""Between two tries to look offsets up, or to commit what was refused."""


class KafkaSource:
    """A consumer-group member over one topic or several; see `Source`."""

    def __init__(
        self,
        properties: Mapping[str, Any],
        *,
        topic: str,
        begin: Mapping[TopicPartition, int] | None = None,
        events: OffsetEvents | None = None,
    ) -> None:
        """Create the client; it connects later.

        `topic`: as `InputTopics.parse` takes it. `begin`: where to begin without a committed offset, instead of as configured.
        Raises ConfigError for a property that librdkafka does not take, or that would break a promise of ours.
        """
        self._topics = InputTopics.parse(topic)
        self._servers = properties.get("bootstrap.servers", "")
        given = member_properties(properties)
        reset = given.pop("auto.offset.reset", "earliest")
        self._keeps_membership = keeps_membership(given)
        self._offsets: Offsets
        self._logins, self._brokers, self._lags = LoginWatch(), BrokerWatch(), KnownLags()
        own = {"auto.offset.reset": "error", "on_commit": self._take_answer, "stats_cb": self._brokers.on_statistics}
        self._consumer = make_client(ck.Consumer, {**given, **own}, on_error=self._logins.on_error)
        self._topic_ids = TopicIds(properties)
        self._partitions = Partitions()
        group = self._consumer, str(given.get("group.id", "")), self._topic_ids, self._partitions
        self._offsets = Offsets(*group, reset=reset, begin=begin, events=events)
        self._on_revoke: OnRevoke = lambda _partitions, _lost: None
        self._stash: list[ck.Message] = []  # read by a heartbeat; handed out by the next poll
        self._retry_at = 0.0
        self._joined = self._in_callback = False
        self._polled_at = time.monotonic()

    @property
    def assigned(self) -> frozenset[TopicPartition]:
        """The partitions that are ours now."""
        return frozenset(self._partitions.where(lambda state: state.assigned))

    @property
    def trouble(self) -> str | None:
        """See `Source.trouble`."""
        return None if (silence := self._brokers.trouble) is None else silence + self._logins.reason

    def start(self, on_revoke: OnRevoke) -> None:
        """See `Source.start`."""
        counts = partition_counts(self._consumer, self._topics, servers=self._servers)
        if not counts:
            log.warning("no topic matches %s yet; it is waited for", self._topics)
        self._offsets.start(counts)
        self._on_revoke = on_revoke
        self._consumer.subscribe(self._topics.subscription, on_assign=self._gain, on_revoke=self._revoke, on_lost=self._lose)
        self._joined = True

    def poll(self, max_count: int, timeout_s: float) -> Sequence[Message]:
        """See `Source.poll`."""
        self._polled_at = time.monotonic()
        self._logins.check()
        self._prepare()  # before anything is in hand: it may find that what was read counts no longer
        raw, self._stash = self._stash, []
        # This returns at the first message, where consume(n, timeout) would sit the timeout out for a batch.
        if (first := self._consumer.poll(0.0) if raw else self._wait_for_first(timeout_s)) is not None:
            raw.append(first)
        if raw and len(raw) < max_count:
            raw += self._consumer.consume(max_count - len(raw), 0.0)
        # Filtered after the calls: a callback inside them may just have taken a partition away.
        # And before the errors among them are looked at: what precedes "position out of range" was read and counts.
        ours = set(self._partitions.where(lambda state: state.is_read))
        return [m for m in map(self._message, raw) if m is not None and m.topic_partition in ours]

    def heartbeat(self) -> None:
        """See `Source.heartbeat`."""
        self._logins.check()
        if time.monotonic() - self._polled_at < HEARTBEAT_AFTER_S:
            return
        self._serve_callbacks(0.0)
        if self._stash and (error := self._stash[-1].error()) is not None and is_fatal(error):
            raise_or_log(error, str(self._topics))

    def commit(self, offsets: Mapping[TopicPartition, int], *, wait: bool) -> None:
        """See `Source.commit`."""
        self._offsets.commit(offsets)
        until = time.monotonic() + COMMIT_TIMEOUT_S
        while wait and not self._in_callback and self._offsets.awaits_answer and time.monotonic() < until:
            self._serve_callbacks(SLICE_S)

    def hold(self, partitions: Collection[TopicPartition]) -> None:
        """Read no more of these, until they are gained again or all is rewound."""
        free = self._partitions.where(lambda state: state.assigned and not state.held)
        if new := set(partitions).intersection(free):
            self._consumer.pause(to_client_partitions(new))
            for partition in new:
                self._partitions[partition].held = True

    def committed(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Return what the group has committed; nothing where that is not known now."""
        return self._offsets.committed(partitions)

    def reached(self, partition: TopicPartition) -> int:
        """Return where reading of a partition began, or met its end last (only with `enable.partition.eof`); -1: not known."""
        return self._partitions.get(partition, PartitionState()).reached

    def rewind(self) -> None:
        """See `Source.rewind`. The next `poll` goes back, or the first one that can: the broker may not answer now."""
        self._stash.clear()
        for state in self._partitions.values():
            if state.assigned:
                state.rewind()
        self._retry_at = 0.0

    def group(self) -> object:
        """See `Source.group`."""
        return Membership(self._consumer.consumer_group_metadata(), self._topic_ids.notes)

    def lag(self) -> Mapping[TopicPartition, int]:
        """See `Source.lag`."""
        lags = {}
        for position in self._consumer.position(to_client_partitions(self._partitions.where(lambda state: state.is_read))):
            partition = from_client_partition(position)
            _low, high = self._consumer.get_watermark_offsets(position, cached=True)
            if (lag := self._partitions[partition].lag(position.offset, high)) is not None:
                lags[partition] = lag
        return self._lags.update(lags, self.assigned)

    def close(self) -> None:
        """See `Source.close`."""
        joined, self._joined = self._joined, False
        if joined and not self._keeps_membership:
            leave_group(self._consumer, lambda: not self.assigned)
        self._consumer.close()
        self._topic_ids.close()

    def _serve_callbacks(self, timeout_s: float) -> None:
        """Serve the client's callbacks without reading on; a message that it had in hand is kept for the next poll."""
        if reading := self._partitions.where(lambda state: state.assigned and not state.paused):
            self._consumer.pause(to_client_partitions(reading))
            for partition in reading:
                self._partitions[partition].paused = True
        if (raw := self._consumer.poll(timeout_s)) is not None and not self._partitions.is_unplaced(partition_of(raw)):
            self._stash.append(raw)

    def _take_answer(self, error: KafkaError | None, partitions: list[ck.TopicPartition]) -> None:
        self._offsets.on_commit(error, partitions)
        if self._offsets.beginning_known:
            self._retry_at = 0.0

    def _gain(self, _consumer: ck.Consumer, partitions: list[ck.TopicPartition]) -> None:
        """Take partitions, and read nothing of them before they are placed.

        The next poll places them: while the group is being left, looking offsets up in a callback would wait in vain. Until then
        their offset is a number, though a wrong one. For a name such as "the end" the client would ask the broker, and go there
        when the answer came, even if we have placed the partition meanwhile.
        """
        for partition in partitions:
            partition.offset = 0
        self._consumer.incremental_assign(partitions)
        self._consumer.pause(partitions)
        gained = from_client_partitions(partitions)
        self._partitions.gain(gained)
        self._topic_ids.watch({partition.topic for partition in gained})
        self._retry_at = 0.0
        self._lags.hear_from_group()
        log.info("assigned %s", format_partitions(partitions))

    def _revoke(self, _consumer: ck.Consumer, partitions: list[ck.TopicPartition]) -> None:
        log.info("revoked %s", format_partitions(partitions))
        self._in_callback = True  # no answer is served in it; the client sends what we commit before it lets go
        try:
            self._on_revoke(from_client_partitions(partitions), False)  # noqa: FBT003 - OnRevoke
        finally:
            self._in_callback = False
        self._drop(from_client_partitions(partitions))

    def _lose(self, _consumer: ck.Consumer, partitions: list[ck.TopicPartition]) -> None:
        log.warning("lost %s", format_partitions(partitions))
        self._lags.lose(from_client_partitions(partitions))
        self._on_revoke(from_client_partitions(partitions), True)  # noqa: FBT003 - OnRevoke
        self._drop(from_client_partitions(partitions))

    def _drop(self, partitions: set[TopicPartition]) -> None:
        """Forget partitions that are no longer ours. They are resumed: librdkafka would keep them paused if they came back."""
        if paused := partitions.intersection(self._partitions.where(lambda state: state.paused or state.held)):
            self._consumer.resume(to_client_partitions(paused))
        self._partitions.drop(partitions)
        self._drop_from_stash(partitions)
        if self._topics.pattern is not None:  # such topics may come and go without end
            self._topic_ids.forget_others({partition.topic for partition in self._partitions})

    def _drop_from_stash(self, partitions: set[TopicPartition]) -> None:
        self._stash = [m for m in self._stash if partition_of(m) not in partitions]

    def _wait_for_first(self, timeout_s: float) -> ck.Message | None:
        """Wait for a message, in slices: partitions gained meanwhile must be placed before there can be one of them."""
        until = time.monotonic() + timeout_s
        while True:
            left_s = max(0.0, until - time.monotonic())
            raw: ck.Message | None = self._consumer.poll(min(SLICE_S, left_s))
            if raw is not None or left_s <= SLICE_S:
                return raw
            self._prepare()

    def _take_new_topics(self) -> None:
        """Drop the messages of topics that were deleted, and begin the new ones of the same names."""
        if not (topics := self._topic_ids.changed()):
            return
        partitions = {partition for partition in self.assigned if partition.topic in topics}
        self._on_revoke(partitions, True)  # noqa: FBT003 - OnRevoke
        self._drop_from_stash(partitions)
        for partition in partitions:
            self._partitions[partition].begin_anew()
        self._retry_at = 0.0

    def _prepare(self) -> None:
        """Do what must be done before all of our partitions can be read. What fails is tried again later."""
        self._take_new_topics()
        self._resume(self._partitions.where(lambda state: state.is_read))
        unplaced = self._partitions.where(lambda state: state.unplaced)
        if time.monotonic() < self._retry_at or not (unplaced or self._offsets.has_refused_commit):
            return
        self._retry_at = time.monotonic() + RETRY_S
        if self._offsets.has_refused_commit:
            self._offsets.commit({})
        if unplaced:
            self._place(unplaced)
            self._take_new_topics()  # placing asked again

    def _place(self, unplaced: Collection[TopicPartition]) -> None:
        """Go on reading where `Offsets` says. A partition of which it cannot say so now stays unplaced."""
        try:
            placed = self._offsets.place(unplaced)
            self._resume(placed.keys())  # before they are placed: the client resumes where it was
            for partition, offset in placed.items():
                self._seek(partition, offset)
                self._partitions[partition].unplaced = False
        except KafkaException as error:
            left = self._partitions.where(lambda state: state.unplaced)
            log.warning("%s is not read yet, where to is not known: %s", format_partitions(left), error.args[0].str())

    def _resume(self, partitions: Collection[TopicPartition]) -> None:
        if paused := [p for p in partitions if self._partitions[p].paused and not self._partitions[p].held]:
            self._consumer.resume(to_client_partitions(paused))
            for partition in paused:
                self._partitions[partition].paused = False

    def _seek(self, partition: TopicPartition, offset: int) -> None:
        state = self._partitions[partition]
        missing, state.out_of_range = state.out_of_range, None
        if missing is not None and offset < missing:  # back to what may be in flight: it is read again
            self._on_revoke({partition}, True)  # noqa: FBT003 - OnRevoke
            self._drop_from_stash({partition})
        seek(self._consumer, partition, offset)

    def _message(self, raw: ck.Message) -> Message | None:
        """Return a message, or note the error that it stands for."""
        if (error := raw.error()) is None:
            return to_message(raw)
        self._note_error(error, partition_of(raw), offset_of(raw))
        return None

    def _note_error(self, error: KafkaError, partition: TopicPartition, offset: int) -> None:
        state = self._partitions.get(partition, PartitionState())
        if error.code() == POSITION_OUT_OF_RANGE:
            if state.lose_position(offset):
                self._retry_at = 0.0
        elif error.code() == PARTITION_END:
            state.meet_end(offset)
        elif error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            log.error("topic %r is gone; it is waited for until somebody creates it", partition.topic)
        else:
            raise_or_log(error, str(self._topics))
