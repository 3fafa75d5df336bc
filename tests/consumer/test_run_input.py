"""A run of the live stream never ends by itself; a run of a range ends with it, and says what was done."""

import pytest

from consumer.kafka.range_source import RangeSource
from consumer.kafka.source import KafkaSource
from consumer.memory_broker import MemorySource
from consumer.messages import TopicPartition
from consumer.run_input import LiveStream, PastRange
from tests.support.messages import IN
from tests.support.pipeline import memory_broker


def test_the_live_stream_is_never_done() -> None:
    live = LiveStream(MemorySource(memory_broker(1), topic=IN, group_id="g"))
    assert (live.done, live.check_done(), live.summary(), live.exit_status) == (False, False, None, 0)


@pytest.mark.parametrize(
    ("left", "done", "status", "summary"),
    [(0, True, 0, "nothing to replay of May: "), (3, False, 1, "0 messages of May were read, not all; ")],
)
def test_a_range_says_what_was_done_and_fails_where_some_is_left(left: int, done: bool, status: int, summary: str) -> None:
    source = KafkaSource({"bootstrap.servers": "127.0.0.1:1", "group.id": "g"}, topic=IN)
    past = PastRange(RangeSource(source, {TopicPartition(IN, 0): range(3)}, description="May", uncommitted=left))
    assert (past.done, past.exit_status) == (done, status)
    assert past.summary().startswith(summary)
    source.close()
