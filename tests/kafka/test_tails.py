"""Offsets that are committed behind the last message, on a real Kafka: transactions end with records that no reader gets."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from consumer.kafka.source import KafkaSource
from consumer.messages import Message, TopicPartition, next_offsets
from tests.support.brokers import GROUP_PROTOCOLS, Kafka, unique
from tests.support.topic_reading import end_offsets
from tests.support.waiting import WAIT_S, wait_until

pytestmark = pytest.mark.kafka


class Reader:
    """A member of a group over a topic of one partition, which a transactional producer writes to."""

    def __init__(self, kafka: Kafka) -> None:
        self.kafka, self.topic, self.group = kafka, kafka.create_topic(1), unique("group")
        self.partition = TopicPartition(self.topic, 0)
        self.source: KafkaSource | None = None
        self.read: list[Message] = []

    def start(self, **properties: Any) -> KafkaSource:
        self.source = self.kafka.source(self.topic, self.group, **properties)
        self.source.start(lambda _partitions, _lost: None)
        return self.source

    def poll(self) -> list[Message]:
        assert self.source is not None
        found = list(self.source.poll(100, 0.05))
        self.read += found
        return found

    def reads(self, count: int) -> None:
        wait_until(lambda: bool(self.poll()) or len(self.read) >= count, f"{count} messages are read")

    def commits_to_the_end(self) -> bool:
        self.poll()
        return self.kafka.committed(self.group, self.topic) == end_offsets(self.kafka.servers, self.topic)

    def close(self) -> None:
        if self.source is not None:
            self.source.close()
            self.source = None


@pytest.fixture
def reader(kafka: Kafka) -> Iterator[Reader]:
    made = Reader(kafka)
    yield made
    made.close()


def abort(reader: Reader, *values: bytes) -> None:
    producer = reader.kafka.begin(reader.topic, *values)
    producer.abort_transaction(WAIT_S)


@pytest.mark.parametrize("protocol", GROUP_PROTOCOLS)
@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_nothing_is_left_to_read_behind_the_end_of_a_transaction(reader: Reader, delivery: str, protocol: str) -> None:
    out = reader.kafka.create_topic(1)
    sink = reader.kafka.sink_of(delivery, out)
    reader.kafka.begin(reader.topic, b"one", b"two").commit_transaction(WAIT_S)
    source = reader.start(**GROUP_PROTOCOLS[protocol])
    for values in ((b"three",), ()):
        reader.reads(1)
        if delivery == "exactly-once":
            sink.transact([], next_offsets(reader.read), source.group())  # type: ignore[union-attr]
        else:
            source.commit(next_offsets(reader.read), wait=False)
        wait_until(reader.commits_to_the_end, "the group is where the partition ends")
        reader.read.clear()
        if values:
            reader.kafka.begin(reader.topic, *values).commit_transaction(WAIT_S)


def test_what_was_aborted_at_the_end_is_passed_without_a_message(reader: Reader) -> None:
    abort(reader, *[b"row"] * 100)
    reader.start()
    wait_until(reader.commits_to_the_end, "the group is where the partition ends")
    abort(reader, *[b"row"] * 100)
    wait_until(reader.commits_to_the_end, "it follows")
    assert reader.read == []


def test_an_end_is_not_committed_before_the_messages_before_it_are_finished(reader: Reader) -> None:
    reader.kafka.begin(reader.topic, b"one", b"two").commit_transaction(WAIT_S)
    source = reader.start()
    reader.reads(2)
    source.commit({reader.partition: 1}, wait=True)
    until = time.monotonic() + 3.0  # the end is met, and ends are committed once a second
    while time.monotonic() < until:
        reader.poll()
    assert source.reached(reader.partition) == 3, "the end was met"
    assert reader.kafka.committed(reader.group, reader.topic) == {reader.partition: 1}
    reader.close()
    assert reader.kafka.committed(reader.group, reader.topic) == {reader.partition: 1}


def test_messages_that_are_rewound_are_read_again_though_their_end_was_met(reader: Reader) -> None:
    source = reader.start()
    reader.kafka.begin(reader.topic, *[b"%d" % number for number in range(50)]).commit_transaction(WAIT_S)
    for _ in range(20):
        reader.read.clear()
        reader.reads(50)
        wait_until(lambda: bool(reader.poll()) or source.reached(reader.partition) == 51, "the end is met")
        source.rewind()
        reader.poll()
    reader.read.clear()
    reader.reads(50)
    assert reader.kafka.committed(reader.group, reader.topic) == {reader.partition: 0}


@pytest.mark.parametrize("instance", [{}, {"group.instance.id": "one"}])
def test_a_member_that_leaves_commits_the_ends_that_it_met(
    reader: Reader, instance: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumer.kafka.source.TAIL_INTERVAL_S", 1_000.0)
    source = reader.start(**instance)
    wait_until(lambda: not reader.poll() and bool(reader.kafka.committed(reader.group, reader.topic)), "it has begun")
    reader.kafka.begin(reader.topic, b"one").commit_transaction(WAIT_S)
    reader.reads(1)
    wait_until(lambda: bool(reader.poll()) or source.reached(reader.partition) == 2, "the end is met")
    source.commit({reader.partition: 1}, wait=True)
    reader.close()
    assert reader.kafka.committed(reader.group, reader.topic) == {reader.partition: 2}
