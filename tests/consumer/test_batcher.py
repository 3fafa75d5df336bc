"""Micro-batches are the stream cut in pieces: nothing added, lost or reordered, no limit passed, nothing kept waiting."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.batcher import Batcher, BatchPolicy
from consumer.messages import Message, TopicPartition
from tests.support.messages import make_message


def messages(*sizes: int, start: int = 0, partition: int = 0) -> list[Message]:
    return [make_message(b"x" * size, offset=offset, partition=partition) for offset, size in enumerate(sizes, start)]


policies = st.builds(BatchPolicy, st.integers(1, 5), st.integers(1, 20), st.sampled_from([0.0, 1.0, 3.0]))
arrivals = st.lists(st.tuples(st.lists(st.integers(0, 30), max_size=7), st.sampled_from([0.0, 0.5, 2.0])), max_size=10)


@given(policies, arrivals)
def test_batches_are_the_stream_in_order_within_the_limits(policy: BatchPolicy, arrivals: list[tuple[list[int], float]]) -> None:
    batcher, now_s, stream, batches = Batcher(policy), 0.0, [], []
    for sizes, passed_s in arrivals:
        now_s += passed_s
        arrived = messages(*sizes, start=len(stream))
        batcher.add(arrived, now_s)
        stream += arrived
        waiting = stream[sum(len(b.messages) for b in batches) :]
        while batch := batcher.take(now_s):
            assert batch.trigger != "bytes" or sum(m.size_bytes for m in waiting) >= policy.max_bytes
            waiting = waiting[len(batch.messages) :]
            batches.append(batch)
        assert len(batcher) == len(waiting) < policy.max_count, "a full batch was kept waiting"
        assert sum(m.size_bytes for m in waiting) < policy.max_bytes or not waiting
        assert not waiting or (batcher.wait_s(now_s) or 0) > 0, "an old message was kept waiting"
        assert batcher.room == policy.max_count - len(waiting)
    while batch := batcher.take(now_s, drain=True):
        batches.append(batch)
    assert [m for batch in batches for m in batch.messages] == stream
    for batch in batches:
        assert 1 <= len(batch.messages) <= policy.max_count
        assert len(batch.messages) == 1 or sum(m.size_bytes for m in batch.messages) <= policy.max_bytes


@pytest.mark.parametrize(
    ("sizes", "after_s", "drain", "trigger"),
    [
        ((1, 1, 1), 0.0, False, "count"),
        ((60, 40), 0.0, False, "bytes"),
        ((500,), 0.0, False, "bytes"),
        ((1,), 10.0, False, "age"),
        ((1,), 9.9, False, None),
        ((1,), 0.0, True, "drain"),
        ((), 99.0, True, None),
    ],
)
def test_the_limit_that_closes_a_batch_is_named(sizes: tuple[int, ...], after_s: float, drain: bool, trigger: str | None) -> None:
    batcher = Batcher(BatchPolicy(max_count=3, max_bytes=100, max_age_s=10.0))
    batcher.add(messages(*sizes), 0.0)
    assert batcher.room == (0 if trigger in ("count", "bytes") else 3 - len(sizes))
    batch = batcher.take(after_s, drain=drain)
    assert (batch.trigger if batch else None) == trigger


def test_the_clock_runs_from_the_first_message_that_waits() -> None:
    batcher = Batcher(BatchPolicy(max_count=2, max_bytes=100, max_age_s=10.0))
    assert batcher.wait_s(50.0) is None
    batcher.add(messages(1), 50.0)
    batcher.add(messages(1, 1, start=1), 58.0)
    assert batcher.wait_s(58.0) == 2.0
    batcher.take(58.0)
    assert batcher.wait_s(58.0) == 10.0, "what is left arrived at 58, not when the batch before it did"


def test_messages_of_partitions_that_went_away_are_forgotten_and_no_others() -> None:
    batcher = Batcher(BatchPolicy(max_count=9, max_bytes=100, max_age_s=10.0))
    batcher.add([*messages(50, partition=0), *messages(1, 1, partition=1)], 0.0)
    assert batcher.drop({TopicPartition("postings.raw", 0)}) == 1
    batcher.add(messages(97, partition=2), 0.0)
    assert batcher.take(0.0) is None, "their bytes no longer count"
    batch = batcher.take(0.0, drain=True)
    assert batch
    assert [m.partition for m in batch.messages] == [1, 1, 2]
