"""The laws of the loop, on the memory broker: what is finished, committed, given back, and when."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

import pytest

from consumer.batcher import BatchPolicy
from consumer.errors import BackgroundFailed, BrokerError
from consumer.memory_broker import MemoryBroker, MemorySink, MemorySource
from consumer.messages import Message, OnAck, Record, TopicPartition
from consumer.metrics import Metrics
from consumer.model.answers import Answer
from consumer.model.scorer import Scorer
from consumer.pipeline import LIVE_WITHIN_S, Pipeline
from tests.support.messages import DEAD, IN, OUT, event_id, posting_bytes
from tests.support.pipeline import Clock, HeldSink, make_pipeline, memory_broker
from tests.support.tiny_model import tiny_scorer

P0, P1, P2 = (TopicPartition(IN, partition) for partition in range(3))


class WatchedSource(MemorySource):
    """Notes what it is asked for."""

    def __init__(self, broker: MemoryBroker, clock: Clock | None = None) -> None:
        super().__init__(broker, topic=IN, group_id="g")
        self._clock = clock or Clock()
        self.polls: list[int] = []
        self.heartbeats = self.closes = 0
        self.commits: list[tuple[float, dict[TopicPartition, int], bool]] = []

    def poll(self, max_count: int, timeout_s: float) -> Sequence[Message]:
        self.polls.append(max_count)
        return super().poll(max_count, 0.0)

    def heartbeat(self) -> None:
        self.heartbeats += 1

    def commit(self, offsets: Mapping[TopicPartition, int], *, wait: bool) -> None:
        self.commits.append((self._clock.now_s, dict(offsets), wait))
        super().commit(offsets, wait=wait)

    def close(self) -> None:
        self.closes += 1
        super().close()


def filled(count: int, partitions: int = 3) -> MemoryBroker:
    """Return a broker whose partitions hold `count` postings each."""
    broker = memory_broker(partitions)
    for i in range(count):
        for partition in range(partitions):
            broker.append(TopicPartition(IN, partition), posting_bytes(f"Nurse {partition} {i}"), key=b"%d" % partition)
    return broker


def turns(pipeline: Pipeline, source: MemorySource, count: int) -> None:
    """Join, then turn the loop `count` times."""
    source.start(pipeline.on_revoke)
    for _ in range(count):
        pipeline.turn()


def committed(broker: MemoryBroker) -> dict[int, int]:
    """Return what was committed beyond the offset 0 at which the group began."""
    return {p.partition: offset for (_group, p), offset in broker.committed.items() if offset}


def of(partition: int) -> Callable[[Record], bool]:
    return lambda record: record.input_partition == partition


def stop_after(turns: int) -> Iterator[bool]:
    yield from [False] * turns
    while True:
        yield True


# ---- drain -----------------------------------------------------------------------------------------------------------


def test_a_drain_finishes_and_commits_what_was_read_and_leaves_the_rest() -> None:
    broker = filled(10)
    source = WatchedSource(broker)
    stops = stop_after(2)
    make_pipeline(source, MemorySink(broker), batch=8, stop=lambda: next(stops)).run()
    assert len(broker.messages(OUT)) == 16
    assert sum(committed(broker).values()) == 16
    assert source.commits[-1][2], "the last commit waits for the broker"
    assert source.closes == 1


@pytest.mark.parametrize("drain_timeout_s", [0.5, 5.0])
def test_a_drain_ends_within_its_timeout_though_nothing_is_acknowledged(drain_timeout_s: float) -> None:
    clock = Clock()
    broker = filled(10)
    source, sink = WatchedSource(broker), HeldSink(clock)
    pipeline = make_pipeline(source, sink, clock=clock, drain_timeout_s=drain_timeout_s)
    turns(pipeline, source, 2)
    begun = clock.now_s
    pipeline.drain()
    assert clock.now_s - begun <= drain_timeout_s + 0.1
    assert committed(broker) == {}
    assert source.closes == 1


def test_a_drain_scores_no_further_batch_once_its_time_is_up() -> None:
    clock = Clock()
    broker = filled(10)
    source = WatchedSource(broker)
    scored = []

    class Slow(Scorer):
        def score(self, titles: Sequence[str], bodies: Sequence[str | None] = (), **limits: object) -> list[Answer]:
            scored.append(len(titles))
            clock.now_s += 3.0
            return super().score(titles, bodies, **limits)

    tiny = tiny_scorer()
    slow = Slow(tiny.manifest, tiny.encoder, tiny.mixture, top_n=1)
    policy = BatchPolicy(max_count=10, max_bytes=100, max_age_s=60.0)
    pipeline = make_pipeline(source, MemorySink(broker), batch=policy, scorer=slow, clock=clock, drain_timeout_s=5.0)
    turns(pipeline, source, 1)
    before = len(scored)
    pipeline.drain()
    assert len(scored) - before == 2, "the third of several waiting batches would start after five seconds"
    assert sum(committed(broker).values()) == len(broker.messages(OUT)) == sum(scored)


def test_a_drain_shows_as_not_ready() -> None:
    broker = filled(1)
    source = WatchedSource(broker)
    pipeline = make_pipeline(source, MemorySink(broker))
    assert pipeline.ready() == "no partition is assigned"
    turns(pipeline, source, 1)
    assert pipeline.ready() is None
    pipeline.drain()
    assert pipeline.ready() == "draining"


class SilencedSource(WatchedSource):
    """Has partitions that it cannot read while `silence` says why."""

    silence: str | None = None

    @property
    def trouble(self) -> str | None:
        return self.silence


def test_without_a_broker_that_answers_nothing_is_ready_or_counted_as_assigned() -> None:
    source, metrics = SilencedSource(filled(1)), Metrics()
    pipeline = make_pipeline(source, MemorySink(filled(0)), metrics=metrics)
    turns(pipeline, source, 1)
    assert (pipeline.ready(), metrics.registry.get_sample_value("occustream_assigned_partitions")) == (None, 3)
    source.silence = "no broker has answered for 30 s"
    pipeline.turn()
    assert pipeline.ready() == "no broker has answered for 30 s"
    assert metrics.registry.get_sample_value("occustream_assigned_partitions") == 0


def test_a_loop_that_stands_still_is_neither_live_nor_ready() -> None:
    clock, broker = Clock(), filled(1)
    source = WatchedSource(broker)
    pipeline = make_pipeline(source, MemorySink(broker), clock=clock)
    turns(pipeline, source, 1)
    assert pipeline.live() is None
    clock.now_s += LIVE_WITHIN_S + 1
    assert "has not turned" in str(pipeline.live())
    assert "has not turned" in str(pipeline.ready())


# ---- commits ---------------------------------------------------------------------------------------------------------


def test_commits_are_the_commit_interval_apart_and_only_of_what_moved() -> None:
    clock, broker = Clock(tick_s=0.01), filled(100)
    source = WatchedSource(broker, clock)
    pipeline = make_pipeline(source, MemorySink(broker), clock=clock, commit_interval_s=0.5)
    turns(pipeline, source, 400)
    times = [at for at, _offsets, _wait in source.commits]
    assert len(times) >= 3
    assert all(later - earlier >= 0.5 for earlier, later in pairwise(times))
    assert committed(broker) == {0: 100, 1: 100, 2: 100}
    assert all(offsets for _at, offsets, _wait in source.commits)
    before = len(source.commits)
    for _ in range(200):
        pipeline.turn()
    assert len(source.commits) == before, "nothing moved, nothing to commit"


def test_an_offset_waits_for_the_messages_before_it() -> None:
    broker = filled(6, partitions=1)
    source, sink = WatchedSource(broker), HeldSink()
    pipeline = make_pipeline(source, sink, batch=6, commit_interval_s=0.0)
    turns(pipeline, source, 1)
    third = sink.taken[2]
    sink.let_through(lambda record: record is not third)
    pipeline.turn()
    assert committed(broker) == {0: 2}
    sink.let_through()
    pipeline.turn()
    assert committed(broker) == {0: 6}


# ---- backpressure ----------------------------------------------------------------------------------------------------


def test_backpressure_stops_reading_but_keeps_the_heartbeat() -> None:
    clock, broker = Clock(), filled(20)
    source, sink = WatchedSource(broker), HeldSink(clock)
    pipeline = make_pipeline(source, sink, batch=4, clock=clock, max_in_flight_messages=10)
    turns(pipeline, source, 3)
    assert len(sink.taken) == 12, "a batch is never cut: the limit is passed by less than one"
    polls = len(source.polls)
    for _ in range(50):
        pipeline.turn()
    assert len(source.polls) == polls
    assert source.heartbeats == 50
    assert len(sink.taken) == 12
    sink.let_through()
    pipeline.turn()
    pipeline.turn()
    assert len(source.polls) == polls + 1
    assert len(sink.taken) == 16


# ---- ends ------------------------------------------------------------------------------------------------------------


def test_a_drain_leaves_what_the_broker_refuses_uncommitted() -> None:
    broker = filled(10, partitions=1)
    source, sink = WatchedSource(broker), HeldSink()

    def stop() -> bool:
        if len(sink.taken) < 8:
            return False
        sink.let_through(error=lambda record: "gone" if record is sink.taken[2] else None)
        return True

    make_pipeline(source, sink, stop=stop).run()
    assert committed(broker) == {0: 2}
    assert source.closes == 1


def test_a_drain_writes_nothing_that_would_overtake_what_was_refused() -> None:
    broker = filled(10, partitions=1)
    source, sink = WatchedSource(broker), HeldSink()
    pipeline = make_pipeline(source, sink, batch=4, stop=lambda: refused())
    source.poll = lambda _count, timeout_s: MemorySource.poll(source, 10, timeout_s)  # type: ignore[method-assign]

    def refused() -> bool:
        if len(sink.taken) < 4:
            return False
        sink.let_through(error=lambda _record: "gone")
        return True

    pipeline.run()
    assert [event_id(record) for record in sink.taken] == [f"{IN}:0:{offset}" for offset in range(4)]
    assert committed(broker) == {}


def test_a_fatal_client_error_ends_the_run_and_the_next_run_reads_again() -> None:
    class Broken(MemorySink):
        def produce(self, record: Record, on_ack: OnAck) -> None:
            if len(self._queue) == 2:
                raise BrokerError("the producer failed for good")
            super().produce(record, on_ack)

    broker = filled(10, partitions=1)
    source = WatchedSource(broker)
    with pytest.raises(BrokerError, match="for good"):
        make_pipeline(source, Broken(broker), commit_interval_s=0.0).run()
    assert committed(broker).get(0, 0) <= len(broker.messages(OUT))
    assert source.closes == 1
    again = WatchedSource(broker)
    stops = stop_after(10)
    make_pipeline(again, MemorySink(broker), stop=lambda: next(stops)).run()
    assert {event_id(m) for m in broker.messages(OUT)} == {f"{IN}:0:{i}" for i in range(10)}


def test_what_dies_in_the_background_ends_the_run_and_nothing_more_is_committed() -> None:
    broker = filled(10, partitions=1)
    source = WatchedSource(broker)
    alive = iter([None, None])

    def check() -> None:
        if next(alive, "dead") == "dead":
            raise BackgroundFailed("thread 'http' died")

    with pytest.raises(BackgroundFailed, match="http"):
        make_pipeline(source, MemorySink(broker), check_background=check, commit_interval_s=1e6).run()
    assert committed(broker) == {}
    assert source.closes == 1


# ---- rebalances ------------------------------------------------------------------------------------------------------


def test_a_revoke_waits_for_and_commits_only_the_partitions_that_are_revoked() -> None:
    clock, broker = Clock(), filled(4)
    source, sink = WatchedSource(broker), HeldSink(clock)
    pipeline = make_pipeline(source, sink, batch=12, clock=clock, commit_interval_s=1e6)
    turns(pipeline, source, 1)
    assert len(sink.taken) == 12
    sink.let_through(of(0))
    begun = clock.now_s
    source.revoke({P0})
    assert clock.now_s == begun, "no waiting for partitions 1 and 2, whose records nobody acknowledges"
    assert committed(broker) == {0: 4}
    sink.let_through()
    pipeline.drain()
    assert committed(broker) == {0: 4, 1: 4, 2: 4}


def test_a_revoke_drops_what_waits_to_be_scored_and_keeps_the_rest() -> None:
    clock, broker = Clock(), filled(2)
    source = WatchedSource(broker)
    pipeline = make_pipeline(source, MemorySink(broker), batch=100, clock=clock)
    turns(pipeline, source, 1)
    source.revoke({P1})
    clock.now_s += 1.0
    pipeline.turn()
    assert sorted(event_id(m) for m in broker.messages(OUT)) == [f"{IN}:{p}:{i}" for p in (0, 2) for i in range(2)]
    source.assign({P1})
    pipeline.turn()
    clock.now_s += 1.0
    pipeline.turn()
    assert len(broker.messages(OUT)) == 6, "given back, it is read from the committed offset"


def test_a_revoke_gives_up_when_its_time_is_up_and_commits_only_the_finished_prefix() -> None:
    clock, broker = Clock(), filled(4, partitions=1)
    source, sink = WatchedSource(broker), HeldSink(clock)
    pipeline = make_pipeline(source, sink, clock=clock, drain_timeout_s=7.0)
    turns(pipeline, source, 1)
    sink.let_through(lambda record: record in sink.taken[:2])
    begun = clock.now_s
    source.revoke({P0})
    assert 7.0 <= clock.now_s - begun <= 7.1
    assert committed(broker) == {0: 2}


def test_a_lost_partition_is_never_committed_not_even_by_what_lands_later() -> None:
    clock, broker = Clock(), filled(4)
    source, sink = WatchedSource(broker), HeldSink(clock)
    pipeline = make_pipeline(source, sink, batch=12, clock=clock, commit_interval_s=0.0)
    turns(pipeline, source, 1)
    begun = clock.now_s
    source.revoke({P0, P1}, lost=True)
    assert clock.now_s == begun, "it is another's already: nothing to wait for"
    sink.let_through()
    pipeline.turn()
    pipeline.drain()
    assert committed(broker) == {2: 4}


def test_what_landed_but_was_not_committed_before_the_loss_stays_uncommitted() -> None:
    broker = filled(4)
    source = WatchedSource(broker)
    pipeline = make_pipeline(source, MemorySink(broker), batch=12, commit_interval_s=1e6)
    turns(pipeline, source, 2)
    source.revoke({P0}, lost=True)
    pipeline.drain()
    assert committed(broker) == {1: 4, 2: 4}


# ---- models ----------------------------------------------------------------------------------------------------------


def test_a_model_swap_happens_between_batches() -> None:
    broker = filled(12, partitions=1)
    source, sink = WatchedSource(broker), MemorySink(broker)
    offers = iter([None, tiny_scorer("v2"), None, None])
    metrics = Metrics()
    pipeline = make_pipeline(source, sink, next_scorer=lambda: next(offers, None), metrics=metrics)
    turns(pipeline, source, 4)
    versions = [dict(m.headers)["occustream.model-version"] for m in broker.messages(OUT)]
    assert versions == [b"v1"] * 4 + [b"v2"] * 8
    (sample,) = metrics.model_info.collect()[0].samples
    assert sample.labels["version"] == "v2"


def test_dead_letters_and_enriched_records_are_counted_when_they_have_landed() -> None:
    broker = memory_broker(1)
    for value in (posting_bytes("Nurse"), b"nonsense", posting_bytes("Cook")):
        broker.append(P0, value)
    source, sink, metrics = WatchedSource(broker), HeldSink(), Metrics()
    pipeline = make_pipeline(source, sink, batch=3, metrics=metrics)
    turns(pipeline, source, 1)

    def count(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(name, labels)

    assert count("occustream_messages_total") == 3
    assert count("occustream_enriched_total") == 0
    assert count("occustream_in_flight_messages") == 3
    sink.let_through()
    pipeline.turn()
    assert count("occustream_enriched_total") == 2
    assert count("occustream_dead_letters_total", reason="not_json") == 1
    assert count("occustream_in_flight_messages") == 0
    assert [record.topic for record in sink.taken] == [OUT, DEAD, OUT]
