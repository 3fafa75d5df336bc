"""The laws of a `Source`, the same in memory, on the mock cluster and on Kafka."""

import time
from collections import defaultdict

import pytest

from consumer.errors import BrokerError
from consumer.messages import Message, Source, TopicPartition
from tests.contract.conftest import Open
from tests.support.brokers import Broker, unique
from tests.support.waiting import WAIT_S, wait_until


class Revokes:
    """Remembers what was taken away."""

    def __init__(self) -> None:
        self.calls: list[tuple[set[TopicPartition], bool]] = []

    def __call__(self, partitions: set[TopicPartition], lost: bool) -> None:
        self.calls.append((set(partitions), lost))

    @property
    def partitions(self) -> set[TopicPartition]:
        return {p for partitions, _ in self.calls for p in partitions}


def message(topic: str, partition: int, value: bytes | None, **fields: object) -> Message:
    return Message(topic, partition, -1, fields.get("key"), value, fields.get("headers", ()), fields.get("timestamp_ms"))  # type: ignore[arg-type]


def fill(broker: Broker, topic: str, count: int, partitions: int = 4) -> None:
    for i in range(count):
        broker.append(message(topic, i % partitions, f"{i}".encode()))


def join(broker: Broker, topic: str, group: str, opened: Open, on_revoke: Revokes | None = None) -> Source:
    source = broker.source(topic, group)
    source.start(on_revoke or Revokes())
    opened.append(source)
    return source


def read(source: Source, count: int, *, at_a_time: int = 100) -> list[Message]:
    """Read `count` messages, and make sure that no more follow at once."""
    found: list[Message] = []
    deadline = time.monotonic() + WAIT_S
    while len(found) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} messages came"
        found += source.poll(at_a_time, 0.2)
    return found + list(source.poll(at_a_time, 0.1))


def by_partition(messages: list[Message]) -> dict[int, list[int]]:
    offsets = defaultdict(list)
    for each in messages:
        offsets[each.partition].append(each.offset)
    return dict(offsets)


def test_a_new_group_reads_everything_once_in_order_of_each_partition(broker: Broker, opened: Open) -> None:
    topic = broker.create_topic()
    fill(broker, topic, 200)
    found = read(join(broker, topic, unique("group"), opened), 200, at_a_time=7)
    assert by_partition(found) == {p: list(range(50)) for p in range(4)}
    assert [m.value for m in found if m.partition == 1] == [f"{i}".encode() for i in range(1, 200, 4)]


def test_a_poll_returns_no_more_than_asked_for(broker: Broker, opened: Open) -> None:
    topic = broker.create_topic()
    fill(broker, topic, 50)
    source = join(broker, topic, unique("group"), opened)
    sizes = []
    wait_until(lambda: sizes.append(len(source.poll(3, 0.2))) or sum(sizes) == 50, "all are read")  # type: ignore[func-returns-value]
    assert max(sizes) <= 3


def test_key_value_headers_and_timestamp_come_as_they_were_sent(broker: Broker, opened: Open) -> None:
    topic = broker.create_topic()
    now_ms = time.time_ns() // 1_000_000 - 10_000  # recent: a broker deletes what is older than its retention
    headers = (("trace", b"\x00\xff"), ("empty", b""), ("null", None), ("trace", b"again"))
    sent = [
        message(topic, 0, b'{"title": "Caf\xc3\xa9"}', key=b"\xff\x00key", headers=headers, timestamp_ms=now_ms + 0),
        message(topic, 0, None, key=b"tombstone", timestamp_ms=now_ms + 1),
        message(topic, 0, b"", key=b"", timestamp_ms=now_ms + 2),
        message(topic, 0, b"\xff\xfe", key=None, timestamp_ms=now_ms + 3),
    ]
    for each in sent:
        broker.append(each)
    found = read(join(broker, topic, unique("group"), opened), 4)
    assert [(m.key, m.value, m.headers) for m in found] == [(m.key, m.value, m.headers) for m in sent]
    assert found == broker.messages(topic)


def test_what_was_not_committed_is_read_again_by_the_next_member(broker: Broker, opened: Open) -> None:
    topic, group = broker.create_topic(), unique("group")
    fill(broker, topic, 40)
    first = join(broker, topic, group, opened)
    found = read(first, 40)
    first.close()
    assert sorted(read(join(broker, topic, group, opened), 40), key=_place) == sorted(found, key=_place)


@pytest.mark.parametrize("wait", [True, False])
def test_what_was_committed_is_not_read_again_and_the_offset_is_the_next_to_read(
    group_broker: Broker, opened: Open, wait: bool
) -> None:
    topic, group = group_broker.create_topic(), unique("group")
    fill(group_broker, topic, 40)
    first = join(group_broker, topic, group, opened)
    read(first, 40)
    offsets = {TopicPartition(topic, 0): 10, TopicPartition(topic, 1): 3, TopicPartition(topic, 2): 0}
    first.commit(offsets, wait=wait)
    first.close()
    assert group_broker.committed(group, topic) == {**offsets, TopicPartition(topic, 3): 0}
    found = by_partition(read(join(group_broker, topic, group, opened), 27))
    assert found == {1: list(range(3, 10)), 2: list(range(10)), 3: list(range(10))}


def test_a_commit_that_waits_is_there_when_it_returns(broker: Broker, opened: Open) -> None:
    topic, group = broker.create_topic(), unique("group")
    fill(broker, topic, 8)
    source = join(broker, topic, group, opened)
    read(source, 8)
    source.commit({TopicPartition(topic, 3): 2}, wait=True)
    assert broker.committed(group, topic)[TopicPartition(topic, 3)] == 2


def test_where_a_new_group_begins_is_committed_before_anything_is_read(broker: Broker, opened: Open) -> None:
    topic, group = broker.create_topic(), unique("group")
    source = join(broker, topic, group, opened)
    begun = {TopicPartition(topic, p): 0 for p in range(4)}
    wait_until(lambda: not source.poll(1, 0.1) and broker.committed(group, topic) == begun, "the group can be seen")


def test_a_poll_returns_soon_when_something_is_there_though_less_than_asked_for(broker: Broker, opened: Open) -> None:
    topic = broker.create_topic()
    source = join(broker, topic, unique("group"), opened)
    wait_until(lambda: not source.poll(1, 0.05) and len(source.assigned) == 4, "the partitions are assigned")
    for _ in range(3):
        fill(broker, topic, 1)
        started = time.monotonic()
        assert len(source.poll(1_000, WAIT_S)) == 1
        assert time.monotonic() - started < WAIT_S / 3


def test_an_empty_poll_ends_when_its_time_is_up(broker: Broker, opened: Open) -> None:
    source = join(broker, broker.create_topic(), unique("group"), opened)
    started = time.monotonic()
    assert source.poll(10, 0.2) == []
    assert time.monotonic() - started < WAIT_S / 3


def test_an_unknown_topic_is_a_broker_error_at_the_start(broker: Broker, opened: Open) -> None:
    with pytest.raises(BrokerError, match="no-such-topic"):
        join(broker, unique("no-such-topic"), unique("group"), opened)


def test_a_heartbeat_takes_nothing_and_loses_nothing(broker: Broker, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.kafka.source.HEARTBEAT_AFTER_S", 0.0)
    topic = broker.create_topic()
    fill(broker, topic, 20)
    source = join(broker, topic, unique("group"), opened)
    found = list(source.poll(5, WAIT_S))
    for _ in range(30):
        source.heartbeat()
        time.sleep(0.01)
    fill(broker, topic, 20)
    source.heartbeat()
    found += read(source, 40 - len(found))
    assert by_partition(found) == {p: list(range(10)) for p in range(4)}


def test_close_gives_every_partition_back_unlost_and_may_commit_on_the_way(broker: Broker) -> None:
    topic, group = broker.create_topic(), unique("group")
    fill(broker, topic, 8)
    source = broker.source(topic, group)
    everything = {TopicPartition(topic, p) for p in range(4)}
    given_back = []

    def on_revoke(partitions: set[TopicPartition], lost: bool) -> None:
        given_back.append((set(partitions), lost))
        source.commit(dict.fromkeys(partitions, 1), wait=True)

    source.start(on_revoke)
    read(source, 8)
    source.close()
    assert given_back == [(everything, False)]
    assert broker.committed(group, topic) == dict.fromkeys(everything, 1)
    assert source.assigned == frozenset()


def test_closing_twice_or_before_the_start_does_nothing(broker: Broker) -> None:
    topic, revokes = broker.create_topic(), Revokes()
    fill(broker, topic, 4)
    broker.source(topic, unique("group")).close()
    source = broker.source(topic, unique("group"))
    source.start(revokes)
    read(source, 4)
    source.close()
    source.close()
    assert revokes.partitions == {TopicPartition(topic, p) for p in range(4)}


def test_nothing_of_a_partition_that_was_taken_away_is_returned(group_broker: Broker, opened: Open) -> None:
    topic, group = group_broker.create_topic(), unique("group")
    fill(group_broker, topic, 400)
    revokes = Revokes()
    first = join(group_broker, topic, group, opened, revokes)
    wait_until(lambda: bool(first.poll(1, 0.1)) and len(first.assigned) == 4, "the first member reads all partitions")
    second = group_broker.source(topic, group)
    opened.append(second)
    group_broker.join(second, Revokes(), first)
    assert revokes.partitions == second.assigned
    assert not any(lost for _, lost in revokes.calls)
    assert first.assigned | second.assigned == {TopicPartition(topic, p) for p in range(4)}
    for source in (first, second):
        for _ in range(10):
            assert {m.topic_partition for m in source.poll(40, 0.1)} <= source.assigned


def test_a_partition_goes_on_at_the_committed_offset_with_its_next_member(group_broker: Broker, opened: Open) -> None:
    topic, group = group_broker.create_topic(), unique("group")
    fill(group_broker, topic, 40)
    first = group_broker.source(topic, group)
    opened.append(first)
    first.start(lambda partitions, _lost: first.commit(dict.fromkeys(partitions, 7), wait=True))
    read(first, 40)
    second = group_broker.source(topic, group)
    opened.append(second)
    group_broker.join(second, Revokes(), first)
    fill(group_broker, topic, 4)
    found: dict[int, list[int]] = defaultdict(list)

    def caught_up() -> bool:
        for each in second.poll(100, 0.1):
            found[each.partition].append(each.offset)
        return {p: offsets[-1] for p, offsets in found.items()} == {p.partition: 10 for p in second.assigned}

    wait_until(caught_up, "the second member has read its partitions to the end")
    assert first.assigned
    assert all(offsets[0] in {7, 8} and offsets == sorted(set(offsets)) for offsets in found.values())


def test_the_lag_counts_down_to_zero(broker: Broker, opened: Open) -> None:
    topic = broker.create_topic()
    fill(broker, topic, 40)
    source = join(broker, topic, unique("group"), opened)
    assert sum(source.lag().values()) in (0, 40)
    read_so_far = 0
    deadline = time.monotonic() + WAIT_S
    while read_so_far < 40:
        assert time.monotonic() < deadline
        read_so_far += len(source.poll(3, 0.2))
        assert sum(source.lag().values()) <= 40
    wait_until(lambda: source.lag() == {TopicPartition(topic, p): 0 for p in range(4)}, "the lag is 0 everywhere")
    fill(broker, topic, 4)
    wait_until(lambda: not source.poll(1, 0.05) and sum(source.lag().values()) == 0, "the lag is 0 again")


def test_a_member_that_finds_everything_committed_has_no_lag(group_broker: Broker, opened: Open) -> None:
    topic, group = group_broker.create_topic(), unique("group")
    fill(group_broker, topic, 40)
    first = join(group_broker, topic, group, opened)
    read(first, 40)
    first.commit({TopicPartition(topic, p): 10 for p in range(4)}, wait=True)
    first.close()
    second = join(group_broker, topic, group, opened)
    wait_until(lambda: not second.poll(1, 0.1) and len(second.assigned) == 4, "the second member has all partitions")
    seen = []
    for _ in range(10):
        assert second.poll(1, 0.1) == []
        seen.append(sum(second.lag().values()))
    assert set(seen) == {0}


def _place(each: Message) -> tuple[int, int]:
    return each.partition, each.offset
