"""The laws of a `Source` that reads several topics, named or matched, the same in memory, on the mock cluster and on Kafka."""

from collections import defaultdict
from collections.abc import Iterable

import pytest

from consumer.errors import BrokerError
from consumer.messages import Message, TopicPartition
from tests.contract.conftest import Open
from tests.support.brokers import GROUP_PROTOCOLS, Broker, Kafka, Memory, unique
from tests.support.waiting import wait_until

APPEARS_S = 40.0
"""A broker that matches patterns itself does so ten seconds after the last time, at the earliest."""


@pytest.fixture(params=["memory", "mock", *(pytest.param(f"kafka-{name}", marks=pytest.mark.kafka) for name in GROUP_PROTOCOLS)])
def matching_broker(request: pytest.FixtureRequest) -> Broker:
    """In one group protocol the client matches a pattern, in the other the brokers do."""
    match request.param:
        case "memory":
            return Memory()
        case "mock":
            found: Broker = request.getfixturevalue("mock_cluster")
            return found
        case _:
            return Kafka(request.getfixturevalue("kafka_servers"), **GROUP_PROTOCOLS[request.param.removeprefix("kafka-")])


class Reader:
    """A source that is read in the background of a test, and what came of each partition."""

    def __init__(self, broker: Broker, topics: str, group: str, opened: Open) -> None:
        self.source = broker.source(topics, group)
        self.revoked: set[TopicPartition] = set()
        self.source.start(lambda partitions, _lost: self.revoked.update(partitions))
        opened.append(self.source)
        self.offsets: dict[TopicPartition, list[int]] = defaultdict(list)

    def poll(self) -> None:
        for each in self.source.poll(100, 0.1):
            self.offsets[each.topic_partition].append(each.offset)

    def read(self, count: int, timeout_s: float = 10.0) -> None:
        def is_there() -> bool:
            self.poll()
            return sum(map(len, self.offsets.values())) >= count

        wait_until(is_there, f"{count} messages come", timeout_s)
        self.poll()


def fill(broker: Broker, topic: str, count: int) -> None:
    for number in range(count):
        broker.append(Message(topic, number % 4, -1, None, b"%d" % number))


def all_of(topics: Iterable[str], count: int) -> dict[TopicPartition, list[int]]:
    return {TopicPartition(topic, partition): list(range(count // 4)) for topic in topics for partition in range(4)}


def test_every_topic_of_a_list_is_read_once_in_order_of_each_partition(broker: Broker, opened: Open) -> None:
    topics = [broker.create_topic() for _ in range(3)]
    for topic in topics:
        fill(broker, topic, 40)
    reader = Reader(broker, ",".join(topics), unique("group"), opened)
    reader.read(120)
    assert reader.offsets == all_of(topics, 40)
    wait_until(lambda: reader.poll() or set(reader.source.lag().values()) == {0}, "all is read")  # type: ignore[func-returns-value]
    assert reader.source.lag().keys() == reader.offsets.keys()


def test_what_is_committed_of_one_topic_says_nothing_of_another(broker: Broker, opened: Open) -> None:
    first, second = broker.create_topic(), broker.create_topic()
    group = unique("group")
    for topic in (first, second):
        fill(broker, topic, 8)
    reader = Reader(broker, f"{first},{second}", group, opened)
    reader.read(16)
    reader.source.commit({TopicPartition(first, 1): 2, TopicPartition(second, 1): 1}, wait=True)
    reader.source.close()
    again = Reader(broker, f"{first},{second}", group, opened)
    again.read(13)
    expected = all_of((first, second), 8) | {TopicPartition(second, 1): [1]}
    del expected[TopicPartition(first, 1)]
    assert again.offsets == expected
    assert broker.committed(group, first)[TopicPartition(first, 1)] == 2
    assert broker.committed(group, second)[TopicPartition(second, 1)] == 1


def test_a_topic_of_a_list_that_is_not_there_is_a_broker_error(broker: Broker, opened: Open) -> None:
    with pytest.raises(BrokerError, match="no-such-topic"):
        Reader(broker, f"{broker.create_topic()},{unique('no-such-topic')}", unique("group"), opened)


def test_a_pattern_reads_topics_of_matching_names_and_takes_up_new_ones(matching_broker: Broker, opened: Open) -> None:
    broker, prefix = matching_broker, unique("feed")
    matched = [broker.create_topic(prefix=f"{prefix}.raw") for _ in range(2)]
    others = [broker.create_topic(prefix=f"{prefix}.old"), broker.create_topic(prefix=f"not.{prefix}.raw")]
    for topic in (*matched, *others):
        fill(broker, topic, 8)
    reader = Reader(broker, f"^{prefix}[.]raw-[0-9a-f]+", unique("group"), opened)
    reader.read(16)
    assert reader.offsets == all_of(matched, 8)
    late = broker.create_topic(prefix=f"{prefix}.raw")
    fill(broker, late, 8)
    flush(broker)
    reader.read(24, APPEARS_S)
    assert reader.offsets == all_of((*matched, late), 8)


def test_a_pattern_that_matches_nothing_yet_waits(broker: Broker, opened: Open) -> None:
    prefix = unique("feed")
    reader = Reader(broker, f"^{prefix}-.*", unique("group"), opened)
    reader.poll()
    topic = broker.create_topic(prefix=prefix)
    fill(broker, topic, 4)
    flush(broker)
    reader.read(4, APPEARS_S)
    assert reader.offsets == all_of([topic], 4)


def test_a_matched_topic_that_is_deleted_is_forgotten_and_others_are_read_on(group_broker: Broker, opened: Open) -> None:
    broker, prefix = group_broker, unique("feed")
    gone, kept = broker.create_topic(prefix=prefix), broker.create_topic(prefix=prefix)
    for topic in (gone, kept):
        fill(broker, topic, 8)
    reader = Reader(broker, f"^{prefix}-.*", unique("group"), opened)
    reader.read(16)
    broker.delete_topic(gone)
    of_gone = {TopicPartition(gone, partition) for partition in range(4)}
    wait_until(
        lambda: reader.poll() or not of_gone & reader.source.assigned,  # type: ignore[func-returns-value]
        "its partitions are given up",
        APPEARS_S,
    )
    assert reader.revoked >= of_gone
    reader.source.commit({TopicPartition(gone, 0): 2, TopicPartition(kept, 0): 2}, wait=True)
    fill(broker, kept, 8)
    flush(broker)
    reader.read(24)
    assert {p: offsets for p, offsets in reader.offsets.items() if p.topic == kept} == all_of([kept], 16)


def flush(broker: Broker) -> None:
    if isinstance(broker, Kafka):
        broker.flush()
