"""Deletes are forwarded, skipped or dead letters, in both delivery modes, and are never part of the bad share."""

import json
import random
from typing import Any

import pytest

from consumer.delivery.dead_letter_share import DeadLetterShare
from consumer.memory_broker import MemoryBroker, MemorySink, MemoryTransactions
from consumer.metrics import Metrics
from tests.consumer.test_pipeline import P0, WatchedSource, committed
from tests.support.messages import DEAD, OUT, event_id, make_codec, posting_bytes
from tests.support.pipeline import HeldSink, make_pipeline, memory_broker
from tests.support.waiting import wait_until

GONE = (None, b'{"op": "d", "before": {"id": 1}, "after": null}', b'{"id": 7, "removed": true}')
MODES = pytest.mark.parametrize("kind", [MemorySink, MemoryTransactions])
COUNT = 500


def feed(broker: MemoryBroker, *, gone: float = 0.6) -> list[int]:
    """Append messages, a share of which are deletes; returns the offsets of the deletes."""
    rng = random.Random(7)
    deletes = [offset for offset in range(COUNT) if rng.random() < gone]
    for offset in range(COUNT):
        value = rng.choice(GONE) if offset in deletes else posting_bytes(f"Nurse {offset}")
        broker.append(P0, value, key=b"k%d" % offset, headers=(("n", b"%d" % offset),))
    return deletes


def run(broker: MemoryBroker, sink: Any, on_delete: str = "forward", *, seen: int = COUNT) -> tuple[Metrics, DeadLetterShare]:
    """Run over all messages with a limit that a share of a tenth exceeds."""
    source, share, metrics = WatchedSource(broker), DeadLetterShare(limit=0.1, window=50), Metrics()
    codec = make_codec(on_delete=on_delete)
    counted = lambda: (metrics.registry.get_sample_value("occustream_messages_total") or 0) >= seen  # noqa: E731
    stop = lambda: share.exceeded or counted()  # noqa: E731
    make_pipeline(source, sink, batch=8, dead_letter_share=share, stop=stop, codec=codec, metrics=metrics).run()
    return metrics, share


def count(metrics: Metrics, action: str) -> int:
    family = next(f for f in metrics.registry.collect() if f.name == "occustream_deletes")
    return int(sum(s.value for s in family.samples if s.name.endswith("_total") and s.labels["action"] == action))


@MODES
def test_a_topic_of_deletes_does_not_end_the_consumer_and_readers_see_each_of_them(kind: Any) -> None:
    broker = memory_broker(1)
    deletes = feed(broker)
    metrics, share = run(broker, kind(broker))
    out = broker.messages(OUT)
    assert [event_id(record) for record in out] == [f"postings.raw:0:{offset}" for offset in range(COUNT)], "in order, none lost"
    assert [number for number, record in enumerate(out) if record.value is None] == deletes
    assert all(record.key == b"k%d" % number for number, record in enumerate(out))
    assert all(record.headers[0] == ("n", b"%d" % number) for number, record in enumerate(out))
    assert (broker.messages(DEAD), share.share, committed(broker)) == ([], 0.0, {0: COUNT})
    assert count(metrics, "forwarded") == len(deletes)
    assert metrics.registry.get_sample_value("occustream_enriched_total") == COUNT - len(deletes)


@MODES
def test_deletes_that_are_skipped_are_committed_without_a_record(kind: Any) -> None:
    broker = memory_broker(1)
    deletes = feed(broker)
    metrics, share = run(broker, kind(broker), "skip")
    assert [record.key for record in broker.messages(OUT)] == [b"k%d" % n for n in range(COUNT) if n not in deletes]
    assert (broker.messages(DEAD), share.share, committed(broker)) == ([], 0.0, {0: COUNT})
    assert count(metrics, "skipped") == len(deletes)


@MODES
def test_deletes_that_are_dead_letters_are_no_part_of_the_bad_share(kind: Any) -> None:
    broker = memory_broker(1)
    deletes = feed(broker)
    metrics, share = run(broker, kind(broker), "dead-letter")
    letters = broker.messages(DEAD)
    assert [int(event_id(letter).split(":")[2]) for letter in letters] == deletes
    reasons = {(letter.value, dict(letter.headers)["dead-letter.reason"]) for letter in letters}
    assert reasons == {(GONE[0], b"null_value"), (GONE[1], b"deleted"), (GONE[2], b"deleted")}
    assert (share.share, committed(broker)) == (0.0, {0: COUNT})
    assert count(metrics, "dead_letter") == len(deletes)


@MODES
def test_bad_messages_among_deletes_still_end_the_consumer(kind: Any) -> None:
    broker = memory_broker(1)
    for number in range(COUNT):
        broker.append(P0, b"nonsense" if number % 2 else None, key=b"k")
    _metrics, share = run(broker, kind(broker))
    assert share.exceeded


@MODES
@pytest.mark.parametrize("on_delete", ["skip", "forward"])
def test_a_topic_of_nothing_but_deletes_is_committed_to_its_end(kind: Any, on_delete: str) -> None:
    broker = memory_broker(1)
    feed(broker, gone=1.0)
    run(broker, kind(broker), on_delete)
    assert committed(broker) == {0: COUNT}


@MODES
def test_a_delete_without_a_key_names_nothing_and_is_skipped(kind: Any) -> None:
    broker = memory_broker(1)
    broker.append(P0, None)
    metrics, _share = run(broker, kind(broker), seen=1)
    assert (broker.messages(OUT), broker.messages(DEAD), committed(broker)) == ([], [], {0: 1})
    assert count(metrics, "skipped") == 1


def test_a_skipped_delete_is_committed_only_after_the_records_before_it() -> None:
    broker = memory_broker(1)
    broker.append(P0, posting_bytes("Nurse"))
    broker.append(P0, None, key=b"k")
    source, sink = WatchedSource(broker), HeldSink()
    pipeline = make_pipeline(source, sink, batch=2, codec=make_codec(on_delete="skip"), commit_interval_s=0.001)
    source.start(pipeline.on_revoke)
    for _ in range(20):
        pipeline.turn()
    assert len(sink.held) == 1
    assert committed(broker) == {}
    sink.let_through()
    wait_until(lambda: pipeline.turn() or committed(broker) == {0: 2}, "both are committed", 10.0)


def test_envelopes_and_deletes_are_counted_by_kind() -> None:
    broker = memory_broker(1)
    for value in GONE:
        broker.append(P0, value, key=b"k")
    metrics, _share = run(broker, MemorySink(broker), seen=len(GONE))
    for kind in ("tombstone", "debezium", "removed"):
        labels = {"envelope": kind, "action": "forwarded"}
        assert metrics.registry.get_sample_value("occustream_deletes_total", labels) == 1
    assert json.loads(GONE[2] or b"")["removed"] is True
