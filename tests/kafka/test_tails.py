"""Offsets that are committed behind the last message, on a real Kafka: transactions end with records that no reader gets."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from consumer.codec import Codec
from consumer.kafka.source import KafkaSource
from consumer.messages import Message, TopicPartition
from consumer.pipeline import Pipeline
from tests.support.brokers import GROUP_PROTOCOLS, Kafka, unique
from tests.support.messages import MAX_MESSAGE_BYTES, MAX_TITLE_CHARS, posting_bytes
from tests.support.pipeline import make_pipeline
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

    def make_pipeline(self, source: KafkaSource, delivery: str, **options: Any) -> Pipeline:
        out, dead = self.kafka.create_topic(1), self.kafka.create_topic(1)
        limits = {"max_message_bytes": MAX_MESSAGE_BYTES, "max_title_chars": MAX_TITLE_CHARS}
        codec = Codec(output_topic=out, dead_letter_topic=dead, **limits)
        return make_pipeline(source, self.kafka.sink_of(delivery, out, dead), codec=codec, **options)

    def poll(self) -> list[Message]:
        assert self.source is not None
        found = list(self.source.poll(100, 0.05))
        self.read += found
        self.source.commit(self.source.tails(), wait=False)
        return found

    def reads(self, count: int) -> None:
        wait_until(lambda: bool(self.poll()) or len(self.read) >= count, f"{count} messages are read")

    def commits_to_the_end(self) -> bool:
        self.poll()
        return self.is_at_the_end()

    def is_at_the_end(self) -> bool:
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
    source = reader.kafka.source(reader.topic, reader.group, **GROUP_PROTOCOLS[protocol])
    pipeline = reader.make_pipeline(source, delivery)
    reader.kafka.begin(reader.topic, posting_bytes("Nurse"), posting_bytes("Cook")).commit_transaction(WAIT_S)
    source.start(pipeline.on_revoke)
    for end in (
        lambda: reader.kafka.begin(reader.topic, posting_bytes("Nurse")).commit_transaction(WAIT_S),
        lambda: reader.kafka.begin(reader.topic, *[posting_bytes("Nurse")] * 100).abort_transaction(WAIT_S),
        lambda: None,
    ):
        wait_until(lambda: pipeline.turn() or reader.is_at_the_end(), "the group is where the partition ends")  # type: ignore[func-returns-value]
        end()
    pipeline.drain()
    assert reader.is_at_the_end()


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
    until = time.monotonic() + 2.0
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
def test_a_consumer_that_ends_commits_the_ends_that_it_met(reader: Reader, instance: dict[str, str]) -> None:
    source = reader.kafka.source(reader.topic, reader.group, **instance)
    pipeline = reader.make_pipeline(source, "at-least-once", commit_interval_s=1_000.0)
    source.start(pipeline.on_revoke)
    reader.kafka.begin(reader.topic, posting_bytes("Nurse")).commit_transaction(WAIT_S)
    wait_until(lambda: pipeline.turn() or source.reached(reader.partition) == 2, "the end is met")  # type: ignore[func-returns-value]
    pipeline.drain()
    assert reader.is_at_the_end()
