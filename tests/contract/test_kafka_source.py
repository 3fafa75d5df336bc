"""What only a Kafka client can get wrong: membership, pausing, and the client's own habits."""

import os
import time

import confluent_kafka as ck
import pytest

from consumer.kafka.source import KafkaSource
from consumer.messages import Message, TopicPartition
from tests.support.brokers import Kafka, MockCluster, unique
from tests.support.waiting import WAIT_S, wait_until

POLL_INTERVAL_S = 6.0 if "KAFKA_BOOTSTRAP_SERVERS" in os.environ else 1.0
"""The least that the broker permits: six seconds, unless it is one of ours."""
SHORT = {
    "session.timeout.ms": int(1_000 * POLL_INTERVAL_S),
    "max.poll.interval.ms": int(1_000 * POLL_INTERVAL_S),
    "heartbeat.interval.ms": 100,
}


class Revokes(list[tuple[int, bool]]):
    def __call__(self, partitions: set[TopicPartition], lost: bool) -> None:
        self.append((len(partitions), lost))


def fill(cluster: Kafka, topic: str, count: int) -> None:
    for i in range(count):
        cluster.append(Message(topic, i % 4, -1, None, b"%d" % i))
    cluster.flush()


def drained(source: KafkaSource, count: int) -> list[Message]:
    found: list[Message] = []
    wait_until(lambda: found.extend(source.poll(100, 0.1)) or len(found) >= count, f"{count} messages come")  # type: ignore[func-returns-value]
    return found


@pytest.mark.kafka
def test_heartbeats_keep_the_membership_beyond_the_poll_interval(kafka: Kafka) -> None:
    topic, revokes = kafka.create_topic(), Revokes()
    fill(kafka, topic, 40)
    source = kafka.source(topic, unique("group"), **SHORT)
    source.start(revokes)
    found = list(source.poll(5, WAIT_S))
    until = time.monotonic() + 2 * POLL_INTERVAL_S
    while time.monotonic() < until:
        source.heartbeat()
        time.sleep(0.05)
    found += drained(source, 40 - len(found))
    assert revokes == []
    assert sorted(m.offset for m in found) == sorted(list(range(10)) * 4)
    source.close()


@pytest.mark.kafka
def test_a_member_that_stalls_loses_its_partitions_and_reads_on_when_it_is_back(
    kafka: Kafka,
) -> None:
    topic, revokes = kafka.create_topic(), Revokes()
    fill(kafka, topic, 8)
    source = kafka.source(topic, unique("group"), **SHORT)
    source.start(revokes)
    drained(source, 8)
    source.commit({TopicPartition(topic, p): 1 for p in range(4)}, wait=True)
    time.sleep(1.5 * POLL_INTERVAL_S)
    assert [m.offset for m in drained(source, 4)] == [1] * 4
    assert revokes == [(4, True)]
    source.close()


@pytest.mark.kafka
def test_a_partition_that_was_paused_when_it_went_is_read_when_it_comes_back(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumer.kafka.source.HEARTBEAT_AFTER_S", 0.0)
    topic, group = kafka.create_topic(), unique("group")
    fill(kafka, topic, 40)
    first, second = kafka.source(topic, group), kafka.source(topic, group)
    first.start(Revokes())
    first.poll(1, WAIT_S)
    second.start(Revokes())

    def shared() -> bool:
        first.heartbeat()
        second.heartbeat()
        time.sleep(0.02)
        return bool(first.assigned) and bool(second.assigned) and not first.assigned & second.assigned

    wait_until(shared, "the two share the partitions though both are paused")
    first.poll(1, 0.1)  # resumes what is left
    second.close()
    seen: set[int] = set()
    wait_until(
        lambda: seen.update(m.partition for m in first.poll(100, 0.1)) or seen == {0, 1, 2, 3},  # type: ignore[func-returns-value]
        "all partitions are read again",
    )
    first.close()


def test_poll_returns_at_the_first_message_where_consume_waits_for_a_full_batch(
    mock_cluster: MockCluster,
) -> None:
    """Pins the client's behaviour that `KafkaSource.poll` is built on."""
    topic = mock_cluster.create_topic()
    consumer = ck.Consumer(
        {"bootstrap.servers": mock_cluster.servers, "group.id": unique("group"), "auto.offset.reset": "earliest"}
    )
    consumer.assign([ck.TopicPartition(topic, p, 0) for p in range(4)])
    fill(mock_cluster, topic, 4)
    assert consumer.poll(WAIT_S) is not None
    started = time.monotonic()
    assert len(consumer.consume(10, 1.5)) == 3
    assert time.monotonic() - started >= 1.4, "consume(n, timeout) returns early now: KafkaSource.poll may use it alone"
    fill(mock_cluster, topic, 1)
    assert consumer.poll(WAIT_S) is not None
    started = time.monotonic()
    assert consumer.consume(10, 0.0) == []
    assert time.monotonic() - started < 1.0
    consumer.close()
