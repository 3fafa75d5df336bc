"""An enriched posting that its topic does not take becomes a dead letter; what went with it is delivered, in order, once."""

import hashlib
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.dead_letter_record import DeadLetter
from consumer.delivery.protocol import RETRY_PAUSES
from consumer.delivery.retry_queue import RetryQueue
from consumer.enrich import Outcome, enrich
from consumer.errors import DeliveryFailed, RecordTooLarge
from consumer.memory_broker import MemoryBroker, MemorySink, MemoryTransactions
from consumer.messages import OnAck, Record, TopicPartition
from consumer.metrics import Metrics
from tests.consumer.delivery.test_retries import order
from tests.consumer.test_pipeline import WatchedSource, committed
from tests.support.messages import DEAD, IN, OUT, event_id, make_codec, make_message, posting_bytes
from tests.support.pipeline import Clock, make_pipeline, memory_broker
from tests.support.tiny_model import tiny_scorer

LIMIT = {OUT: 3_000, DEAD: 20_000}
BIG = posting_bytes("Nurse", body="x" * 4_000)
"""Fits the dead-letter topic; enriched, it does not fit the output."""
TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def too_large(topic: str, records: Sequence[Record], limits: Mapping[str, int]) -> bool:
    """Whether a broker refuses records that are sent to it together, as it does: by their size as a whole."""
    return sum(map(size_bytes, (record for record in records if record.topic == topic))) > limits[topic]


def size_bytes(record: Record) -> int:
    return record.size_bytes + sum(len(name) + len(value or b"") for name, value in record.headers)


class Limited(MemorySink):
    """Sends what waits for a partition together, and is refused together, as librdkafka's batches are."""

    def __init__(self, broker: MemoryBroker, limits: Mapping[str, int] = LIMIT) -> None:
        super().__init__(broker)
        self.limits = dict(limits)

    def _send(self) -> None:
        waiting, self._queue = self._queue, deque()
        together: dict[tuple[str, int], list[tuple[Record, OnAck]]] = {}
        for record, on_ack in waiting:
            together.setdefault((record.topic, record.input_partition), []).append((record, on_ack))
        for (topic, _partition), pairs in together.items():
            if too_large(topic, [record for record, _ in pairs], self.limits):
                for _record, on_ack in pairs:
                    on_ack(RecordTooLarge("too large"))
            else:
                self._queue = deque(pairs)
                super()._send()


class LimitedTransactions(MemoryTransactions):
    """Takes no transaction whose records are too large together."""

    def __init__(self, broker: MemoryBroker, limits: Mapping[str, int] = LIMIT) -> None:
        super().__init__(broker)
        self.limits = dict(limits)

    def transact(self, records: Sequence[Record], offsets: Mapping[TopicPartition, int], group: object) -> None:
        if any(too_large(topic, records, self.limits) for topic in (OUT, DEAD)):
            raise RecordTooLarge("too large")
        super().transact(records, offsets, group)


KINDS = pytest.mark.parametrize("kind", [Limited, LimitedTransactions])


def run(broker: MemoryBroker, sink: Any, clock: Clock, *, turns: int = 400, **options: Any) -> Any:
    source = WatchedSource(broker)
    pipeline = make_pipeline(source, sink, clock=clock, commit_interval_s=0.0, **options)
    source.start(pipeline.on_revoke)
    for _ in range(turns):
        pipeline.turn()
    return pipeline


def filled(values: Sequence[bytes], partitions: int) -> MemoryBroker:
    broker = memory_broker(partitions)
    for number, value in enumerate(values):
        broker.append(TopicPartition(IN, number % partitions), value, key=b"%d" % number)
    return broker


@KINDS
@given(
    kinds=st.lists(st.sampled_from(["good", "good", "big", "bad"]), max_size=30),
    partitions=st.integers(1, 3),
    batch=st.integers(1, 12),
)
def test_each_message_is_enriched_or_a_dead_letter_whatever_it_was_sent_with(
    kind: Any, kinds: list[str], partitions: int, batch: int
) -> None:
    value = {"good": posting_bytes("Nurse"), "big": BIG, "bad": b"nonsense"}
    broker = filled([value[k] for k in kinds], partitions)
    pipeline = run(broker, kind(broker), Clock(tick_s=0.001), batch=batch)
    names = {f"{IN}:{number % partitions}:{number // partitions}": k for number, k in enumerate(kinds)}
    assert Counter(map(event_id, broker.messages(OUT))) == Counter(name for name, k in names.items() if k == "good")
    assert Counter(map(event_id, broker.messages(DEAD))) == Counter(name for name, k in names.items() if k != "good")
    ends = Counter(number % partitions for number in range(len(kinds)))
    assert committed(broker) == dict(ends)
    assert pipeline.ready() is None
    topics = (OUT,) if kind is Limited else (OUT, DEAD)
    for topic in topics:
        for partition in range(partitions):
            offsets = [int(event_id(m).split(":")[2]) for m in broker.logs[TopicPartition(topic, partition)]]
            assert offsets == sorted(offsets)


@KINDS
def test_its_dead_letter_says_so_and_holds_the_message_as_it_came(kind: Any) -> None:
    broker, metrics = filled([posting_bytes("Nurse"), BIG], 1), Metrics()
    run(broker, kind(broker), Clock(tick_s=0.001), metrics=metrics)
    letter = DeadLetter.parse(broker.messages(DEAD)[0])
    assert letter is not None
    assert (letter.reason, letter.stage, letter.model_version, letter.event_id) == ("too_large", "deliver", "v1", f"{IN}:0:1")
    assert (letter.message.value, letter.message.key) == (BIG, b"1")
    assert f"'{OUT}' does not take the enriched posting of " in letter.error
    assert metrics.registry.get_sample_value("occustream_dead_letters_total", {"reason": "too_large"}) == 1
    assert metrics.registry.get_sample_value("occustream_enriched_total") == 1


@KINDS
@pytest.mark.parametrize(
    ("key", "headers", "value", "left_out"),
    [
        (b"k", (("n", b"1"),), BIG, "value"),
        (b"k" * 3_000, (("n", b"1"),), BIG, "value,key,headers"),
        (b"k", (("n", b"1" * 3_000),), BIG, "value,key,headers"),
        (b"k" * 4_000, (), None, "value,key,headers"),
    ],
)
def test_a_dead_letter_that_is_too_large_says_where_its_message_lies(
    kind: Any, key: bytes, headers: Any, value: bytes | None, left_out: str
) -> None:
    broker, clock = memory_broker(2), Clock(tick_s=0.001)
    broker.append(TopicPartition(IN, 0), value, key=key, headers=(*headers, ("traceparent", TRACE)))
    for number in range(4):
        broker.append(TopicPartition(IN, number % 2), posting_bytes("Nurse"))
    pipeline = run(broker, kind(broker, {**LIMIT, DEAD: 2_000}), clock)
    assert (pipeline.ready(), committed(broker)) == (None, {0: 3, 1: 2})
    (found,) = map(DeadLetter.parse, broker.messages(DEAD))
    assert found is not None
    assert (found.event_id, found.left_out, found.reason) == (f"{IN}:0:0", left_out, "too_large")
    assert found.value_sha256 == hashlib.sha256(value or b"").hexdigest()
    kept = (key, (*headers, ("traceparent", TRACE))) if left_out == "value" else (None, (("traceparent", TRACE),))
    assert (found.message.value, found.message.key, found.headers) == (None, *kept)
    assert clock.now_s < 1_000.0 + 400 * 0.02, "the search makes no pause"


@KINDS
def test_a_topic_that_takes_no_letter_at_all_blocks_and_gets_the_whole_one_later(kind: Any) -> None:
    values = [posting_bytes("Nurse"), BIG, posting_bytes("Cook"), posting_bytes("Driver")]
    broker, clock = filled(values, 1), Clock(tick_s=0.001)
    sink = kind(broker, {**LIMIT, DEAD: 100})
    pipeline = run(broker, sink, clock, turns=600)
    assert "too large" in str(pipeline.ready())
    assert committed(broker) == {0: 1}
    assert broker.messages(DEAD) == []
    sink.limits[DEAD] = 20_000
    for _ in range(40):
        clock.now_s += RETRY_PAUSES.longest_s
        pipeline.turn()
    assert pipeline.ready() is None
    assert committed(broker) == {0: 4}
    assert order(broker.messages(OUT)) == [f"{IN}:0:{n}" for n in (0, 2, 3)]
    assert [(event_id(m), m.value) for m in broker.messages(DEAD)] == [(f"{IN}:0:1", BIG)]


def test_exactly_once_finds_a_huge_record_among_small_ones_at_once() -> None:
    class Counted(LimitedTransactions):
        tries = 0

        def transact(self, *given: Any) -> None:
            self.tries += 1
            super().transact(*given)

    small = [posting_bytes("Nurse")] * 20
    broker = filled([*small, posting_bytes("Nurse", body="x" * 90_000), *small], 1)
    sink = Counted(broker, {OUT: 89_000, DEAD: 2_000})
    run(broker, sink, Clock(tick_s=0.001), batch=200, codec=make_codec(max_message_bytes=1_000_000))
    assert (len(broker.messages(OUT)), len(broker.messages(DEAD)), committed(broker)) == (40, 1, {0: 41})
    assert sink.tries == 6, "all, those before it, it, its letter, its letter without the value, those behind it"


def test_what_is_postponed_behind_a_lost_partition_is_not_taken_for_the_refused_one() -> None:
    replaced: list[Outcome] = []
    queue = RetryQueue(lambda outcome: replaced.append(outcome) or outcome)  # type: ignore[func-returns-value]
    lost, ours = enrich([make_message(partition=p) for p in (1, 0)], tiny_scorer(), make_codec(), Metrics())
    queue.add([lost, ours], RecordTooLarge(""), trouble="")
    queue.add(queue.take(), RecordTooLarge(""), trouble="")
    assert queue.take() == [lost]
    queue.add([lost], RecordTooLarge(""), trouble="")
    queue.forget({lost.message.topic_partition})
    assert (queue.take(), replaced) == ([ours], [])
    queue.add([ours], RecordTooLarge(""), trouble="")
    assert (queue.take(), replaced) == ([ours], [ours])


def test_a_queue_whose_last_partition_is_lost_forgets_its_trouble() -> None:
    replaced: list[Outcome] = []
    queue = RetryQueue(lambda outcome: replaced.append(outcome) or outcome)  # type: ignore[func-returns-value]
    lost, ours = enrich([make_message(partition=p) for p in (1, 0)], tiny_scorer(), make_codec(), Metrics())
    queue.add([lost], RecordTooLarge(""), trouble="too large")
    queue.add(queue.take(), RecordTooLarge(""), trouble="too large")
    queue.forget({lost.message.topic_partition})
    assert queue.trouble is None
    queue.add([ours], DeliveryFailed(""), trouble="no leader")
    assert (queue.take(), replaced) == ([ours], [])


def test_pauses_between_tries_do_not_slow_the_search_for_the_guilty_one() -> None:
    clock = Clock()
    broker = filled([posting_bytes("Nurse")] * 40 + [BIG] + [posting_bytes("Nurse")] * 40, 1)
    run(broker, Limited(broker), clock, batch=81, turns=200)
    assert clock.now_s == 1_000.0
    assert len(broker.messages(OUT)) == 80
    assert order(broker.messages(DEAD)) == [f"{IN}:0:40"]


def test_of_a_partition_what_was_refused_first_is_sent_in_reading_order() -> None:
    queue = RetryQueue(lambda outcome: outcome)
    first, second = enrich([make_message(offset=o) for o in (3, 12)], tiny_scorer(), make_codec(), Metrics())
    queue.add([second], DeliveryFailed(""), trouble="the client refuses it at once")
    queue.add([first], DeliveryFailed(""), trouble="the broker refused it")
    assert queue.take() == [first, second]
