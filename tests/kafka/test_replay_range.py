"""A range of the input enriched again, in a group of its own, on a real Kafka."""

import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import confluent_kafka as ck
import pytest

from consumer.codec import Codec
from consumer.errors import BrokerError
from consumer.kafka.client import partition_count
from consumer.kafka.range_source import RangeSource, open_range
from consumer.messages import Message
from consumer.metrics import Metrics
from consumer.times import Period
from tests.kafka.jobs import Job
from tests.kafka.workers import Workers
from tests.support.brokers import FAST_GROUP, GROUP_PROTOCOLS, Kafka, unique
from tests.support.messages import event_id, posting_bytes
from tests.support.pipeline import HeldSink, make_pipeline
from tests.support.waiting import WAIT_S, wait_until

pytestmark = pytest.mark.kafka

HOUR_MS = 3_600_000
START_MS = time.time_ns() // 1_000_000 // HOUR_MS * HOUR_MS - 10 * HOUR_MS
SAME = 1e-3
"""How far a probability may be off when a posting is scored in another batch; see docs/replay.md."""
DELIVERIES = ("at-least-once", "exactly-once")


def hour(number: int) -> int:
    return START_MS + number * HOUR_MS


class Replay:
    """An input topic with two messages an hour in each of its partitions but the last, for ten hours, and its replays."""

    def __init__(self, kafka: Kafka, partitions: int = 3) -> None:
        self.kafka = kafka
        self.input, self.out, self.dead = (kafka.create_topic(partitions) for _ in range(3))
        self.group = unique("replay")
        for at in range(20):
            for partition in range(partitions - 1):
                self.append(partition, hour(0) + at * HOUR_MS // 2)
        kafka.flush()

    def append(self, partition: int, timestamp_ms: int) -> None:
        self.kafka.append(Message(self.input, partition, -1, None, posting_bytes("Nurse"), timestamp_ms=timestamp_ms))

    def open(self, from_ms: int | None, to_ms: int | None, **properties: Any) -> RangeSource:
        given = {"bootstrap.servers": self.kafka.servers, "group.id": self.group, **FAST_GROUP, **properties}
        return open_range(given, self.input, Period(from_ms, to_ms), events=Metrics())

    def run(self, source: RangeSource, delivery: str = "at-least-once", *, stop_after: int = 10**9) -> None:
        """Enrich until the range is through, or so many messages have been read."""
        sink = self.kafka.sink_of(delivery, self.out, self.dead)
        metrics, until = Metrics(), time.monotonic() + WAIT_S

        def stop() -> bool:
            assert time.monotonic() < until, source.summary()
            return source.finished() or (metrics.registry.get_sample_value("occustream_messages_total") or 0) >= stop_after

        codec = Codec(output_topic=self.out, dead_letter_topic=self.dead, max_message_bytes=20_000, max_title_chars=1_000)
        make_pipeline(source, sink, metrics=metrics, stop=stop, codec=codec, commit_interval_s=0.1).run()

    def replayed(self) -> list[tuple[int, int]]:
        """Return the place of each input message that was enriched, in the order of the output."""
        return [tuple(map(int, event_id(m).split(":")[1:])) for m in self.kafka.messages(self.out)]  # type: ignore[misc]

    def committed(self) -> dict[int, int]:
        return {p.partition: offset for p, offset in self.kafka.committed(self.group, self.input).items()}

    def break_off(self, partition: int) -> None:
        """End a partition with a transaction that is aborted: offsets that nobody will ever see."""
        self.kafka.begin(self.input, posting_bytes("Nurse"), partition=partition).abort_transaction(WAIT_S)


@pytest.fixture
def replay(kafka: Kafka) -> Replay:
    return Replay(kafka)


def places(first: int, end: int) -> list[tuple[int, int]]:
    return [(partition, offset) for partition in (0, 1) for offset in range(first, end)]


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [(hour(2), hour(5), places(4, 10)), (hour(7), None, places(14, 20)), (None, hour(3), places(0, 6))],
    ids=["both", "from", "to"],
)
def test_what_was_written_in_the_range_is_enriched_once_and_no_more(
    replay: Replay, delivery: str, since: int | None, until: int | None, expected: list[tuple[int, int]]
) -> None:
    source = replay.open(since, until)
    replay.run(source, delivery)
    assert replay.replayed() == expected
    assert source.summary().endswith(f"{len(expected)} messages here, and the group has committed all of it")
    end = expected[-1][1] + 1
    assert replay.committed() == {0: end, 1: end, 2: 0}


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize("protocol", GROUP_PROTOCOLS)
def test_what_was_never_committed_at_the_end_of_the_range_does_not_hold_it_up(
    replay: Replay, delivery: str, protocol: str
) -> None:
    for partition in range(3):
        replay.break_off(partition)
    replay.run(replay.open(None, None, **GROUP_PROTOCOLS[protocol]), delivery)
    assert replay.replayed() == places(0, 20)
    assert replay.committed() == {0: 22, 1: 22, 2: 2}


def test_what_lies_behind_a_transaction_that_is_open_at_the_start_is_part_of_it(replay: Replay) -> None:
    other = replay.kafka.begin(replay.input, posting_bytes("Nurse"))
    replay.append(0, hour(10))
    replay.kafka.flush()
    source = replay.open(None, None)
    other.commit_transaction(WAIT_S)
    replay.run(source)
    assert sorted(replay.replayed()) == sorted([*places(0, 20), (0, 20), (0, 21)])


def test_the_end_is_not_committed_before_the_records_of_the_range_are_acknowledged(
    replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumer.kafka.range_source.CHECK_INTERVAL_S", 0.1)
    source, sink = replay.open(None, hour(3)), HeldSink()
    pipeline = make_pipeline(source, sink, batch=1, commit_interval_s=0.1)
    source.start(pipeline.on_revoke)
    wait_until(lambda: pipeline.turn() or len(sink.taken) == 12, "all of the range is under way")  # type: ignore[func-returns-value]
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        pipeline.turn()
        assert not source.finished()
    assert replay.committed() == {0: 0, 1: 0, 2: 0}
    sink.let_through()
    wait_until(lambda: pipeline.turn() or source.finished(), "the group is through")  # type: ignore[func-returns-value]
    assert replay.committed() == {0: 6, 1: 6, 2: 0}
    source.close()


def test_what_comes_while_it_runs_is_not_part_of_it(replay: Replay) -> None:
    source = replay.open(hour(9), None)
    for _ in range(5):
        replay.append(0, hour(10))
    replay.kafka.flush()
    replay.run(source)
    assert replay.replayed() == places(18, 20)


def test_a_partition_that_is_added_meanwhile_is_not_part_of_it_and_does_not_end_it(replay: Replay) -> None:
    source = replay.open(hour(9), None, **{"topic.metadata.refresh.interval.ms": 500})
    replay.kafka.admin.create_partitions([ck.admin.NewPartitions(replay.input, 4)])[replay.input].result(WAIT_S)
    producer = ck.Producer({"bootstrap.servers": replay.kafka.servers, "log_level": 3})
    wait_until(lambda: partition_count(producer, replay.input) == 4, "the partition is there")
    producer.produce(replay.input, posting_bytes("Nurse"), partition=3, timestamp=hour(9))
    assert producer.flush(WAIT_S) == 0
    replay.run(source)
    assert replay.replayed() == places(18, 20)
    assert source.done


@pytest.mark.parametrize(("since", "until"), [(hour(20), None), (hour(-5), hour(-2)), (hour(4) + 1, hour(4) + 2)])
def test_a_range_without_messages_says_so_at_once(replay: Replay, since: int, until: int | None) -> None:
    source = replay.open(since, until)
    assert source.done
    assert "nothing to replay of" in source.summary()
    source.close()


def test_it_goes_on_after_what_is_committed_and_has_nothing_to_do_when_all_is(replay: Replay) -> None:
    first = replay.open(hour(2), hour(8))
    replay.run(first, stop_after=5)
    assert "run the same again" in first.summary()
    done = len(replay.replayed())
    assert 5 <= done < 24
    second = replay.open(hour(2), hour(8))
    replay.run(second)
    assert sorted(replay.replayed()) == places(4, 16)
    third = replay.open(hour(2), hour(8))
    assert third.done
    third.close()


def test_several_members_share_it_and_each_ends_when_the_group_is_through(replay: Replay) -> None:
    sources = [replay.open(hour(1), hour(9)) for _ in range(3)]
    threads = [threading.Thread(target=replay.run, args=(source,)) for source in sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * WAIT_S)
    assert [source.done for source in sources] == [True] * 3
    assert set(replay.replayed()) == set(places(2, 18))


def test_a_group_that_has_read_something_else_is_refused(replay: Replay) -> None:
    client = ck.Consumer({"bootstrap.servers": replay.kafka.servers, "group.id": replay.group, "enable.auto.commit": False})
    client.commit(offsets=[ck.TopicPartition(replay.input, 1, 19)], asynchronous=False)
    client.close()
    with pytest.raises(BrokerError, match=r"has committed 19 of .*\[1\], which is outside of the range to replay, 4 to 10"):
        replay.open(hour(2), hour(5))


@pytest.mark.parametrize("protocol", GROUP_PROTOCOLS)
def test_a_group_that_is_at_work_on_something_else_is_refused(replay: Replay, protocol: str) -> None:
    live = replay.kafka.source(replay.input, replay.group, **GROUP_PROTOCOLS[protocol], **{"client.id": "live"})
    live.start(lambda _partitions, _lost: None)
    wait_until(lambda: bool(live.poll(1, 0.1)), "the live consumer reads")
    with pytest.raises(BrokerError, match=r"is at work \(live\) on something else than this replay"):
        replay.open(None, None)
    live.close()


@pytest.mark.model
def test_a_replay_killed_midway_and_run_again_finds_what_the_live_stream_found(
    kafka_servers: str, starter_registry: Path, workers: Workers
) -> None:
    job = Job(kafka_servers)
    job.feed(1_500)
    live = workers.start(job, starter_registry).wait_ready()
    wait_until(job.all_committed, "the live stream is worked off", 90.0)
    assert live.stop() == 0
    enriched = found(job)
    again = Job(kafka_servers)
    again.input = job.input
    flags = ("--from-timestamp=2020-01-01", "--batch-max-count=17", "--commit-interval-s=0.1")
    killed = workers.start(again, starter_registry, *flags)
    wait_until(lambda: again.records() > 300, "the replay is under way", 90.0)
    killed.kill()
    assert again.records() < 1_500
    second = workers.start(again, starter_registry, *flags)
    assert second.wait_ended(90.0) == 0
    replayed = found(again)
    assert replayed.keys() == enriched.keys()
    assert {name: list(codes) for name, codes in replayed.items()} == {name: list(codes) for name, codes in enriched.items()}
    off = max(abs(replayed[name][code] - p) for name, codes in enriched.items() for code, p in codes.items())
    print(f"probabilities are off by at most {off:.1e}")
    assert off <= SAME


def found(job: Job) -> dict[str, Mapping[str, float]]:
    """Return, by event, the occupations that were found and their probabilities."""
    _inputs, enriched, _dead = job.read()
    events = {event_id(record): json.loads(record.value or b"") for record in enriched}
    return {name: {o["onet_code"]: o["probability"] for o in event["occupations"]} for name, event in events.items()}
