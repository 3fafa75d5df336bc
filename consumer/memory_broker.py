"""A broker in memory that keeps the same contracts as Kafka: partitions, offsets per group, delayed acknowledgements.

It is for tests and benchmarks: one process, one consumer per group at a time, and nothing survives the process.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from consumer.errors import BrokerError
from consumer.kafka_names import InputTopics
from consumer.messages import Headers, Message, OnAck, OnRevoke, Record, TopicPartition

Fault = Callable[[str], None]
"""Called with `before:NAME` and `after:NAME` around each broker call; raises an exception to stop the process there."""


def _no_fault(_: str) -> None:
    return


class MemoryBroker:
    """Topics with a fixed number of partitions, and committed offsets per group."""

    def __init__(self, topics: Mapping[str, int]) -> None:
        self.logs: dict[TopicPartition, list[Message]] = {
            TopicPartition(topic, partition): [] for topic, count in topics.items() for partition in range(count)
        }
        self.committed: dict[tuple[str, TopicPartition], int] = {}
        self._changed = threading.Condition()

    def partitions(self, topic: str) -> list[TopicPartition]:
        """Return the partitions of a topic. Raises BrokerError for an unknown topic."""
        found = [p for p in self.logs if p.topic == topic]
        if not found:
            raise BrokerError(f"topic {topic!r} does not exist")
        return found

    def append(
        self,
        partition: TopicPartition,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Headers = (),
    ) -> None:
        """Add a message to the end of a partition, with the time of now."""
        with self._changed:
            log = self.logs[partition]
            log.append(Message(*partition, len(log), key, value, headers, time.time_ns() // 1_000_000))
            self._changed.notify_all()

    def write(self, record: Record) -> None:
        """Add a record to the partition that `Sink` names. Raises BrokerError for an unknown topic."""
        partitions = self.partitions(record.topic)
        partition = partitions[record.input_partition % len(partitions)]
        self.append(partition, record.value, key=record.key, headers=record.headers)

    def messages(self, topic: str) -> list[Message]:
        """Return all messages of a topic, partition by partition."""
        return [message for partition in self.partitions(topic) for message in self.logs[partition]]

    def wait(self, ready: Callable[[], bool], timeout_s: float) -> None:
        """Wait until `ready` returns true, for at most `timeout_s`."""
        with self._changed:
            self._changed.wait_for(ready, timeout_s)


class MemorySource:
    """Reads all partitions of one topic or several for a group, from its committed offsets."""

    def __init__(self, broker: MemoryBroker, *, topic: str, group_id: str, fault: Fault = _no_fault) -> None:
        self._broker = broker
        self._topics = InputTopics.parse(topic)
        self._follows_topics = False
        self._known_topics: set[str] = set()
        self._group_id = group_id
        self._on_revoke: OnRevoke = lambda _partitions, _lost: None
        self._fault = fault
        self._positions: dict[TopicPartition, int] = {}

    def start(self, on_revoke: OnRevoke) -> None:
        """See `Source.start`."""
        self._on_revoke = on_revoke
        for topic in self._topics.names:
            self._broker.partitions(topic)
        self._follows_topics = True
        self._follow_topics()

    @property
    def trouble(self) -> str | None:
        """See `Source.trouble`."""
        return None

    @property
    def assigned(self) -> frozenset[TopicPartition]:
        """The partitions that are ours now."""
        return frozenset(self._positions)

    def poll(self, max_count: int, timeout_s: float) -> Sequence[Message]:
        """See `Source.poll`."""
        self._fault("before:poll")
        if self._follows_topics:  # a member that is only assigned partitions has those alone
            self._follow_topics()
        self._broker.wait(lambda: any(self.lag().values()), timeout_s)
        taken: list[Message] = []
        for partition, position in self._positions.items():
            messages = self._broker.logs[partition][position : position + max_count - len(taken)]
            self._positions[partition] += len(messages)
            taken += messages
        self._fault("after:poll")
        return taken

    def _follow_topics(self) -> None:
        """Take up topics that are new, and forget those that are gone."""
        there = {partition.topic for partition in self._broker.logs}
        if gone := {partition for partition in self._positions if partition.topic not in there}:
            self.revoke(gone, lost=True)
        new = {topic for topic in there - self._known_topics if self._topics.matches(topic)}
        self._known_topics = (self._known_topics & there) | new
        self.assign({partition for topic in new for partition in self._broker.partitions(topic)})

    def heartbeat(self) -> None:
        """Do nothing: no group evicts its member here."""

    def commit(self, offsets: Mapping[TopicPartition, int], *, wait: bool) -> None:  # noqa: ARG002 - always at once
        """See `Source.commit`."""
        self._fault("before:commit")
        self._broker.committed.update({(self._group_id, p): offset for p, offset in offsets.items()})
        self._fault("after:commit")

    def tails(self) -> Mapping[TopicPartition, int]:
        """See `Source.tails`. Every record is a message here."""
        return {}

    def rewind(self) -> None:
        """See `Source.rewind`."""
        self.assign(set(self._positions))

    def group(self) -> str:
        """See `Source.group`."""
        return self._group_id

    def lag(self) -> Mapping[TopicPartition, int]:
        """See `Source.lag`."""
        return {p: len(self._broker.logs[p]) - position for p, position in self._positions.items()}

    def revoke(self, partitions: set[TopicPartition], *, lost: bool = False) -> None:
        """Take partitions away as a rebalance does."""
        self._on_revoke(partitions, lost)
        for partition in partitions:
            del self._positions[partition]

    def assign(self, partitions: set[TopicPartition]) -> None:
        """Give partitions as a rebalance does: reading goes on at the committed offset."""
        for partition in sorted(partitions):
            self._positions[partition] = self._broker.committed.setdefault((self._group_id, partition), 0)

    def close(self) -> None:
        """See `Source.close`."""
        self.revoke(set(self._positions))


class MemorySink:
    """Writes to a MemoryBroker. `poll` sends and acknowledges the records that were queued."""

    def __init__(self, broker: MemoryBroker, *, fault: Fault = _no_fault) -> None:
        self._broker = broker
        self._fault = fault
        self._queue: deque[tuple[Record, OnAck]] = deque()

    def produce(self, record: Record, on_ack: OnAck) -> None:
        """See `Sink.produce`."""
        self._fault("before:produce")
        self._broker.partitions(record.topic)
        self._queue.append((record, on_ack))
        self._fault("after:produce")

    def poll(self, timeout_s: float) -> None:  # noqa: ARG002 - never has to wait
        """See `Sink.poll`."""
        self._send()

    def _send(self) -> None:
        while self._queue:
            record, on_ack = self._queue[0]
            self._fault("before:send")
            self._broker.write(record)
            self._queue.popleft()
            self._fault("after:send")  # stopped here, the record is there and its acknowledgement was never seen
            on_ack(None)


class MemoryTransactions:
    """Appends records and commits offsets in one step. A fault can stop it before or after that step, never within."""

    def __init__(self, broker: MemoryBroker, *, fault: Fault = _no_fault) -> None:
        self._broker = broker
        self._fault = fault

    def transact(self, records: Sequence[Record], offsets: Mapping[TopicPartition, int], group: object) -> None:
        """See `TransactionalSink.transact`."""
        self._fault("before:transact")
        for record in records:
            self._broker.write(record)
        self._broker.committed.update({(str(group), p): offset for p, offset in offsets.items()})
        self._fault("after:transact")

    def poll(self, timeout_s: float) -> None:
        """Do nothing: nothing happens between transactions."""
