"""Where a group begins and goes on, on a real Kafka: nothing is skipped silently, whatever happened to topic and offsets."""

import time
from collections.abc import Iterator
from typing import Any

import confluent_kafka as ck
import pytest
from confluent_kafka.admin import AdminClient

from consumer.errors import BrokerError, ConfigError
from consumer.kafka.source import KafkaSource
from consumer.messages import Message, TopicPartition
from tests.support.brokers import GROUP_PROTOCOLS, Kafka, unique
from tests.support.waiting import WAIT_S, wait_until

pytestmark = pytest.mark.kafka


class Events:
    """Remembers what should be counted."""

    def __init__(self) -> None:
        self.resets: list[tuple[int, int | None]] = []
        self.refusals = 0

    def offset_reset(self, partition: TopicPartition, gone: int | None) -> None:
        self.resets.append((partition.partition, gone))

    def commit_refused(self) -> None:
        self.refusals += 1


class Member:
    """A member of a group over a topic of its own, and what it has read."""

    def __init__(self, kafka: Kafka, partitions: int = 1) -> None:
        self.kafka = kafka
        self.topic, self.group = kafka.create_topic(partitions), unique("group")
        self.events = Events()
        self.revokes: list[tuple[set[TopicPartition], bool]] = []
        self.source: KafkaSource | None = None
        self.read: list[tuple[int, bytes | None]] = []

    def fill(self, count: int, partition: int = 0, text: str = "m") -> None:
        for number in range(count):
            self.kafka.append(Message(self.topic, partition, -1, None, f"{text}{number}".encode()))
        self.kafka.flush()

    def start(self, **properties: Any) -> KafkaSource:
        self.stop()
        self.source = self.kafka.source(self.topic, self.group, events=self.events, **properties)
        self.source.start(lambda partitions, lost: self.revokes.append((partitions, lost)))
        return self.source

    def poll(self) -> bool:
        assert self.source is not None
        found = self.source.poll(100, 0.05)
        self.read += [(m.offset, m.value) for m in found]
        return bool(found)

    def reads(self, offset: int, value: bytes) -> None:
        """Read until this message has come."""
        wait_until(lambda: self.poll() or (offset, value) in self.read, f"{value!r} at {offset} comes")
        wait_until(lambda: (offset, value) in self.read, f"{value!r} at {offset} is read")

    def begun(self) -> None:
        wait_until(lambda: not self.poll() and bool(self.committed()), "an offset is committed")

    def commit(self, offset: int, note: str = "") -> None:
        """Commit as somebody outside the group."""
        client = ck.Consumer({"bootstrap.servers": self.kafka.servers, "group.id": self.group, "enable.auto.commit": False})
        client.commit(offsets=[ck.TopicPartition(self.topic, 0, offset, note)], asynchronous=False)
        client.close()

    def committed(self) -> dict[int, int]:
        return {p.partition: offset for p, offset in self.kafka.committed(self.group, self.topic).items()}

    def delete_before(self, offset: int) -> None:
        """Delete messages, as retention does."""
        place = ck.TopicPartition(self.topic, 0, offset)
        self.kafka.admin.delete_records([place])[place].result(WAIT_S)

    def stop(self) -> None:
        if self.source is not None:
            self.source.close()
            self.source = None


@pytest.fixture
def member(kafka: Kafka) -> Iterator[Member]:
    made = Member(kafka)
    yield made
    made.stop()


@pytest.mark.parametrize("protocol", GROUP_PROTOCOLS)
def test_latest_begins_at_the_end_once_and_a_member_that_dies_at_once_skips_nothing(member: Member, protocol: str) -> None:
    latest = {"auto.offset.reset": "latest", **GROUP_PROTOCOLS[protocol]}
    member.fill(5)
    member.start(**latest)
    member.begun()
    assert (member.committed(), member.read) == ({0: 5}, [])
    member.stop()
    member.fill(2, text="while nobody looked ")
    member.start(**latest)
    member.reads(6, b"while nobody looked 1")
    assert [offset for offset, _ in member.read] == [5, 6]
    assert member.events.resets == []


@pytest.mark.parametrize("protocol", GROUP_PROTOCOLS)
def test_an_offset_that_retention_has_passed_is_reset_counted_and_committed(member: Member, protocol: str) -> None:
    member.fill(10)
    member.commit(5)
    member.delete_before(8)
    member.start(**GROUP_PROTOCOLS[protocol])
    member.reads(9, b"m9")
    assert [offset for offset, _ in member.read] == [8, 9]
    assert (member.committed(), member.events.resets) == ({0: 8}, [(0, 3)])


def test_latest_counts_all_that_it_skips_when_retention_has_passed(member: Member) -> None:
    member.fill(10)
    member.commit(5)
    member.delete_before(8)
    member.start(**{"auto.offset.reset": "latest"})
    wait_until(lambda: not member.poll() and bool(member.events.resets), "what is skipped is counted")
    wait_until(lambda: not member.poll() and member.committed() == {0: 10}, "the end is committed")
    assert (member.read, member.events.resets) == ([], [(0, 5)])


def test_an_offset_beyond_the_end_begins_anew_and_what_is_under_way_is_dropped(member: Member) -> None:
    member.fill(3)
    member.commit(50)
    member.start()
    member.reads(2, b"m2")
    assert [offset for offset, _ in member.read] == [0, 1, 2]
    assert (member.committed(), member.events.resets) == ({0: 0}, [(0, None)])
    assert member.revokes == [({TopicPartition(member.topic, 0)}, True)]


def test_retention_that_overtakes_a_member_at_work_takes_nothing_from_its_hands(
    member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumer.kafka.source.HEARTBEAT_AFTER_S", 0.0)
    member.fill(5)
    source = member.start()
    member.reads(4, b"m4")
    source.heartbeat()  # reading stops here
    member.fill(5, text="n")
    member.delete_before(8)
    member.reads(9, b"n4")
    assert [offset for offset, _ in member.read] == [0, 1, 2, 3, 4, 8, 9]
    assert (member.events.resets, member.revokes) == ([(0, 3)], [])
    assert member.committed() == {0: 0}, "the five that were read are not finished"


@pytest.mark.parametrize(
    ("committed", "what"),
    [(None, "no committed offset"), (5, "no longer the offset 5"), (50, "no longer the offset 50")],
)
def test_error_ends_it_with_a_way_out(member: Member, committed: int | None, what: str) -> None:
    member.fill(10)
    if committed is not None:
        member.commit(committed)
        member.delete_before(8)
    member.start(**{"auto.offset.reset": "error"})
    with pytest.raises(BrokerError, match=rf"{what} of {member.topic}\[0\].* kafka-consumer-groups --reset-offsets"):
        member.reads(9, b"m9")
    assert member.read == []


def test_what_ends_a_transaction_is_no_lag_once_the_end_was_seen(kafka: Kafka) -> None:
    topic = kafka.create_topic(1)
    kafka.begin(topic, b"row").commit_transaction(WAIT_S)
    given = {"bootstrap.servers": kafka.servers, "group.id": unique("group"), "enable.partition.eof": True}
    source = KafkaSource(given, topic=topic)
    source.start(lambda _partitions, _lost: None)
    partition, found = TopicPartition(topic, 0), list[Message]()
    until = time.monotonic() + WAIT_S
    while source.lag().get(partition) != 0:
        assert time.monotonic() < until, source.lag()
        found += source.poll(10, 0.1)
    source.close()
    assert [m.value for m in found] == [b"row"]


def test_an_unknown_reset_and_an_eager_assignor_are_refused(kafka: Kafka) -> None:
    with pytest.raises(ConfigError, match="earliest, latest or error, not 'newest'"):
        kafka.source("topic", "group", **{"auto.offset.reset": "newest"})
    with pytest.raises(ConfigError, match="must be cooperative-sticky, not 'range'"):
        kafka.source("topic", "group", **{"partition.assignment.strategy": "range"})


def test_a_partition_is_read_once_the_transaction_that_hides_its_offset_has_ended(
    member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumer.kafka.offsets.LOOKUP_TIMEOUT_S", 0.3)
    member.fill(5)
    member.start()
    member.reads(4, b"m4")
    assert member.source is not None
    producer = member.kafka.begin(member.topic)
    place = ck.TopicPartition(member.topic, 0, 3)
    producer.send_offsets_to_transaction([place], member.source.group().metadata, WAIT_S)  # type: ignore[attr-defined]
    member.source.rewind()
    member.read.clear()
    until = time.monotonic() + 2.0
    while time.monotonic() < until:
        assert not member.poll()
    producer.commit_transaction(WAIT_S)
    member.reads(4, b"m4")
    assert [offset for offset, _ in member.read] == [3, 4]


RESETS = pytest.mark.parametrize("reset", ["earliest", "latest"])


@RESETS
@pytest.mark.parametrize("note", ["cluster-id=another topic-id=another", "topic-id=another"])
def test_an_offset_that_was_mirrored_or_restored_with_its_note_counts(member: Member, reset: str, note: str) -> None:
    member.fill(5)
    member.commit(3, note=note)
    member.start(**{"auto.offset.reset": reset})
    member.reads(4, b"m4")
    assert ([offset for offset, _ in member.read], member.events.resets) == ([3, 4], [])


@RESETS
def test_an_offset_of_a_former_topic_counts_where_it_lies_inside_the_log(
    member: Member, reset: str, caplog: pytest.LogCaptureFixture
) -> None:
    member.fill(5)
    member.commit(3, note=f"cluster-id={_cluster_id(member)} topic-id=another")
    member.start(**{"auto.offset.reset": reset})
    member.reads(4, b"m4")
    assert ([offset for offset, _ in member.read], member.events.resets) == ([3, 4], [])
    assert f"{member.topic}[0] was created again since offset 3 was committed" in caplog.text


@RESETS
def test_an_offset_of_a_former_topic_beyond_the_log_begins_with_the_first_message(member: Member, reset: str) -> None:
    member.fill(5)
    member.commit(50, note=f"cluster-id={_cluster_id(member)} topic-id=another")
    member.start(**{"auto.offset.reset": reset})
    member.reads(4, b"m4")
    assert [offset for offset, _ in member.read] == [0, 1, 2, 3, 4]
    assert (member.committed(), member.events.resets) == ({0: 0}, [(0, None)])


def test_what_is_committed_names_the_topic_and_the_cluster(member: Member) -> None:
    member.fill(1)
    member.start()
    member.begun()
    client = ck.Consumer({"bootstrap.servers": member.kafka.servers, "group.id": member.group})
    (found,) = client.committed([ck.TopicPartition(member.topic, 0)], timeout=WAIT_S)
    client.close()
    assert found.metadata == f"cluster-id={_cluster_id(member)} topic-id={_topic_id(member)}"


def test_what_others_note_beside_an_offset_does_not_matter(member: Member) -> None:
    member.fill(5)
    member.commit(3, note="set by hand")
    member.start()
    member.reads(4, b"m4")
    assert ([offset for offset, _ in member.read], member.events.resets) == ([3, 4], [])


@RESETS
@pytest.mark.parametrize("protocol", GROUP_PROTOCOLS)
def test_a_topic_created_again_under_a_member_is_read_from_its_first_message(
    member: Member, protocol: str, reset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumer.kafka.topic_id.LOOKUP_INTERVAL_S", 0.2)
    monkeypatch.setattr("consumer.kafka.source.HEARTBEAT_AFTER_S", 0.0)
    given = {"auto.offset.reset": reset, **GROUP_PROTOCOLS[protocol]}
    source = member.start(**given)
    member.begun()
    member.fill(3)
    member.reads(2, b"m2")
    source.commit({TopicPartition(member.topic, 0): 3}, wait=True)
    source.heartbeat()  # nothing is read until the new topic is longer than the old one was
    kafka, before = member.kafka, _topic_id(member)
    kafka.admin.delete_topics([member.topic])[member.topic].result(WAIT_S)
    kafka.create_again(member.topic, 1)
    wait_until(lambda: _topic_id(member) not in {None, before}, "the new topic is there")
    member.kafka = Kafka(kafka.servers)  # the old producer knows the old topic
    member.fill(8, text="new ")
    for number in range(8):
        member.reads(number, b"new %d" % number)
    assert member.revokes
    new = [offset for offset, value in member.read if (value or b"").startswith(b"new")]
    assert new[-8:] == list(range(8))
    source.commit({TopicPartition(member.topic, 0): 8}, wait=True)
    member.start(**given)
    member.read.clear()
    member.fill(1, text="later ")
    member.reads(8, b"later 0")
    assert len(member.read) == 1


def test_a_refused_commit_is_counted_and_asked_again_until_it_is_taken(member: Member) -> None:
    source = member.start()
    member.begun()
    source.commit({TopicPartition(member.topic, 1): 7}, wait=False)  # there is no such partition yet
    wait_until(lambda: member.poll() or member.events.refusals > 0, "the refusal is heard")
    new = ck.admin.NewPartitions(member.topic, 2)
    member.kafka.admin.create_partitions([new])[member.topic].result(WAIT_S)
    wait_until(lambda: member.poll() or member.committed().get(1) == 7, "it is taken at last")


def _cluster_id(member: Member) -> str:
    return str(member.kafka.admin.list_topics(timeout=WAIT_S).cluster_id)


def _topic_id(member: Member) -> str | None:
    admin = AdminClient({"bootstrap.servers": member.kafka.servers, "log_level": 3})
    try:
        return str(admin.describe_topics(ck.TopicCollection([member.topic]))[member.topic].result(WAIT_S).topic_id)
    except ck.KafkaException:
        return None
