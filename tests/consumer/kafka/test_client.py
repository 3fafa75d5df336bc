"""What clients are given, and how one is moved to an offset or taken out of its group."""

import time
from typing import Any

import confluent_kafka as ck
import pytest
from confluent_kafka import KafkaError, KafkaException

from consumer.errors import ConfigError
from consumer.kafka.client import leave_group, make_client, offsets_at, outside_group, seek
from consumer.kafka.convert import format_partitions
from consumer.kafka.group_properties import CLASSIC_GROUP_PROPERTIES, CONSUMER_DEFAULTS
from consumer.messages import TopicPartition

OTHERS = ("group.id", "group.instance.id", "auto.offset.reset", "enable.partition.eof")
MEMBERS = (*CONSUMER_DEFAULTS, *CLASSIC_GROUP_PROPERTIES, *OTHERS)
OF_ALL = ("statistics.interval.ms", "topic.metadata.refresh.interval.ms")
PARTITION = TopicPartition("t", 3)


class Consumer:
    """Notes what it is asked for, and fails to seek with an error if it has one."""

    def __init__(self, error: int | None = None) -> None:
        self.error = error
        self.calls: list[tuple[str, int]] = []

    def seek(self, target: ck.TopicPartition) -> None:
        self.calls.append(("seek", target.offset))
        if self.error is not None:
            raise KafkaException(KafkaError(self.error))

    def incremental_assign(self, targets: list[ck.TopicPartition]) -> None:
        self.calls.append(("assign", targets[0].offset))

    def incremental_unassign(self, targets: list[ck.TopicPartition]) -> None:
        self.calls.append(("unassign", targets[0].offset))

    def unsubscribe(self) -> None:
        self.calls.append(("unsubscribe", 0))

    def poll(self, _timeout_s: float) -> Any:
        self.calls.append(("poll", 0))
        return "a message" if len(self.calls) < 4 else None

    def offsets_for_times(self, asked: list[ck.TopicPartition], timeout: float) -> list[ck.TopicPartition]:
        if self.error is not None:
            return [type("Failed", (), {"error": KafkaError(self.error)})()]
        return [ck.TopicPartition(p.topic, p.partition, p.offset if p.partition else -1) for p in asked]


def test_a_client_outside_a_group_is_given_no_property_of_a_member() -> None:
    reach = {"bootstrap.servers": "b:1", "security.protocol": "SSL", "enable.ssl.certificate.verification": False}
    given = outside_group({**dict.fromkeys(MEMBERS, 1), **reach})
    assert given == {**dict.fromkeys(OF_ALL, 1), **reach}


@pytest.mark.parametrize("given", [{"no.such.property": 1}, {"error_cb": None, "statistics.interval.ms": -1}])
def test_a_property_that_the_client_does_not_take_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="Kafka property refused: "):
        make_client(ck.Producer, given)


def test_a_partition_is_read_on_from_an_offset_by_seeking() -> None:
    consumer = Consumer()
    seek(consumer, PARTITION, 7)
    assert consumer.calls == [("seek", 7)]


def test_a_partition_that_the_client_gave_up_is_assigned_again_at_the_offset() -> None:
    consumer = Consumer(KafkaError._STATE)
    seek(consumer, PARTITION, 7)
    assert consumer.calls == [("seek", 7), ("unassign", 7), ("assign", 7)]


def test_any_other_error_of_a_seek_is_raised() -> None:
    consumer = Consumer(KafkaError._TIMED_OUT)
    with pytest.raises(KafkaException):
        seek(consumer, PARTITION, 7)
    assert consumer.calls == [("seek", 7)]


def test_a_group_is_left_once_the_queue_is_empty_and_no_partition_is_ours() -> None:
    consumer, left = Consumer(), iter([False, True])
    leave_group(consumer, lambda: next(left))
    assert [name for name, _ in consumer.calls] == ["unsubscribe", "poll", "poll", "poll", "poll"]


def test_leaving_a_group_ends_when_its_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.kafka.client.LEAVE_TIMEOUT_S", 0.05)
    started = time.monotonic()
    leave_group(Consumer(), lambda: False)
    assert time.monotonic() - started < 30


def test_offsets_at_a_moment_leave_out_partitions_without_a_later_message() -> None:
    partitions = [TopicPartition("t", 0), TopicPartition("t", 1)]
    assert offsets_at(Consumer(), partitions, 1_000, timeout_s=1.0) == {TopicPartition("t", 1): 1_000}
    with pytest.raises(KafkaException):
        offsets_at(Consumer(KafkaError._TIMED_OUT), partitions, 1_000, timeout_s=1.0)


def test_partitions_are_listed_in_a_log_line_as_topic_and_number() -> None:
    assert format_partitions([PARTITION, ck.TopicPartition("u", 0)]) == "t[3], u[0]"
    assert format_partitions([]) == "nothing"
