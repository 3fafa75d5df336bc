"""Exactly once, proved on a real Kafka: nothing lost and nothing twice for readers that are read_committed."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import confluent_kafka as ck
import pytest

from consumer.errors import BrokerError, DeliveryFailed, RecordTooLarge
from consumer.kafka.transactional_producer import REPLACED_S
from consumer.kafka.transactions import KafkaTransactions
from consumer.messages import Message, Record, TopicPartition
from consumer.process.background import count_unfinished_steps
from tests.kafka.jobs import Job, Stream, assert_delivered
from tests.kafka.workers import Workers
from tests.support.brokers import Kafka, unique
from tests.support.topic_reading import end_offsets
from tests.support.waiting import WAIT_S, wait_until

pytestmark = pytest.mark.kafka

POSTINGS = 10_000


class Work:
    """A source with ten messages in one partition, two topics to write to, and a transactional producer."""

    def __init__(self, kafka: Kafka) -> None:
        self.kafka = kafka
        self.input, self.out, self.dead = (kafka.create_topic(1) for _ in range(3))
        self.partition = TopicPartition(self.input, 0)
        for number in range(10):
            kafka.append(Message(self.input, 0, -1, None, b"%d" % number))
        self.group, self.id = unique("group"), unique("id")
        self.source = kafka.source(self.input, self.group)
        self.source.start(lambda _partitions, _lost: None)

    def sink(self, **properties: object) -> KafkaTransactions:
        given = {"bootstrap.servers": self.kafka.servers, **properties}
        sink = KafkaTransactions(given, topics=[self.out, self.dead], transactional_id=self.id)
        sink.start()
        return sink

    def read(self, count: int) -> list[Message]:
        found: list[Message] = []
        deadline = time.monotonic() + WAIT_S
        while len(found) < count:
            assert time.monotonic() < deadline, f"{len(found)} of {count} messages"
            found += self.source.poll(count - len(found), 0.1)
        return found

    def transact(self, sink: KafkaTransactions, messages: Sequence[Message], *, big: int = 0) -> None:
        records = [Record(self.out, m.key, m.value, (), m.partition) for m in messages]
        if big:
            records.append(Record(self.dead, None, os.urandom(big), (), 0))
        sink.transact(records, {self.partition: messages[-1].offset + 1}, self.source.group())

    def written(self) -> list[bytes | None]:
        return [m.value for m in self.kafka.messages(self.out)]

    def committed(self) -> int | None:
        return self.kafka.committed(self.group, self.input).get(self.partition)


@pytest.fixture
def work(kafka: Kafka) -> Iterator[Work]:
    made = Work(kafka)
    yield made
    made.source.close()


def numbers(messages: Sequence[Message]) -> list[int]:
    return [int(m.value or b"-1") for m in messages]


def test_records_and_offsets_land_together(work: Work) -> None:
    sink = work.sink()
    work.transact(sink, work.read(4))
    assert (work.written(), work.committed()) == ([b"0", b"1", b"2", b"3"], 4)
    work.transact(sink, work.read(6))
    assert (len(work.written()), work.committed()) == (10, 10)


def test_a_record_that_cannot_be_written_aborts_its_transaction_and_is_read_again(work: Work) -> None:
    sink = work.sink()
    work.transact(sink, work.read(2))
    with pytest.raises(DeliveryFailed, match=f"'{work.dead}' does not take a record"):
        work.transact(sink, work.read(3), big=2_000_000)
    assert (work.written(), work.committed()) == ([b"0", b"1"], 2)
    work.source.rewind()
    again = work.read(8)
    assert numbers(again) == list(range(2, 10))
    work.transact(sink, again)
    assert work.written() == [b"%d" % n for n in range(10)]


def test_after_a_record_that_was_too_large_the_next_transaction_goes_through(work: Work) -> None:
    sink, messages = work.sink(), work.read(4)
    work.transact(sink, messages[:2])
    for _ in range(2):
        with pytest.raises(RecordTooLarge):
            sink.transact([Record(work.out, None, os.urandom(2_000_000), (), 0)], {}, None)
    work.transact(sink, messages[2:])
    assert (work.written(), work.committed()) == ([b"0", b"1", b"2", b"3"], 4)


def test_a_producer_that_is_not_renewed_is_given_up_after_a_slow_transaction(work: Work) -> None:
    sink = KafkaTransactions(
        {"bootstrap.servers": work.kafka.servers}, topics=[work.out], transactional_id=work.id, renewed=False
    )
    sink.start()
    messages = work.read(4)
    work.transact(sink, messages[:2])
    sink.producer.discard("it was slow")
    newer = work.sink()
    with pytest.raises(DeliveryFailed, match="given up: it was slow"):
        work.transact(sink, messages[2:])
    work.transact(newer, messages[2:])
    assert work.written() == [b"0", b"1", b"2", b"3"]


def test_a_source_that_committed_nothing_goes_back_to_where_it_began(work: Work) -> None:
    work.read(5)
    work.source.rewind()
    assert numbers(work.read(10)) == list(range(10))


def test_a_successor_ends_what_its_predecessor_left_open(work: Work) -> None:
    _killed = work.kafka.begin(work.out, b"left open", transactional_id=work.id)
    started = time.monotonic()
    work.transact(work.sink(), work.read(4))
    assert work.written() == [b"0", b"1", b"2", b"3"]
    assert time.monotonic() - started < 8.0, "nobody waits for the transaction's own ten seconds"


def test_what_a_discarded_producer_left_open_is_ended_before_anything_is_read_again(work: Work) -> None:
    sink = work.sink(**{"transaction.timeout.ms": 600_000})
    messages = work.read(4)
    work.transact(sink, messages[:2])
    sink.producer.client.begin_transaction()
    offset = ck.TopicPartition(work.input, 0, 4)
    metadata = work.source.group().metadata  # type: ignore[attr-defined]
    sink.producer.client.send_offsets_to_transaction([offset], metadata, WAIT_S)
    sink.producer.discard("for a test")
    work.source.rewind()  # where to read on is hidden until that transaction has ended
    found: list[Message] = []
    deadline = time.monotonic() + WAIT_S
    while len(found) < 8:
        assert time.monotonic() < deadline
        sink.poll(0.0)
        found += work.source.poll(8 - len(found), 0.1)
    assert numbers(found) == list(range(2, 10))


def test_of_two_consumers_with_one_name_the_older_is_shut_out_and_told_why(work: Work) -> None:
    older, newer = work.sink(), work.sink()
    messages = work.read(4)
    with pytest.raises(BrokerError, match=r"another consumer or replay uses the transactional id .* --instance-id"):
        work.transact(older, messages)
    work.transact(newer, messages)
    assert work.written() == [b"0", b"1", b"2", b"3"]


def test_a_late_request_of_our_own_shuts_a_producer_out_without_harm(work: Work) -> None:
    sink = work.sink()
    work.transact(sink, work.read(2))
    sink.producer.late_until = time.monotonic() + WAIT_S  # a client was thrown away before the coordinator had opened it
    late = ck.Producer({"bootstrap.servers": work.kafka.servers, "transactional.id": work.id, "log_level": 3})
    late.init_transactions(WAIT_S)
    again = work.read(3)
    sink.poll(0.0)  # it was not halted
    with pytest.raises(DeliveryFailed):
        work.transact(sink, again)
    work.source.rewind()
    again = work.read(8)
    time.sleep(REPLACED_S)  # had the test been slow, the producer would wait for so long
    work.transact(sink, again)
    assert (work.written(), work.committed()) == ([b"%d" % n for n in range(10)], 10)
    work.sink()
    sink.producer.late_until = time.monotonic()
    with pytest.raises(BrokerError, match="another consumer or replay"):
        sink.transact([Record(work.out, None, b"x", (), 0)], {}, None)


class Halted(ck.Producer):
    """Sends its first offsets only after something else has been done."""

    first: ClassVar[list[Callable[[], None]]] = []

    def send_offsets_to_transaction(self, *arguments: Any) -> None:
        if self.first:
            self.first.pop()()
        super().send_offsets_to_transaction(*arguments)


def test_a_producer_halted_in_a_transaction_waits_to_hear_whether_it_was_replaced(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer: list[KafkaTransactions] = []

    def halt() -> None:
        newer.append(work.sink())
        time.sleep(4.5)

    monkeypatch.setattr(ck, "Producer", Halted)
    monkeypatch.setattr(Halted, "first", [halt])
    halted = work.sink(**{"transaction.timeout.ms": 4_000})
    messages = work.read(4)
    with pytest.raises(DeliveryFailed):
        work.transact(halted, messages)
    for _ in range(3):
        halted.poll(0.1)
        with pytest.raises(DeliveryFailed, match="made anew"):
            halted.transact([Record(work.out, None, b"x", (), 0)], {}, None)
    work.transact(newer[0], messages)
    assert work.written() == [b"0", b"1", b"2", b"3"]


class Hanging(ck.Producer):
    """Its first offsets are sent only when it is let go."""

    gates: ClassVar[list[threading.Event]] = []

    def send_offsets_to_transaction(self, *arguments: Any) -> None:
        if not self.gates:
            self.gates.append(threading.Event())
            assert self.gates[0].wait(WAIT_S)
        super().send_offsets_to_transaction(*arguments)


def test_a_client_that_hangs_on_the_coordinator_is_given_up_and_does_no_harm_later(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ck, "Producer", Hanging)
    monkeypatch.setattr(Hanging, "gates", [])
    sink = work.sink(**{"transaction.timeout.ms": 2_000})
    messages = work.read(4)
    started = time.monotonic()
    with pytest.raises(DeliveryFailed, match="coordinator did not take the offsets"):
        work.transact(sink, messages)
    assert time.monotonic() - started < 10.0
    work.source.rewind()
    again = work.read(10)
    time.sleep(REPLACED_S)
    work.transact(sink, again)
    Hanging.gates[0].set()
    wait_until(lambda: not count_unfinished_steps(), "the hanging call has ended")
    assert work.written() == [b"%d" % n for n in range(10)]
    assert work.committed() == 10


@pytest.mark.model
def test_two_consumers_killed_in_turn_lose_nothing_and_repeat_nothing(
    kafka_servers: str, starter_registry: Path, workers: Workers
) -> None:
    job = Job(kafka_servers)
    flags = ("--delivery=exactly-once", "--batch-max-count=256")
    members = {name: workers.start(job, starter_registry, *flags, f"--instance-id={name}") for name in "ab"}
    for member in members.values():
        member.wait_ready()
    with Stream(job, per_s=2_000) as stream:
        for name in "ab":
            seen = job.records()
            wait_until(lambda seen=seen: job.records() > seen + 500, "records come out")  # type: ignore[misc]
            members[name].kill()
            members[name] = workers.start(job, starter_registry, *flags, f"--instance-id={name}").wait_ready()
    if stream.sent < POSTINGS:
        job.feed(POSTINGS - stream.sent)
    wait_until(job.all_committed, "both members finish", 120.0)
    assert [member.stop() for member in members.values()] == [0, 0]
    assert assert_delivered(*job.read()) == 0, "a record that is there twice"
    assert sum(end_offsets(kafka_servers, job.output).values()) > POSTINGS * 0.98
