"""What cannot be delivered is tried again, in order and without end; until then nothing more is read, and it can be seen."""

from collections.abc import Mapping, Sequence

import pytest

from consumer.delivery.protocol import RETRY_PAUSES, SILENT_S
from consumer.errors import DeliveryFailed
from consumer.memory_broker import MemorySink, MemoryTransactions
from consumer.messages import Message, OnAck, Record, TopicPartition
from consumer.metrics import Metrics
from tests.consumer.test_pipeline import P0, WatchedSource, committed, filled, turns
from tests.support.messages import DEAD, IN, OUT, event_id, posting_bytes
from tests.support.pipeline import Clock, HeldSink, make_pipeline, memory_broker

GOOD, BAD = posting_bytes("Nurse"), b"nonsense"


class RefusingSink(MemorySink):
    """Refuses to queue records while told to, as a client does that has no room or knows that a record is too large."""

    refuses = False

    def produce(self, record: Record, on_ack: OnAck) -> None:
        if self.refuses:
            raise DeliveryFailed("no room")
        super().produce(record, on_ack)


class RefusingTransactions(MemoryTransactions):
    """Takes no transaction with a record for one of `refused` topics."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self.refused: set[str] = set()
        self.tries: list[float] = []
        self.clock = Clock()

    def transact(self, records: Sequence[Record], offsets: Mapping[TopicPartition, int], group: object) -> None:
        self.tries.append(self.clock.now_s)
        if self.refused & {record.topic for record in records}:
            raise DeliveryFailed("refused")
        super().transact(records, offsets, group)


def order(messages: Sequence[Message]) -> list[str]:
    return [event_id(message) for message in messages]


def test_a_refused_record_is_sent_again_until_accepted_and_reading_pauses_meanwhile() -> None:
    clock, broker = Clock(), filled(12, partitions=1)
    source, sink, metrics = WatchedSource(broker), HeldSink(clock), Metrics()
    pipeline = make_pipeline(source, sink, clock=clock, metrics=metrics, commit_interval_s=0.0)
    sink.let_through(error=lambda record: "not now" if record is sink.taken[1] else None)
    turns(pipeline, source, 2)
    assert pipeline.ready() == f"the record of {IN}:0:1 was not delivered to {OUT!r}: not now"
    assert metrics.registry.get_sample_value("occustream_blocked") == 1
    polls = len(source.polls)
    for _ in range(20):
        pipeline.turn()
    assert len(source.polls) == polls
    assert committed(broker) == {0: 1}
    assert sink.taken[-1] is sink.taken[1]
    sink.let_through()
    clock.now_s += RETRY_PAUSES.longest_s
    for _ in range(4):
        pipeline.turn()
    assert pipeline.ready() is None
    assert metrics.registry.get_sample_value("occustream_blocked") == 0
    assert committed(broker)[0] >= 8
    assert metrics.registry.get_sample_value("occustream_enriched_total") == committed(broker)[0]


def test_records_refused_together_are_sent_again_in_reading_order() -> None:
    clock, broker = Clock(tick_s=0.01), filled(6, partitions=1)
    source, sink = WatchedSource(broker), RefusingSink(broker)
    pipeline = make_pipeline(source, sink, clock=clock, batch=6, commit_interval_s=0.0)
    sink.refuses = True
    turns(pipeline, source, 3)
    assert pipeline.ready() == "no room"
    sink.refuses = False
    clock.now_s += RETRY_PAUSES.longest_s
    pipeline.turn()
    pipeline.turn()
    assert order(broker.messages(OUT)) == [f"{IN}:0:{i}" for i in range(6)]
    assert committed(broker) == {0: 6}


def test_a_refused_record_of_a_lost_partition_is_another_ones_to_deliver() -> None:
    clock, broker = Clock(), filled(4)
    source, sink = WatchedSource(broker), HeldSink(clock)
    pipeline = make_pipeline(source, sink, batch=12, clock=clock)
    sink.let_through(error=lambda record: "no" if record.input_partition == 0 else None)
    turns(pipeline, source, 2)
    source.revoke({P0}, lost=True)
    taken = len(sink.taken)
    clock.now_s += RETRY_PAUSES.longest_s
    pipeline.turn()
    assert len(sink.taken) == taken
    assert 0 not in committed(broker)


def test_a_silent_broker_is_trouble_that_shows() -> None:
    clock, broker = Clock(), filled(4, partitions=1)
    source, sink = WatchedSource(broker), HeldSink()
    pipeline = make_pipeline(source, sink, clock=clock)
    turns(pipeline, source, 2)
    assert pipeline.ready() is None
    clock.now_s += SILENT_S + 1
    assert "has acknowledged none of 4 records for 11 s" in str(pipeline.ready())
    sink.let_through()
    pipeline.turn()
    assert pipeline.ready() is None


def test_a_silent_broker_stays_trouble_while_partitions_are_revoked_and_given_back() -> None:
    clock, broker = Clock(), filled(4, partitions=1)
    source, sink = WatchedSource(broker), HeldSink()
    pipeline = make_pipeline(source, sink, clock=clock)
    turns(pipeline, source, 2)
    clock.now_s += SILENT_S - 1
    source.revoke({P0}, lost=True)
    source.assign({P0})
    turns(pipeline, source, 2)
    clock.now_s += 2
    assert "has acknowledged none of 8 records for 11 s" in str(pipeline.ready())


def test_one_transaction_commits_the_records_dead_letters_and_offsets_of_a_batch() -> None:
    broker = memory_broker(1)
    for value in (GOOD, BAD, GOOD):
        broker.append(P0, value)
    source, metrics = WatchedSource(broker), Metrics()
    pipeline = make_pipeline(source, MemoryTransactions(broker), batch=3, metrics=metrics)
    turns(pipeline, source, 1)
    assert (len(broker.messages(OUT)), len(broker.messages(DEAD)), committed(broker)) == (2, 1, {0: 3})
    assert metrics.registry.get_sample_value("occustream_commits_total") == 1
    assert metrics.registry.get_sample_value("occustream_enriched_total") == 2


@pytest.mark.parametrize("refused", [OUT, DEAD])
def test_a_failed_transaction_is_retried_after_growing_pauses_and_nothing_is_doubled(
    refused: str,
) -> None:
    broker = memory_broker(1)
    for value in (GOOD, BAD, GOOD, GOOD):
        broker.append(P0, value)
    source, sink = WatchedSource(broker), RefusingTransactions(broker)
    clock = sink.clock
    pipeline = make_pipeline(source, sink, batch=2, clock=clock)
    sink.refused = {refused}
    turns(pipeline, source, 1)
    for _ in range(600):
        clock.now_s += RETRY_PAUSES.first_s / 2
        pipeline.turn()
    assert pipeline.ready() == "refused"
    assert len(sink.tries) < 15, "pauses grow"
    assert max(later - earlier for earlier, later in zip(sink.tries, sink.tries[1:], strict=False)) <= RETRY_PAUSES.longest_s + 1
    assert (committed(broker), broker.messages(OUT), broker.messages(DEAD)) == ({}, [], [])
    sink.refused = set()
    for _ in range(300):
        clock.now_s += RETRY_PAUSES.first_s
        pipeline.turn()
    assert order(broker.messages(OUT)) == [f"{IN}:0:{i}" for i in (0, 2, 3)]
    assert order(broker.messages(DEAD)) == [f"{IN}:0:1"]
    assert committed(broker) == {0: 4}
    assert pipeline.ready() is None, "though nothing more came"


def test_a_failed_transaction_is_no_trouble_once_its_partition_is_gone() -> None:
    broker = memory_broker(2)
    broker.append(P0, GOOD)
    source, sink = WatchedSource(broker), RefusingTransactions(broker)
    clock = sink.clock
    pipeline = make_pipeline(source, sink, batch=1, clock=clock)
    sink.refused = {OUT}
    turns(pipeline, source, 1)
    clock.now_s += SILENT_S + 1
    assert pipeline.ready() == "refused"
    source.revoke({P0}, lost=True)
    assert source.assigned
    assert pipeline.ready() is None, "it would be so for good: nothing more comes"
