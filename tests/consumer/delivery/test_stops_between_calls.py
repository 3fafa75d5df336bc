"""A fault harness: the process is stopped before and after each call to the broker, and started again on what it left.

Whatever the moment, nothing is lost, nothing undelivered was committed, and order and dead letters are as without a fault.
"""

import itertools
import random
from collections.abc import Callable, Iterator

import pytest

from consumer.errors import BrokerError
from consumer.memory_broker import MemoryBroker, MemorySink, MemorySource
from consumer.messages import TopicPartition
from consumer.metrics import Metrics
from tests.support.messages import BAD_VALUES, DEAD, IN, OUT, event_id, posting_bytes
from tests.support.pipeline import Clock, StutteringSink, make_pipeline, memory_broker
from tests.support.tiny_model import tiny_scorer

PARTITIONS = 3
MESSAGES = 36

MakeSink = Callable[[MemoryBroker, "StopAt"], MemorySink]


class Killed(BaseException):
    """The process ends here, as by SIGKILL: no `except Exception`, and no closing of anything, may follow."""


class StopAt:
    """Counts the broker calls and raises at the chosen one; None: never."""

    def __init__(self, number: int | None, error: type[BaseException] = Killed) -> None:
        self._number = number
        self._error = error
        self.calls: list[str] = []

    def __call__(self, name: str) -> None:
        self.calls.append(name)
        if len(self.calls) == self._number:
            raise self._error(name)


class Scenario:
    """Messages in three partitions with bad ones among them, and how a process works through them."""

    def __init__(self, sink: MakeSink, *, batch: int, commit_interval_s: float, max_in_flight_messages: int = 4_096) -> None:
        self._sink = sink
        self._knobs = {
            "batch": batch,
            "commit_interval_s": commit_interval_s,
            "max_in_flight_messages": max_in_flight_messages,
            "scorer": tiny_scorer(cache_size=MESSAGES),  # titles are scored once: the test is about delivery
            "metrics": Metrics(),
        }

    def broker(self) -> MemoryBroker:
        broker = memory_broker(PARTITIONS)
        bad = itertools.cycle(value for _reason, value in BAD_VALUES)
        for i in range(MESSAGES):
            value = next(bad) if i % 4 == 2 else posting_bytes(f"Title {i % 5}")
            broker.append(TopicPartition(IN, i % PARTITIONS), value, key=b"%d" % (i % 6))
        return broker

    def run(self, broker: MemoryBroker, stop_at: int | None = None, error: type[BaseException] = Killed) -> list[str]:
        """Start a fresh process and let it work until all is done or it is stopped. Returns its broker calls."""
        fault = StopAt(stop_at, error)
        source = MemorySource(broker, topic=IN, group_id="g", fault=fault)
        pipeline = make_pipeline(
            source,
            self._sink(broker, fault),
            stop=lambda: not any(source.lag().values()),
            clock=Clock(tick_s=0.001),
            **self._knobs,  # type: ignore[arg-type]
        )
        try:
            pipeline.run()
        finally:
            assert_nothing_undelivered_is_committed(broker)
        return fault.calls


def prompt(broker: MemoryBroker, fault: StopAt) -> MemorySink:
    """All is sent at the next poll."""
    return MemorySink(broker, fault=fault)


def stuttering(broker: MemoryBroker, fault: StopAt) -> MemorySink:
    """A few records a poll, partitions out of step: batches land in pieces, commits fall between them."""
    return StutteringSink(broker, seed=7, fault=fault)


SCENARIOS = {
    "one batch, one commit": Scenario(prompt, batch=100, commit_interval_s=1e6),
    "small batches, a commit at every turn": Scenario(prompt, batch=3, commit_interval_s=0.0),
    "batches land in pieces, a commit at every turn": Scenario(stuttering, batch=5, commit_interval_s=0.0),
    "batches land in pieces, commits now and then": Scenario(stuttering, batch=4, commit_interval_s=0.05),
    "reading waits for what is in flight": Scenario(stuttering, batch=4, commit_interval_s=0.0, max_in_flight_messages=6),
}
each_scenario = pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())


def delivered(broker: MemoryBroker) -> set[str]:
    return {event_id(m) for topic in (OUT, DEAD) for m in broker.messages(topic)}


def assert_nothing_undelivered_is_committed(broker: MemoryBroker) -> None:
    there = delivered(broker)
    for (_group, partition), offset in broker.committed.items():
        missing = {f"{IN}:{partition.partition}:{i}" for i in range(offset)} - there
        assert not missing, f"committed {partition} up to {offset}, but never delivered {sorted(missing)}"


def assert_all_is_well(broker: MemoryBroker) -> None:
    """The end of every story: all answered, in order, by the right kind of record, all committed."""
    inputs = {m.event_id: m for m in broker.messages(IN)}
    planted = {m.event_id for m in inputs.values() if m.value in {value for _, value in BAD_VALUES}}
    assert {event_id(m) for m in broker.messages(DEAD)} == planted
    assert {event_id(m) for m in broker.messages(OUT)} == inputs.keys() - planted
    for topic in (OUT, DEAD):
        for partition in broker.partitions(topic):
            origins = [inputs[event_id(record)] for record in broker.logs[partition]]
            firsts = list(dict.fromkeys(m.offset for m in origins))
            assert firsts == sorted(firsts), f"{partition} has its first occurrences out of order"
            assert [m.key for m in origins] == [record.key for record in broker.logs[partition]]
            if topic == DEAD:
                assert [m.value for m in origins] == [record.value for record in broker.logs[partition]]
    assert {p: offset for (_group, p), offset in broker.committed.items()} == {
        p: len(broker.logs[p]) for p in broker.partitions(IN)
    }


@each_scenario
def test_without_a_fault_every_message_has_exactly_one_record(scenario: Scenario) -> None:
    broker = scenario.broker()
    calls = scenario.run(broker)
    assert_all_is_well(broker)
    assert len(broker.messages(OUT)) + len(broker.messages(DEAD)) == MESSAGES
    assert set(calls) == {f"{when}:{what}" for when in ("before", "after") for what in ("poll", "produce", "send", "commit")}


@each_scenario
def test_a_stop_at_any_broker_call_loses_nothing_and_commits_nothing_undelivered(scenario: Scenario) -> None:
    stop_points = len(scenario.run(scenario.broker()))
    assert stop_points > 2 * MESSAGES
    for k in range(1, stop_points + 1):
        broker = scenario.broker()
        with pytest.raises(Killed):
            scenario.run(broker, stop_at=k)
        scenario.run(broker)
        assert_all_is_well(broker)


@each_scenario
def test_a_refusal_of_any_broker_call_loses_nothing_and_commits_nothing_undelivered(scenario: Scenario) -> None:
    for k in range(1, len(scenario.run(scenario.broker())) + 1, 2):
        broker = scenario.broker()
        with pytest.raises(BrokerError):
            scenario.run(broker, stop_at=k, error=BrokerError)
        scenario.run(broker)
        assert_all_is_well(broker)


@each_scenario
def test_a_stop_repeats_at_most_what_was_not_committed(scenario: Scenario) -> None:
    for k in range(1, len(scenario.run(scenario.broker())) + 1, 5):
        broker = scenario.broker()
        with pytest.raises(Killed):
            scenario.run(broker, stop_at=k)
        before = len(broker.messages(OUT)) + len(broker.messages(DEAD))
        left = MESSAGES - sum(broker.committed.values())
        scenario.run(broker)
        assert len(broker.messages(OUT)) + len(broker.messages(DEAD)) == before + left


def stop_points(seed: int) -> Iterator[int]:
    """A process that is stopped again and again, at times before it has done anything of use."""
    rng = random.Random(seed)
    while True:
        yield rng.randint(1, 60)


@each_scenario
@pytest.mark.parametrize("seed", range(6))
def test_stopped_again_and_again_the_work_is_done_all_the_same(scenario: Scenario, seed: int) -> None:
    broker = scenario.broker()
    kills = 0
    for k in itertools.islice(stop_points(seed), 25):
        try:
            scenario.run(broker, stop_at=k)
        except Killed:
            kills += 1
    scenario.run(broker)
    assert kills > 0
    assert_all_is_well(broker)
