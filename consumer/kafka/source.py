"""A member of a Kafka consumer group behind `Source`."""

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import confluent_kafka as ck
from confluent_kafka import KafkaError, KafkaException

from consumer.kafka.broker_watch import BrokerWatch
from consumer.kafka.client import partition_counts
from consumer.kafka.convert import (
    format_partitions,
    from_client_partitions,
    offset_of,
    partition_of,
    to_message,
)
from consumer.kafka.failures import PARTITION_END, POSITION_OUT_OF_RANGE, is_fatal, raise_or_log
from consumer.kafka.group_client import GroupClient
from consumer.kafka.group_properties import member_properties
from consumer.kafka.known_lags import KnownLags
from consumer.kafka.offsets import Membership, OffsetEvents, Offsets
from consumer.kafka.other_members import OtherMembers
from consumer.kafka.partitions import Partitions, PartitionState
from consumer.kafka.pauses import Pauses
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
        self._brokers, self._lags = BrokerWatch(), KnownLags()
        own = {**given, "auto.offset.reset": "error", "stats_cb": self._brokers.on_statistics}
        self._client = GroupClient(own, str(self._topics), on_commit=self._take_answer)
        self._topic_ids, self._other_members = TopicIds(properties), OtherMembers(properties)
        self._partitions = Partitions(pass_tails=begin is None)  # a range ends where it was told to
        self._pauses = Pauses(self._client, self._partitions)
        group = self._client, str(given.get("group.id", "")), self._topic_ids, self._partitions
        self._offsets = Offsets(*group, reset=reset, begin=begin, events=events)
        self._on_revoke: OnRevoke = lambda _partitions, _lost: None
        self._stash: list[ck.Message] = []  # read by a heartbeat; handed out by the next poll
        self._retry_at = 0.0
        self._in_callback = False
        self._polled_at = time.monotonic()

    @property
    def assigned(self) -> frozenset[TopicPartition]:
        """The partitions that are ours now."""
        return frozenset(self._partitions.where(lambda state: state.assigned))

    @property
    def trouble(self) -> str | None:
        """See `Source.trouble`."""
        return None if (silence := self._brokers.trouble) is None else silence + self._client.login.reason

    def start(self, on_revoke: OnRevoke) -> None:
        """See `Source.start`."""
        counts = partition_counts(self._client.raw, self._topics, servers=self._servers, login=self._client.login)
        if not counts:
            log.warning("no topic matches %s yet; it is waited for", self._topics)
        self._offsets.start(counts)
        self._on_revoke = on_revoke
        self._client.subscribe(self._topics.subscription, on_assign=self._gain, on_revoke=self._revoke, on_lost=self._lose)

    def poll(self, max_count: int, timeout_s: float) -> Sequence[Message]:
        """See `Source.poll`."""
        self._polled_at = time.monotonic()
        self._client.login.check()
        with self._client.explain_end():
            return self._poll(max_count, timeout_s)
        return []

    def _poll(self, max_count: int, timeout_s: float) -> Sequence[Message]:
        self._prepare()  # before anything is in hand: it may find that what was read counts no longer
        raw, self._stash = self._stash, []
        # This returns at the first message, where consume(n, timeout) would sit the timeout out for a batch.
        if (first := self._client.raw.poll(0.0) if raw else self._wait_for_first(timeout_s)) is not None:
            raw.append(first)
        if raw and len(raw) < max_count:
            raw += self._client.raw.consume(max_count - len(raw), 0.0)
        # Filtered after the calls: a callback inside them may just have taken a partition away.
        # And before the errors among them are looked at: what precedes "position out of range" was read and counts.
        ours = set(self._partitions.where(lambda state: state.is_read))
        messages = [m for m in map(self._message, raw) if m is not None and m.topic_partition in ours]
        for message in messages:
            self._partitions[message.topic_partition].returned = message.offset + 1
        return messages

    def heartbeat(self) -> None:
        """See `Source.heartbeat`."""
        self._client.login.check()
        if time.monotonic() - self._polled_at < HEARTBEAT_AFTER_S:
            return
        with self._client.explain_end():
            self._serve_callbacks(0.0)
        if self._stash and (error := self._stash[-1].error()) is not None and is_fatal(error):
            self._client.end_or_wait(error)

    def commit(self, offsets: Mapping[TopicPartition, int], *, wait: bool) -> None:
        """See `Source.commit`."""
        self._offsets.commit(offsets)
        until = time.monotonic() + COMMIT_TIMEOUT_S
        while wait and not self._in_callback and self._offsets.awaits_answer and time.monotonic() < until:
            self._serve_callbacks(SLICE_S)

    def tails(self) -> Mapping[TopicPartition, int]:
        """See `Source.tails`."""
        return self._partitions.tails()

    def hold(self, partitions: Collection[TopicPartition]) -> None:
        """Read no more of these, until they are gained again or all is rewound."""
        self._pauses.hold(partitions)

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
        return Membership(self._client.raw.consumer_group_metadata(), self._topic_ids.notes, self._partitions, self._client.group)

    def lag(self) -> Mapping[TopicPartition, int]:
        """See `Source.lag`."""
        return self._lags.update(self._client.measure_lag(self._partitions), self.assigned)

    def close(self) -> None:
        """See `Source.close`."""
        self._client.close(lambda: not self.assigned)
        self._topic_ids.close()

    def _serve_callbacks(self, timeout_s: float) -> None:
        """Serve the client's callbacks without reading on; a message that it had in hand is kept for the next poll."""
        self._pauses.pause_all()
        if (raw := self._client.raw.poll(timeout_s)) is not None and not self._partitions.is_unplaced(partition_of(raw)):
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
        self._client.raw.incremental_assign(partitions)
        self._client.raw.pause(partitions)
        self._client.note_assigned()
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
        """Forget partitions that are no longer ours."""
        self._pauses.release(partitions)
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
            raw: ck.Message | None = self._client.raw.poll(min(SLICE_S, left_s))
            if raw is not None and (error := raw.error()) is not None and error.code() == PARTITION_END:
                self._message(raw)
            elif raw is not None or left_s <= SLICE_S:
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
        if self._client.must_join_again:
            self._join_again()
        self._take_new_topics()
        self._pauses.resume(self._partitions.where(lambda state: state.is_read))
        unplaced = self._partitions.where(lambda state: state.unplaced)
        if time.monotonic() < self._retry_at or not (unplaced or self._offsets.has_refused_commit):
            return
        self._retry_at = time.monotonic() + RETRY_S
        if self._offsets.has_refused_commit:
            self._offsets.commit({})
        if unplaced:
            self._place(unplaced)
            self._take_new_topics()  # placing asked again

    def _join_again(self) -> None:
        """Join with another client, after the group held our name for a process that died."""
        if partitions := set(self.assigned):
            self._on_revoke(partitions, True)  # noqa: FBT003 - OnRevoke
            self._partitions.drop(partitions)
        self._stash.clear()
        self._client.join_again()

    def _place(self, unplaced: Collection[TopicPartition]) -> None:
        """Go on reading where `Offsets` says. A partition of which it cannot say so now stays unplaced."""
        try:
            placed = self._offsets.place(unplaced)
            self._pauses.resume(placed.keys())  # before they are placed: the client resumes where it was
            for partition, offset in placed.items():
                self._seek(partition, offset)
                self._partitions[partition].unplaced = False
        except KafkaException as error:
            if is_fatal(error.args[0]):
                raise
            left = self._partitions.where(lambda state: state.unplaced)
            log.warning("%s is not read yet, where to is not known: %s", format_partitions(left), error.args[0].str())

    def _seek(self, partition: TopicPartition, offset: int) -> None:
        state = self._partitions[partition]
        missing, state.out_of_range = state.out_of_range, None
        if missing is not None and offset < missing:  # back to what may be in flight: it is read again
            self._on_revoke({partition}, True)  # noqa: FBT003 - OnRevoke
            state.forget_returned()
            self._drop_from_stash({partition})
        self._client.seek(partition, offset)

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
        elif is_fatal(error):
            self._client.end_or_wait(error)
        elif error.code() == KafkaError.INCONSISTENT_GROUP_PROTOCOL:
            self._other_members.log_names()
        else:
            raise_or_log(error, str(self._topics), group=self._client.group)
