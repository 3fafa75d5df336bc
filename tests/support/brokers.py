"""Brokers for the tests: memory, librdkafka's mock cluster and a real Kafka behind one face; and a tiny model to feed them.

Nothing here is a test. What is started here is stopped by whoever asked for it.
"""

import functools
import hashlib
import json
import os
import random
import tempfile
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import confluent_kafka as ck
import pytest
import torch
from confluent_kafka.admin import AdminClient, NewTopic

from consumer.batcher import Batcher, BatchPolicy
from consumer.codec import Codec
from consumer.delivery.at_least_once import AtLeastOnce, Delivery, ExactlyOnce
from consumer.delivery.dead_letter_share import BadShare
from consumer.errors import DeliveryFailed
from consumer.kafka.client import IDEMPOTENT_PRODUCER
from consumer.kafka.group_properties import CLASSIC_GROUP_PROPERTIES
from consumer.kafka.sink import KafkaSink
from consumer.kafka.source import KafkaSource
from consumer.kafka.transactions import KafkaTransactions
from consumer.memory_broker import MemoryBroker, MemorySink, MemorySource, MemoryTransactions
from consumer.messages import Headers, Message, OnAck, OnRevoke, Record, Sink, Source, TopicPartition, TransactionalSink
from consumer.metrics import Metrics
from consumer.model.mixture import Mixture, Tensors
from consumer.model.scorer import Scorer
from consumer.pipeline import Pipeline
from deploy.kafka import local_kafka
from schemas.artifact import Calibration, Category, EncoderRef, Manifest, Mix, Thresholds
from schemas.text import TEMPLATE_ID

ROOT = Path(__file__).parents[2]
WAIT_S = 30.0
"""How long anything may take that a broker does; reached only by a failure."""

IN, OUT, DEAD = "postings.raw", "postings.enriched", "postings.dead-letters"
MAX_MESSAGE_BYTES = 20_000
MAX_TITLE_CHARS = 1_000

BAD: tuple[tuple[str, bytes | None], ...] = (
    ("null_value", None),
    ("not_utf8", b'{"title": "Caf\xe9 manager"}'),
    ("not_json", b'{"title": "Nurse"'),
    ("not_an_object", b'["Nurse"]'),
    ("no_title", b'{"posting_id": "7", "body": "We hire."}'),
    ("empty_title", b'{"title": " \\t "}'),
    ("title_too_long", json.dumps({"title": "nurse " * 200}).encode()),
    ("invalid_field", b'{"title": ["Nurse"]}'),
    ("too_large", json.dumps({"title": "Nurse", "body": "x" * MAX_MESSAGE_BYTES}).encode()),
)
"""One message of each kind that is no posting, with the reason its dead letter gives."""


def posting(title: str, **fields: Any) -> bytes:
    """Return the bytes of a posting."""
    return json.dumps({"title": title, **fields}).encode()


def wait_until(done: Callable[[], bool], what: str, timeout_s: float = WAIT_S) -> None:
    """Wait until `done`; fail, naming `what` was waited for, when the time is up."""
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline, f"waited {timeout_s:.0f} s in vain: {what}"
        time.sleep(0.02)


# ---- a tiny model ----------------------------------------------------------------------------------------------------


class TinyEncoder:
    """Unit vectors drawn from a hash of each text: deterministic, distinct, instant."""

    def __init__(self) -> None:
        self.ref = EncoderRef(id="tiny", sha256="0" * 64, dim=8, max_seq_length=128)
        self.device = torch.device("cpu")
        self.seen: list[str] = []

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        self.seen += texts
        rows = [list(hashlib.sha256(text.encode()).digest()[: self.ref.dim]) for text in texts]
        vectors = torch.tensor(rows, dtype=torch.float32).reshape(len(texts), self.ref.dim) - 127.5
        return torch.nn.functional.normalize(vectors, dim=1)


CATEGORIES = tuple(Category(onet_code=f"{11 + i}-1011.00", onet_title=f"Occupation {i}") for i in range(6))
THRESHOLDS = Thresholds(accept_at=0.5, review_at=0.1)


def tiny_manifest(version: str, **changes: Any) -> Manifest:
    """Return a manifest of the tiny model."""
    return Manifest(
        version=version,
        trained_at=datetime(2026, 1, 1, tzinfo=UTC),
        encoder=TinyEncoder().ref,
        taxonomy_version="2019",
        template=TEMPLATE_ID,
        mix=Mix(scale=10.0),
        calibration=Calibration(new=THRESHOLDS, known=THRESHOLDS),
        golden=(),
        files={},
    ).model_copy(update=changes)


def tiny_embeddings() -> torch.Tensor:
    """Return `(categories, dim)` unit rows."""
    return TinyEncoder().encode([category.onet_title for category in CATEGORIES])


def tiny_scorer(version: str = "v1") -> Scorer:
    """Return a scorer of the tiny model."""
    encoder, manifest = TinyEncoder(), tiny_manifest(version)
    mixture = Mixture(Tensors(CATEGORIES, tiny_embeddings()), manifest.mix, None, encoder.device)
    return Scorer(manifest, encoder, mixture, top_n=3)


# ---- a pipeline in the hands of a test -------------------------------------------------------------------------------


class Clock:
    """A clock that moves by `tick_s` at each look, and when told to."""

    def __init__(self, tick_s: float = 0.0) -> None:
        self.now_s = 1_000.0
        self._tick_s = tick_s

    def __call__(self) -> float:
        self.now_s += self._tick_s
        return self.now_s


class HeldSink:
    """Takes records and acknowledges only those a test lets through; its waiting moves the clock."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.held: deque[tuple[Record, OnAck]] = deque()
        self.taken: list[Record] = []
        self.polls = 0
        self._clock = clock
        self._lets_through: Callable[[Record], bool] = lambda _record: False
        self._error: Callable[[Record], str | DeliveryFailed | None] = lambda _record: None

    def let_through(
        self,
        which: Callable[[Record], bool] = lambda _: True,
        error: Callable[[Record], str | DeliveryFailed | None] = lambda _: None,
    ) -> None:
        """From now on acknowledge the records that `which` chooses, with the `error` it has."""
        self._lets_through, self._error = which, error

    def produce(self, record: Record, on_ack: OnAck) -> None:
        self.taken.append(record)
        self.held.append((record, on_ack))

    def poll(self, timeout_s: float) -> None:
        self.polls += 1
        due = [(record, on_ack) for record, on_ack in self.held if self._lets_through(record)]
        self.held = deque(pair for pair in self.held if not self._lets_through(pair[0]))
        if not due and self._clock:
            self._clock.now_s += timeout_s
        for record, on_ack in due:
            error = self._error(record)
            on_ack(DeliveryFailed(error) if isinstance(error, str) else error)


class StutteringSink(MemorySink):
    """Sends a few records a call, partitions in any order, as a broker with several leaders does; seeded."""

    def __init__(self, broker: MemoryBroker, *, seed: int, at_most: int = 3, **options: Any) -> None:
        super().__init__(broker, **options)
        self._random = random.Random(seed)
        self._at_most = at_most

    def poll(self, timeout_s: float) -> None:
        for _ in range(min(len(self._queue), self._random.randint(0, self._at_most))):
            self._send_one()

    def _send_one(self) -> None:
        chosen = self._random.choice(self._queue)[0]
        place = (chosen.topic, chosen.input_partition)
        first = next(pair for pair in self._queue if (pair[0].topic, pair[0].input_partition) == place)
        rest = deque(pair for pair in self._queue if pair is not first)
        self._queue = deque([first])
        self._send()
        self._queue = rest


def memory_broker(partitions: int = 3) -> MemoryBroker:
    """Return a broker with the three topics."""
    return MemoryBroker({IN: partitions, OUT: partitions, DEAD: partitions})


def make_codec() -> Codec:
    """Return a codec with the limits that `BAD` breaks."""
    return Codec(output_topic=OUT, dead_letter_topic=DEAD, max_message_bytes=MAX_MESSAGE_BYTES, max_title_chars=MAX_TITLE_CHARS)


def make_pipeline(source: Source, sink: Sink | TransactionalSink, *, batch: BatchPolicy | int = 4, **options: Any) -> Pipeline:
    """Return a pipeline with the tiny model; `batch` messages make a batch, or whatever waits after 10 ms."""
    policy = BatchPolicy(batch, 1_000_000, 0.01) if isinstance(batch, int) else batch
    given = {"scorer": tiny_scorer(), "metrics": Metrics(), **options}
    bad_share = given.pop("bad_share", BadShare())
    codec = given.pop("codec", make_codec())
    limits = {name: given.pop(name) for name in ("max_in_flight_messages", "commit_interval_s") if name in given}
    clock, metrics = given.get("clock", time.monotonic), given["metrics"]
    delivery: Delivery
    if isinstance(sink, MemoryTransactions | KafkaTransactions):
        delivery = ExactlyOnce(source, sink, metrics, codec=codec, bad_share=bad_share, clock=clock)
    else:
        delivery = AtLeastOnce(source, sink, metrics, codec=codec, bad_share=bad_share, clock=clock, **limits)
    return Pipeline(source=source, delivery=delivery, batcher=Batcher(policy), codec=codec, **given)


def event_id(record: Message) -> str:
    """Return which input message an output message was made of."""
    headers = {name: (value or b"").decode() for name, value in record.headers}
    if "occustream.event-id" in headers:
        return headers["occustream.event-id"]
    return ":".join(headers[f"dead-letter.{name}"] for name in ("topic", "partition", "offset"))


# ---- brokers behind one face -----------------------------------------------------------------------------------------


class Broker(Protocol):
    """What the contract suite needs to ask of a broker. Every topic has at least two partitions."""

    def create_topic(self, partitions: int = 4) -> str:
        """Return the name of a new topic, there and ready; its partitions are numbered from 0."""
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

    def create_topic(self, partitions: int = 4) -> str:
        topic = unique("topic")
        self._broker.logs.update({TopicPartition(topic, partition): [] for partition in range(partitions)})
        return topic

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
        self.producer = ck.Producer({"bootstrap.servers": servers, **IDEMPOTENT_PRODUCER, "linger.ms": 5, "log_level": 3})
        self.admin = AdminClient({"bootstrap.servers": servers, "log_level": 3})

    def create_topic(self, partitions: int = 4) -> str:
        topic = unique("topic")
        self.create_again(topic, partitions)
        return topic

    def create_again(self, topic: str, partitions: int) -> None:
        """Create a topic, of a name that may just have been deleted."""

        def created() -> bool:
            try:
                self.admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(WAIT_S)
            except ck.KafkaException as error:
                if error.args[0].code() == ck.KafkaError.TOPIC_ALREADY_EXISTS:
                    return False
                raise
            return True

        wait_until(created, f"topic {topic} is created")
        wait_until(lambda: len(self._partitions(topic)) == partitions, f"topic {topic} appears")

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

    def join(self, second: Source, on_revoke: OnRevoke, first: Source) -> list[Message]:
        read: list[Message] = []
        second.start(on_revoke)

        def shared() -> bool:
            read.extend(first.poll(1, 0.05))
            assert not second.poll(1, 0.05) or second.assigned
            return bool(first.assigned) and bool(second.assigned) and not first.assigned & second.assigned

        wait_until(shared, "the two members share the partitions")
        return read

    def _partitions(self, topic: str) -> Mapping[int, Any]:
        found = self.producer.list_topics(topic, timeout=WAIT_S).topics[topic]
        return found.partitions if found.error is None else {}


class MockCluster(Kafka):
    """librdkafka's own broker, alive as long as this object; every topic has four partitions."""

    def __init__(self) -> None:
        self._owner = ck.Producer({"bootstrap.servers": "ignored", "test.mock.num.brokers": 1, "log_level": 3})
        broker = next(iter(self._owner.list_topics(timeout=WAIT_S).brokers.values()))
        super().__init__(f"{broker.host}:{broker.port}")

    def create_topic(self, partitions: int = 4) -> str:
        assert partitions == 4, "the mock cluster makes topics of four partitions"
        topic = unique("topic")
        wait_until(lambda: len(self._partitions(topic)) == partitions, f"topic {topic} appears")
        return topic


def read_topic(servers: str, topic: str) -> list[Message]:
    """Return all of a topic up to its end as it is now, partition by partition."""
    consumer = _reader(servers)
    try:
        partitions = [
            ck.TopicPartition(topic, p, 0) for p in consumer.list_topics(topic, timeout=WAIT_S).topics[topic].partitions
        ]
        consumer.assign(partitions)
        found: list[Message] = []
        unread = {p.partition for p in partitions}  # a transaction's end takes an offset, too: they cannot be counted
        deadline = time.monotonic() + 2 * WAIT_S
        while unread:
            assert time.monotonic() < deadline, f"{topic} gives {len(found)} messages and no end of partitions {unread}"
            for raw in consumer.consume(10_000, 0.1):
                if (error := raw.error()) is not None and error.code() == ck.KafkaError._PARTITION_EOF:
                    unread.discard(raw.partition())
                else:
                    found.append(_plain(raw))
        return sorted(found, key=lambda m: (m.partition, m.offset))
    finally:
        consumer.close()


def end_offsets(servers: str, topic: str) -> dict[TopicPartition, int]:
    """Return how far each partition of a topic reaches; one that has just been created may have no leader yet."""
    consumer = _reader(servers)
    deadline = time.monotonic() + WAIT_S
    try:
        while True:
            try:
                partitions = consumer.list_topics(topic, timeout=WAIT_S).topics[topic].partitions
                ends = {p: consumer.get_watermark_offsets(ck.TopicPartition(topic, p), timeout=WAIT_S)[1] for p in partitions}
            except ck.KafkaException:
                assert time.monotonic() < deadline, f"nothing answers for {topic}"
                time.sleep(0.1)
            else:
                return {TopicPartition(topic, p): end for p, end in ends.items()}
    finally:
        consumer.close()


def committed(servers: str, group: str, topic: str) -> dict[TopicPartition, int]:
    """Return what a group has committed for a topic."""
    consumer = _reader(servers, group)
    try:
        partitions = [ck.TopicPartition(topic, p) for p in consumer.list_topics(topic, timeout=WAIT_S).topics[topic].partitions]
        wait_until(lambda: _coordinated(consumer, partitions), "the group has a coordinator")  # a new broker is slow to say so
        found = consumer.committed(partitions, timeout=WAIT_S)
        return {TopicPartition(topic, p.partition): p.offset for p in found if p.offset >= 0}
    finally:
        consumer.close()


def _coordinated(consumer: ck.Consumer, partitions: list[ck.TopicPartition]) -> bool:
    try:
        consumer.committed(partitions, timeout=WAIT_S)
    except ck.KafkaException as error:
        if error.args[0].code() == ck.KafkaError.NOT_COORDINATOR:
            return False
        raise
    return True


def _reader(servers: str, group: str = "reader") -> ck.Consumer:
    """A consumer that joins no group and commits nothing."""
    return ck.Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": group,
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
        }
    )


def _plain(raw: ck.Message) -> Message:
    assert raw.error() is None, raw.error()
    headers: Headers = tuple(raw.headers() or ())
    return Message(raw.topic(), raw.partition(), raw.offset(), raw.key(), raw.value(), headers, raw.timestamp()[1])


# ---- fixtures, imported by the conftest of each folder that needs them -------------------------------------------------


def need_local_kafka() -> None:
    """Skip where no broker can be started, saying what is missing."""
    if missing := local_kafka.missing_tools():
        pytest.skip(f"no real Kafka: missing {', '.join(missing)}, and KAFKA_BOOTSTRAP_SERVERS is not set")


@functools.cache
def _one_local_kafka() -> Any:
    return local_kafka.LocalKafka(Path(tempfile.mkdtemp(prefix="kafka-")), port=local_kafka.free_port())


@pytest.fixture(scope="session")
def kafka_servers() -> Iterator[str]:
    """The address of a real Kafka: KAFKA_BOOTSTRAP_SERVERS, or one started for these tests."""
    if servers := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        yield servers
        return
    need_local_kafka()
    kafka = _one_local_kafka()  # the same one, from whichever folder it is asked for
    kafka.start()
    yield kafka.bootstrap_servers
    kafka.stop()


@pytest.fixture(scope="session")
def kafka(kafka_servers: str) -> Kafka:
    return Kafka(kafka_servers)


@pytest.fixture(scope="session")
def mock_cluster() -> MockCluster:
    return MockCluster()
