"""The laws of a `Sink`, the same in memory, on the mock cluster and on Kafka."""

import threading
from collections import Counter

import pytest

from consumer.errors import BrokerError, DeliveryFailed
from consumer.messages import Record, Sink
from tests.support.brokers import Broker, Kafka, MockCluster, unique
from tests.support.waiting import wait_until


class Acks:
    """Counts acknowledgements per record, and notes whether they came inside a call that may serve them."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()
        self.errors: list[DeliveryFailed] = []
        self.threads: set[int] = set()
        self.serving = False
        self.out_of_turn = 0

    def of(self, number: int, error: DeliveryFailed | None) -> None:
        self.counts[number] += 1
        self.threads.add(threading.get_ident())
        self.out_of_turn += not self.serving
        if error is not None:
            self.errors.append(error)

    def await_all(self, sink: Sink, count: int) -> None:
        """Poll until so many have come, and once more for one too many."""
        self.serving = True
        wait_until(lambda: sink.poll(0.1) or self.counts.total() >= count, "all are acknowledged")  # type: ignore[func-returns-value]
        sink.poll(0.1)
        self.serving = False


def produce(sink: Sink, topic: str, count: int, acks: Acks, *, partitions: int = 8) -> list[Record]:
    records = [Record(topic, b"key %d" % (i % 5), b"value %d" % i, (), i % partitions) for i in range(count)]
    for number, record in enumerate(records):
        sink.produce(record, lambda error, number=number: acks.of(number, error))  # type: ignore[misc]
    return records


def test_each_record_is_acknowledged_exactly_once(broker: Broker) -> None:
    topic, acks = broker.create_topic(), Acks()
    sink = broker.sink(topic)
    produce(sink, topic, 500, acks)
    acks.await_all(sink, 500)
    assert acks.counts == dict.fromkeys(range(500), 1)
    assert acks.errors == []
    assert len(broker.messages(topic)) == 500


def test_acknowledgements_come_in_poll_alone_and_on_the_thread_that_calls_it(broker: Broker) -> None:
    topic, acks = broker.create_topic(), Acks()
    sink = broker.sink(topic)
    for _ in range(20):
        produce(sink, topic, 200, acks)
        acks.serving = True
        sink.poll(0.05)
        acks.serving = False
    acks.await_all(sink, 4_000)
    assert acks.out_of_turn == 0
    assert acks.threads == {threading.get_ident()}
    assert acks.counts.total() == 4_000


def test_an_input_partition_goes_in_order_to_itself_modulo_the_output_partitions(broker: Broker) -> None:
    topic, acks = broker.create_topic(4), Acks()
    sink = broker.sink(topic)
    records = produce(sink, topic, 400, acks, partitions=8)
    acks.await_all(sink, 400)
    found = broker.messages(topic)
    for partition in range(4):
        expected = [r.value for r in records if r.input_partition % 4 == partition]
        assert [m.value for m in found if m.partition == partition] == expected


def test_an_output_with_fewer_partitions_keeps_the_order_too(group_broker: Broker) -> None:
    topic, acks = group_broker.create_topic(3), Acks()
    sink = group_broker.sink(topic)
    records = produce(sink, topic, 100, acks, partitions=8)
    acks.await_all(sink, 100)
    for partition in range(3):
        expected = [r.value for r in records if r.input_partition % 3 == partition]
        assert [m.value for m in group_broker.messages(topic) if m.partition == partition] == expected


def test_key_value_and_headers_arrive_as_they_were_given(broker: Broker) -> None:
    topic, acks = broker.create_topic(), Acks()
    sink = broker.sink(topic)
    headers = (("trace", b"\x00\xff"), ("null", None), ("trace", b""), ("trace", b"again"))
    records = [
        Record(topic, b"\xff\x00", b"\x80", headers, 2),
        Record(topic, None, None, (), 2),
        Record(topic, b"", b"", (), 2),
    ]
    for number, record in enumerate(records):
        sink.produce(record, lambda error, number=number: acks.of(number, error))  # type: ignore[misc]
    acks.await_all(sink, len(records))
    found = broker.messages(topic)
    assert [(m.partition, m.key, m.value, m.headers) for m in found] == [(2, r.key, r.value, r.headers) for r in records]


def test_a_record_to_an_unknown_topic_is_a_broker_error(broker: Broker) -> None:
    if isinstance(broker, MockCluster):
        pytest.skip("the mock cluster makes every topic that is asked for")
    unknown = unique("no-such-topic")
    with pytest.raises(BrokerError, match="no-such-topic"):
        broker.sink(unknown)


def test_a_full_queue_is_waited_for_and_no_record_is_dropped(mock_cluster: Kafka) -> None:
    topic, acks = mock_cluster.create_topic(), Acks()
    sink = mock_cluster.sink(topic, **{"queue.buffering.max.messages": 20, "linger.ms": 0})
    produce(sink, topic, 500, acks)
    acks.await_all(sink, 500)
    assert acks.counts == dict.fromkeys(range(500), 1)
