"""Membership in both group protocols, on a real Kafka: who is asked to give up what, and topics that grow under a group."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import confluent_kafka as ck
import pytest

from consumer.errors import BrokerError
from consumer.kafka.group_properties import member_properties
from consumer.kafka.source import KafkaSource
from consumer.messages import Message, Record, TopicPartition
from tests.support.brokers import GROUP_PROTOCOLS, Kafka, unique
from tests.support.messages import posting_bytes
from tests.support.pipeline import HeldSink, make_pipeline
from tests.support.waiting import WAIT_S, wait_until

pytestmark = pytest.mark.kafka

POLL_INTERVAL_MS = 6_000 if "KAFKA_BOOTSTRAP_SERVERS" in os.environ else 2_000
"""The least that the broker permits: six seconds, unless it is one of ours."""

MEMBER_CODE = """
import confluent_kafka as ck
given = {{"bootstrap.servers": "{servers}", "group.id": "{group}", "group.instance.id": "one", "group.protocol": "consumer"}}
member = ck.Consumer({{**given, "enable.auto.commit": False}})
member.subscribe(["{topic}"], on_assign=lambda *_: print("assigned", flush=True))
while True:
    member.poll(1.0)
"""
"""A member in a process of its own, to be killed."""


@pytest.fixture(params=GROUP_PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> Mapping[str, Any]:
    return GROUP_PROTOCOLS[request.param]


class Members:
    """Members of one group; which revokes each was told of."""

    def __init__(self, kafka: Kafka, protocol: Mapping[str, Any], partitions: int = 4) -> None:
        self.kafka, self.protocol = kafka, protocol
        self.topic, self.group = kafka.create_topic(partitions), unique("group")
        self.revokes: dict[KafkaSource, list[tuple[set[TopicPartition], bool]]] = {}

    def join(self, **properties: Any) -> KafkaSource:
        source = self.kafka.source(self.topic, self.group, **self.protocol, **properties)
        told = self.revokes[source] = []
        source.start(lambda partitions, lost: told.append((partitions, lost)))
        return source

    def poll(self) -> list[Message]:
        return [message for source in self.revokes for message in source.poll(100, 0.02)]

    def settle(self, count: int = 4) -> None:
        """Wait until every member has partitions, and together they have all."""

        def settled() -> bool:
            self.poll()
            shares = [source.assigned for source in self.revokes]
            return all(shares) and sum(map(len, shares)) == len(frozenset().union(*shares)) == count

        wait_until(settled, "the group is settled")

    def leave(self, source: KafkaSource) -> None:
        source.close()
        del self.revokes[source]

    def end(self) -> None:
        for source in list(self.revokes):
            self.leave(source)


@pytest.fixture
def members(kafka: Kafka, protocol: Mapping[str, Any]) -> Iterator[Members]:
    made = Members(kafka, protocol)
    yield made
    made.end()


def test_a_static_member_that_restarts_gets_its_partitions_back_unnoticed_by_others(members: Members) -> None:
    first, second = (members.join(**{"group.instance.id": name}) for name in ("one", "two"))
    members.settle()
    wait_until(lambda: not members.poll() and len(first.assigned) == len(second.assigned), "evenly")
    own, other = first.assigned, second.assigned
    told = members.revokes[second]
    told.clear()
    members.leave(first)
    until = time.monotonic() + 2.0  # a rebalance takes tenths of a second here
    while time.monotonic() < until:
        members.poll()
    assert second.assigned == other
    again = members.join(**{"group.instance.id": "one"})
    wait_until(lambda: not members.poll() and bool(again.assigned), "it is back")
    assert (again.assigned, second.assigned, told) == (own, other, [])


@pytest.mark.parametrize(("of_protocol", "ends"), [("classic", "older"), ("consumer", "newer")])
def test_of_two_living_members_with_one_name_one_ends_and_says_why(
    kafka: Kafka, of_protocol: str, ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumer.kafka.group_client.NAME_HELD_S", 3.0)
    members = Members(kafka, GROUP_PROTOCOLS[of_protocol])
    older = members.join(**{"group.instance.id": "one"})
    wait_until(lambda: not older.poll(1, 0.02) and bool(older.assigned), "the older is at work")
    newer = members.join(**{"group.instance.id": "one"})

    def both_poll() -> bool:
        older.poll(1, 0.02)
        newer.poll(1, 0.02)
        return False

    with pytest.raises(BrokerError, match=rf"for good .*'one'.* the {ends} ends, .* --instance-id of its own"):
        wait_until(both_poll, "one of them is told")
    stays, goes = (newer, older) if ends == "older" else (older, newer)
    members.leave(goes)  # no other error hides the first one
    wait_until(lambda: not stays.poll(1, 0.02) and len(stays.assigned) == 4, "the other has all partitions")
    members.end()


def test_a_member_waits_for_the_name_of_one_that_died_and_takes_over(kafka: Kafka, caplog: pytest.LogCaptureFixture) -> None:
    members = Members(kafka, GROUP_PROTOCOLS["consumer"])
    code = MEMBER_CODE.format(servers=kafka.servers, group=members.group, topic=members.topic)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as dead:
        assert dead.stdout is not None
        assert dead.stdout.readline() == b"assigned\n"
        dead.kill()
    again = members.join(**{"group.instance.id": "one"})
    kafka.append(Message(members.topic, 0, -1, None, b"m"))
    kafka.flush()
    wait_until(lambda: bool(again.poll(1, 0.1)), "it reads")
    assert "the group holds the name 'one' for a consumer that was here before" in caplog.text
    assert len(again.assigned) == 4
    members.end()


def test_a_member_without_a_name_gives_its_partitions_to_the_others_when_it_leaves(members: Members) -> None:
    first, second = members.join(), members.join()
    members.settle()
    members.leave(first)
    wait_until(lambda: not members.poll() and len(second.assigned) == 4, "the other has all partitions")


def test_partitions_that_come_back_are_read_from_the_committed_offset(members: Members) -> None:
    stays = members.join()
    members.settle()
    for partition in range(4):
        for _ in range(5):
            members.kafka.append(Message(members.topic, partition, -1, None, b"m"))
    members.kafka.flush()
    read: set[tuple[int, int]] = set()

    def reads(wanted: set[tuple[int, int]]) -> bool:
        read.update((m.partition, m.offset) for m in members.poll() if m.topic_partition in stays.assigned)
        return wanted <= read

    wait_until(lambda: reads({(partition, 4) for partition in range(4)}), "all is read")
    stays.commit({TopicPartition(members.topic, partition): 2 for partition in range(4)}, wait=True)
    for _turn in range(5):
        guest = members.join()
        members.settle()
        gone = {partition.partition for partition in guest.assigned}
        members.leave(guest)
        read.clear()
        again = {(partition, offset) for partition in gone for offset in (2, 3, 4)}
        wait_until(lambda again=again: reads(again), f"what is not committed of {gone} is read again")  # type: ignore[misc]


def test_static_members_of_a_group_in_turmoil_close_within_their_time(members: Members) -> None:
    for _turn in range(6):
        one, other = (members.join(**{"group.instance.id": name}) for name in ("one", "other"))
        wait_until(lambda one=one: not members.poll() and bool(one.assigned), "partitions are assigned")  # type: ignore[misc]
        started = time.monotonic()
        members.leave(one)  # while the other's joining may still be under way
        members.leave(other)
        assert time.monotonic() - started < WAIT_S / 2


def test_a_revoke_finishes_and_commits_what_goes_and_leaves_the_rest_under_way(members: Members) -> None:
    sink, given_up = HeldSink(), set[TopicPartition]()
    first = members.kafka.source(members.topic, members.group, **members.protocol)
    pipeline = make_pipeline(first, sink, batch=1, max_in_flight_messages=100, commit_interval_s=0.1)

    def on_revoke(partitions: set[TopicPartition], lost: bool) -> None:
        given_up.update(partitions)
        going = {p.partition for p in partitions}
        sink.let_through(lambda record: record.input_partition in going)
        pipeline.on_revoke(partitions, lost)

    first.start(on_revoke)
    for partition in range(4):
        for number in range(3):
            members.kafka.append(Message(members.topic, partition, -1, None, posting_bytes(f"Nurse {number}")))
    members.kafka.flush()
    wait_until(lambda: pipeline.turn() or len(sink.taken) == 12, "all is under way")  # type: ignore[func-returns-value]
    second = members.join()
    wait_until(lambda: pipeline.turn() or (not members.poll() and bool(second.assigned)), "some go over")  # type: ignore[func-returns-value]
    committed = members.kafka.committed(members.group, members.topic)
    assert given_up
    assert committed == {p: 3 if p in given_up else 0 for p in committed}
    assert {record.input_partition for record, _ in sink.held} == {p.partition for p in first.assigned}
    first.close()


def test_lost_partitions_are_told_as_lost_and_nothing_of_them_is_committed(kafka: Kafka, protocol: Mapping[str, Any]) -> None:
    members = Members(kafka, protocol)
    sink = HeldSink()
    properties = {"max.poll.interval.ms": POLL_INTERVAL_MS, "session.timeout.ms": POLL_INTERVAL_MS, **protocol}
    source = kafka.source(members.topic, members.group, **properties)
    told: list[bool] = []
    pipeline = make_pipeline(source, sink, batch=1, commit_interval_s=0.1)
    source.start(lambda partitions, lost: (told.append(lost), pipeline.on_revoke(partitions, lost)))  # type: ignore[func-returns-value, arg-type]
    kafka.append(Message(members.topic, 0, -1, None, posting_bytes("Nurse")))
    kafka.flush()
    wait_until(lambda: pipeline.turn() or len(sink.taken) == 1, "it is under way")  # type: ignore[func-returns-value]
    other = members.join()  # takes over what the stalled one had
    wait_until(lambda: not members.poll() and len(other.assigned) == 4, "the other has all partitions")
    sink.let_through()
    wait_until(lambda: pipeline.turn() or any(told), "the loss is told")  # type: ignore[func-returns-value]
    pipeline.turn()
    assert kafka.committed(members.group, members.topic)[TopicPartition(members.topic, 0)] == 0
    source.close()
    members.end()


@pytest.mark.parametrize("reset", ["earliest", "latest"])
def test_partitions_that_are_added_are_noticed_and_read_from_their_first_message(members: Members, reset: str) -> None:
    source = members.join(**{"auto.offset.reset": reset})
    members.settle()
    members.kafka.admin.create_partitions([ck.admin.NewPartitions(members.topic, 6)])[members.topic].result(WAIT_S)
    kafka = Kafka(members.kafka.servers)  # a producer that has not known the topic smaller
    for partition in (4, 5):
        for number in range(10):
            kafka.append(Message(members.topic, partition, -1, None, b"%d" % number))
    kafka.flush()
    found: list[Message] = []
    wait_until(lambda: found.extend(members.poll()) or len(found) >= 20, "all of them come")  # type: ignore[func-returns-value]
    assert len(source.assigned) == 6
    for partition in (4, 5):
        assert [m.offset for m in found if m.partition == partition] == list(range(10))


def test_an_output_topic_that_grows_keeps_each_input_partition_where_it_was(kafka: Kafka) -> None:
    topic = kafka.create_topic(2)
    sink = kafka.sink(topic, **{"topic.metadata.refresh.interval.ms": 500})
    acknowledged: list[str | None] = []

    def send(so_far: int) -> None:
        for partition in range(4):
            sink.produce(Record(topic, None, b"%d" % partition, (), partition), acknowledged.append)
        wait_until(lambda: sink.poll(0.1) or len(acknowledged) == so_far + 4, "all are acknowledged")  # type: ignore[func-returns-value]

    send(0)
    kafka.admin.create_partitions([ck.admin.NewPartitions(topic, 4)])[topic].result(WAIT_S)
    wait_until(lambda: len(sink._producer.list_topics(topic, timeout=WAIT_S).topics[topic].partitions) == 4, "it grows")
    send(4)
    assert acknowledged == [None] * 8
    assert [(m.partition, m.value) for m in kafka.messages(topic)] == [(p % 2, b"%d" % p) for p in (0, 2, 0, 2, 1, 3, 1, 3)]


def test_properties_of_classic_groups_are_dropped_and_named_under_the_other_protocol(caplog: pytest.LogCaptureFixture) -> None:
    given = {"group.protocol": "consumer", "session.timeout.ms": 6_000, "group.id": "g"}
    properties = member_properties(given)
    assert not {"session.timeout.ms", "partition.assignment.strategy"} & properties.keys()
    assert "session.timeout.ms is ignored: with group.protocol=consumer the brokers decide on it" in caplog.text
