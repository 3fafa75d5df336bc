"""Brokers for the tests: memory, librdkafka's mock cluster and a real Kafka behind one interface.

Nothing here is a test. What is started here is stopped by whoever asked for it.
"""

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import confluent_kafka as ck
import pytest
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from consumer.kafka.client import IDEMPOTENT_PRODUCER
from consumer.kafka.group_properties import CLASSIC_GROUP_PROPERTIES
from consumer.kafka.sink import KafkaSink
from consumer.kafka.source import KafkaSource
from consumer.kafka.transactions import KafkaTransactions
from consumer.memory_broker import MemoryBroker, MemorySink, MemorySource
from consumer.messages import Message, OnRevoke, Sink, Source, TopicPartition
from deploy.kafka.broker import LocalKafka
from deploy.kafka.jars import missing_tools
from deploy.kafka.ports import free_port
from deploy.schema_registry.server import LocalRegistry, missing_registry_tools
from tests.support.topic_reading import committed, read_topic
from tests.support.waiting import WAIT_S, wait_until


class Broker(Protocol):
    """What the contract suite needs to ask of a broker. Every topic has at least two partitions."""

    def create_topic(self, partitions: int = 4, prefix: str = "topic") -> str:
        """Return the name of a new topic, there and ready; its partitions are numbered from 0."""
        ...

    def delete_topic(self, topic: str) -> None:
        """Delete a topic; not on the mock cluster."""
        ...

    def append(self, message: Message) -> None:
        """Add a message to its partition; the broker chooses its offset."""
        ...

    def messages(self, topic: str) -> list[Message]:
        """Return everything in a topic, partition by partition."""
        ...

    def committed(self, group: str, topic: str) -> dict[TopicPartition, int]:
        """Return what a group has committed."""
        ...

    def source(self, topic: str, group: str) -> Source: ...

    def sink(self, *topics: str) -> Sink: ...

    def join(self, second: Source, on_revoke: OnRevoke, first: Source) -> list[Message]:
        """Let `second` into the group of `first`, so that each ends with partitions; returns what `first` read meanwhile."""
        ...


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


class Memory:
    """The memory broker as a `Broker`."""

    def __init__(self) -> None:
        self._broker = MemoryBroker({})

    def create_topic(self, partitions: int = 4, prefix: str = "topic") -> str:
        topic = unique(prefix)
        self._broker.logs.update({TopicPartition(topic, partition): [] for partition in range(partitions)})
        return topic

    def delete_topic(self, topic: str) -> None:
        for partition in self._broker.partitions(topic):
            del self._broker.logs[partition]

    def append(self, message: Message) -> None:
        self._broker.append(message.topic_partition, message.value, key=message.key, headers=message.headers)

    def messages(self, topic: str) -> list[Message]:
        return self._broker.messages(topic)

    def committed(self, group: str, topic: str) -> dict[TopicPartition, int]:
        return {p: offset for (of, p), offset in self._broker.committed.items() if of == group and p.topic == topic}

    def source(self, topic: str, group: str) -> MemorySource:
        return MemorySource(self._broker, topic=topic, group_id=group)

    def sink(self, *topics: str) -> MemorySink:
        for topic in topics:
            self._broker.partitions(topic)
        return MemorySink(self._broker)

    def join(self, second: Source, on_revoke: OnRevoke, first: Source) -> list[Message]:
        assert isinstance(first, MemorySource)
        assert isinstance(second, MemorySource)
        moved = set(sorted(first.assigned)[::2])
        read = first.poll(1, 0.1)
        first.revoke(moved)
        second._on_revoke = on_revoke
        second.assign(moved)
        return list(read)


FAST_GROUP = {
    "heartbeat.interval.ms": 200,
    "session.timeout.ms": 6_000,
    "metadata.max.age.ms": 2_000,
    "topic.metadata.refresh.interval.ms": 1_000,
}
"""So that a rebalance takes tenths of a second."""


GROUP_PROTOCOLS: Mapping[str, Mapping[str, Any]] = {"classic": {}, "consumer": {"group.protocol": "consumer"}}


class Kafka:
    """A real Kafka, or the mock cluster, as a `Broker`."""

    def __init__(self, servers: str, **group: Any) -> None:
        self.servers = servers
        self.group = group
        own = {"linger.ms": 5, "log_level": 2, "message.max.bytes": 8_000_000}  # silent about brokers that a test has ended
        self.producer = ck.Producer({"bootstrap.servers": servers, **IDEMPOTENT_PRODUCER, **own})
        self.admin = AdminClient({"bootstrap.servers": servers, "log_level": 3})

    def create_topic(self, partitions: int = 4, prefix: str = "topic") -> str:
        topic = unique(prefix)
        self.create_again(topic, partitions)
        return topic

    def create_again(self, topic: str, partitions: int) -> None:
        """Create a topic, of a name that may just have been deleted."""

        def created() -> bool:
            try:
                self.admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(WAIT_S)
            except ck.KafkaException as error:
                # The topic of that name may not be gone yet; a broker that was silent for a while is fenced.
                if error.args[0].code() in (ck.KafkaError.TOPIC_ALREADY_EXISTS, ck.KafkaError.INVALID_REPLICATION_FACTOR):
                    return False
                raise
            return True

        wait_until(created, f"topic {topic} is created")
        wait_until(lambda: len(self._partitions(topic)) == partitions, f"topic {topic} appears")
        wait_until(lambda: self._has_leaders(topic, partitions), f"topic {topic} has leaders")

    def delete_topic(self, topic: str) -> None:
        self.flush()
        self.admin.delete_topics([topic])[topic].result(WAIT_S)
        wait_until(lambda: topic not in self.admin.list_topics(timeout=WAIT_S).topics, f"topic {topic} is gone")

    def append(self, message: Message) -> None:
        self.producer.produce(
            message.topic,
            message.value,
            message.key,
            message.partition,
            headers=list(message.headers),
            timestamp=message.timestamp_ms or 0,
        )

    def begin(self, topic: str, *values: bytes, partition: int = 0, transactional_id: str = "") -> ck.Producer:
        """Write messages in a transaction that stays open; the producer that it is of may end it."""
        own = {"transactional.id": transactional_id or unique("id"), "log_level": 3}
        producer = ck.Producer({"bootstrap.servers": self.servers, **own})
        producer.init_transactions(WAIT_S)
        producer.begin_transaction()
        for value in values:
            producer.produce(topic, value, partition=partition)
        assert producer.flush(WAIT_S) == 0
        return producer

    def flush(self) -> None:
        assert self.producer.flush(WAIT_S) == 0

    def messages(self, topic: str) -> list[Message]:
        self.flush()
        return read_topic(self.servers, topic)

    def committed(self, group: str, topic: str) -> dict[TopicPartition, int]:
        return committed(self.servers, group, topic)

    def source(self, topic: str, group: str, **properties: Any) -> KafkaSource:
        self.flush()
        events = properties.pop("events", None)
        given = {"bootstrap.servers": self.servers, "group.id": group, **FAST_GROUP, **self.group, **properties}
        if given.get("group.protocol") == "consumer":
            given = {name: value for name, value in given.items() if name not in CLASSIC_GROUP_PROPERTIES}
        return KafkaSource(given, topic=topic, events=events)

    def sink(self, *topics: str, **properties: Any) -> KafkaSink:
        sink = KafkaSink({"bootstrap.servers": self.servers, **properties}, topics=topics)
        sink.start()
        return sink

    def sink_of(self, delivery: str, *topics: str) -> KafkaSink | KafkaTransactions:
        """Return a sink that is started, as the delivery mode needs it; transactions get an id of their own."""
        if delivery != "exactly-once":
            return self.sink(*topics)
        sink = KafkaTransactions({"bootstrap.servers": self.servers}, topics=topics, transactional_id=unique("id"))
        sink.start()
        return sink

    def join(self, second: Source, on_revoke: OnRevoke, first: Source) -> list[Message]:
        read: list[Message] = []
        second.start(on_revoke)

        def shared() -> bool:
            read.extend(first.poll(1, 0.05))
            assert not second.poll(1, 0.05) or second.assigned
            return bool(first.assigned) and bool(second.assigned) and not first.assigned & second.assigned

        wait_until(shared, "the two members share the partitions")
        return read

    def _has_leaders(self, topic: str, partitions: int) -> bool:
        asked = {ck.TopicPartition(topic, partition): OffsetSpec.latest() for partition in range(partitions)}
        try:
            for future in self.admin.list_offsets(asked, request_timeout=WAIT_S).values():
                future.result()
        except ck.KafkaException:
            return False
        return True

    def _partitions(self, topic: str) -> Mapping[int, Any]:
        found = self.producer.list_topics(topic, timeout=WAIT_S).topics[topic]
        return found.partitions if found.error is None else {}


class MockCluster(Kafka):
    """librdkafka's own broker, alive as long as this object; every topic has four partitions."""

    def __init__(self) -> None:
        self._owner = ck.Producer({"bootstrap.servers": "ignored", "test.mock.num.brokers": 1, "log_level": 3})
        broker = next(iter(self._owner.list_topics(timeout=WAIT_S).brokers.values()))
        super().__init__(f"{broker.host}:{broker.port}")

    def create_topic(self, partitions: int = 4, prefix: str = "topic") -> str:
        assert partitions == 4, "the mock cluster makes topics of four partitions"
        topic = unique(prefix)
        wait_until(lambda: len(self._partitions(topic)) == partitions, f"topic {topic} appears")
        return topic


# ---- fixtures, for all tests ------------------------------------------------------------------------------------------


def need_local_kafka() -> None:
    """Skip where no broker can be started, saying what is missing."""
    if missing := missing_tools():
        pytest.skip(f"no real Kafka: missing {', '.join(missing)}, and KAFKA_BOOTSTRAP_SERVERS is not set")


@pytest.fixture(scope="session")
def kafka_servers(shared_folder: Path) -> str:
    """The address of a real Kafka: KAFKA_BOOTSTRAP_SERVERS, or one started for all workers, which ends with the run."""
    if servers := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        return servers
    need_local_kafka()
    kafka = LocalKafka(shared_folder / "kafka", port=free_port())
    kafka.start()  # does nothing where another worker has started it
    return kafka.bootstrap_servers


@pytest.fixture(scope="session")
def registry_url(shared_folder: Path) -> str:
    """The address of a real schema registry, started for all workers, which ends with the run."""
    if missing := missing_registry_tools():
        pytest.skip(f"no real schema registry: missing {', '.join(missing)}")
    registry = LocalRegistry(shared_folder / "schema-registry")
    registry.start()  # does nothing where another worker has started it
    return registry.url


@pytest.fixture(scope="session")
def kafka(kafka_servers: str) -> Kafka:
    return Kafka(kafka_servers)


@pytest.fixture(scope="session")
def mock_cluster() -> MockCluster:
    return MockCluster()
