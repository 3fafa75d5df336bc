"""A topic read once, as it is at that moment, on a real Kafka."""

from collections.abc import Mapping

import pytest

from consumer.errors import BrokerError
from consumer.kafka.topic_reader import TopicReader
from consumer.messages import Message
from tests.support.brokers import Kafka, unique
from tests.support.waiting import WAIT_S

pytestmark = pytest.mark.kafka


def reader(kafka: Kafka, topic: str, ranges: Mapping[int, range] | None = None) -> TopicReader:
    kafka.flush()
    return TopicReader({"bootstrap.servers": kafka.servers}, topic, ranges=ranges)


def filled(kafka: Kafka, *, partitions: int, each: int) -> str:
    topic = kafka.create_topic(partitions)
    for number in range(each * partitions):
        kafka.append(Message(topic, number % partitions, -1, b"key-%d" % number, b"%d" % number, (("n", b"1"),)))
    return topic


def broken_off(kafka: Kafka, topic: str, count: int) -> None:
    """Write to partition 0 in a transaction that is aborted."""
    kafka.begin(topic, *[b"aborted"] * count).abort_transaction(WAIT_S)


def test_a_topic_is_read_in_order_of_each_partition_up_to_its_end_at_the_start(kafka: Kafka) -> None:
    topic = filled(kafka, partitions=3, each=50)
    expected = kafka.messages(topic)
    with reader(kafka, topic) as messages:
        kafka.append(Message(topic, 0, -1, None, b"later"))
        kafka.flush()
        found = list(messages)
    assert sorted(found, key=lambda m: m.partition) == expected


def test_what_was_never_committed_is_not_read_and_holds_nothing_up(kafka: Kafka) -> None:
    topic = filled(kafka, partitions=1, each=5)
    broken_off(kafka, topic, 3)
    kafka.append(Message(topic, 0, -1, None, b"between"))
    kafka.flush()
    broken_off(kafka, topic, 3)
    with reader(kafka, topic) as messages:
        assert [m.value for m in messages] == [b"0", b"1", b"2", b"3", b"4", b"between"]


def test_what_was_committed_behind_an_open_transaction_is_read_once_that_has_ended(kafka: Kafka) -> None:
    topic = filled(kafka, partitions=1, each=2)
    kafka.flush()
    other = kafka.begin(topic, b"open")
    kafka.append(Message(topic, 0, -1, None, b"behind"))
    with reader(kafka, topic) as messages:
        found = [next(each).value for each in [iter(messages)] * 2]
        other.commit_transaction(WAIT_S)
        assert [*found, *(m.value for m in messages)] == [b"0", b"1", b"open", b"behind"]


def test_ranges_choose_partitions_and_offsets_and_are_cut_to_what_is_there(kafka: Kafka) -> None:
    topic = filled(kafka, partitions=3, each=10)
    with reader(kafka, topic, {0: range(2, 4), 2: range(8, 99)}) as messages:
        assert sorted((m.partition, m.offset) for m in messages) == [(0, 2), (0, 3), (2, 8), (2, 9)]


def test_the_last_of_each_partition_are_read_where_only_they_are_asked_for(kafka: Kafka) -> None:
    topic = filled(kafka, partitions=2, each=10)
    kafka.flush()
    with TopicReader({"bootstrap.servers": kafka.servers}, topic, last=3) as messages:
        assert sorted((m.partition, m.offset) for m in messages) == [(p, offset) for p in (0, 1) for offset in (7, 8, 9)]


def test_what_a_member_of_a_group_is_told_does_not_keep_a_topic_from_being_read(kafka: Kafka) -> None:
    topic = filled(kafka, partitions=1, each=3)
    kafka.flush()
    of_members = {"group.protocol": "consumer", "session.timeout.ms": 6_000, "isolation.level": "read_uncommitted"}
    with TopicReader({"bootstrap.servers": kafka.servers, **of_members}, topic) as messages:
        assert len(list(messages)) == 3


def test_an_empty_topic_has_no_messages(kafka: Kafka) -> None:
    with reader(kafka, kafka.create_topic(2)) as messages:
        assert list(messages) == []


def test_a_topic_a_partition_and_a_broker_that_are_not_there_are_named(kafka: Kafka) -> None:
    with pytest.raises(BrokerError, match="no-such-topic"), reader(kafka, unique("no-such-topic")):
        pass
    topic = kafka.create_topic(2)
    with pytest.raises(BrokerError, match="has no partition 7, only 0 to 1"), reader(kafka, topic, {7: range(1)}):
        pass


def test_a_broker_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.kafka.client.METADATA_TIMEOUT_S", 0.2)
    with (
        pytest.raises(BrokerError, match="no Kafka broker answers at 'localhost:1'"),
        TopicReader({"bootstrap.servers": "localhost:1", "log_level": 0}, "topic"),
    ):
        pass
