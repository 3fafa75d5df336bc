"""A consumer ends when too many of its last messages are bad, instead of draining a topic into dead letters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.delivery.dead_letter_share import DeadLetterShare
from consumer.errors import TooManyDeadLetters
from consumer.memory_broker import MemorySink, MemoryTransactions
from consumer.metrics import Metrics
from tests.consumer.delivery.test_retries import RefusingTransactions
from tests.consumer.test_pipeline import P0, WatchedSource, committed
from tests.support.messages import DEAD, OUT, posting_bytes
from tests.support.pipeline import make_pipeline, memory_broker


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 12), st.sampled_from([0.1, 0.25, 0.5, 0.9, 1.0]))
def test_the_limit_is_exceeded_when_the_last_window_holds_more_bad_ones(bad: list[bool], window: int, limit: float) -> None:
    share = DeadLetterShare(limit=limit, window=window)
    shares = []
    for number, is_bad in enumerate(bad, start=1):
        share.add("not_json" if is_bad else None)
        shares.append(sum(bad[max(0, number - window) : number]) / window)
        assert share.share == shares[-1]
        assert share.exceeded == (max(shares) > limit)


def test_the_verdict_names_share_window_commonest_reasons_and_the_way_out() -> None:
    share = DeadLetterShare(limit=0.2, window=1_000)
    for reason in ["not_json"] * 150 + ["no_title"] * 49 + ["null_value"] * 2:
        share.check()
        share.add(reason)
    with pytest.raises(TooManyDeadLetters) as caught:
        share.check()
    told = str(caught.value)
    assert told.startswith("201 of the last 1,000 messages (bad_share_window) became dead letters, above the limit of 0.2")
    assert "150 not_json, 49 no_title, 2 null_value" in told
    assert "Mend the producer" in told
    assert "--bad-share-limit" in told


def test_once_exceeded_good_messages_read_while_draining_do_not_hide_it() -> None:
    share = DeadLetterShare(limit=0.5, window=2)
    for reason in ("not_json", "not_json", None, None):
        share.add(reason)
    assert (share.share, share.exceeded) == (0.0, True)


@pytest.mark.parametrize("kind", [MemorySink, MemoryTransactions])
def test_a_stream_that_turns_bad_ends_with_all_that_was_read_delivered_and_committed(
    kind: type[MemorySink | MemoryTransactions],
) -> None:
    broker = memory_broker(1)
    for number in range(1_000):
        broker.append(P0, posting_bytes(f"Nurse {number}") if number < 100 else b"nonsense")
    source, share = WatchedSource(broker), DeadLetterShare(limit=0.5, window=40)
    make_pipeline(source, kind(broker), batch=4, dead_letter_share=share, stop=lambda: share.exceeded).run()
    letters = len(broker.messages(DEAD))
    assert len(broker.messages(OUT)) == 100
    assert 21 <= letters <= 21 + 3 * 4, "half a window, and what was in flight"
    assert committed(broker) == {0: 100 + letters}
    assert source.closes == 1


def test_a_batch_that_is_read_again_counts_once_it_is_written() -> None:
    broker = memory_broker(1)
    for _ in range(4):
        broker.append(P0, b"nonsense")
    source, sink, share = WatchedSource(broker), RefusingTransactions(broker), DeadLetterShare(limit=0.5, window=8)
    pipeline = make_pipeline(source, sink, batch=4, dead_letter_share=share, clock=sink.clock)
    sink.refused = {DEAD}
    source.start(pipeline.on_revoke)
    for _ in range(20):
        sink.clock.now_s += 20
        pipeline.turn()
    assert len(sink.tries) > 3
    assert share.share == 0
    sink.refused = set()
    for _ in range(3):
        sink.clock.now_s += 20
        pipeline.turn()
    assert share.share == 0.5
    assert not share.exceeded


def test_the_metric_is_there() -> None:
    assert Metrics().registry.get_sample_value("occustream_bad_share") == 0
