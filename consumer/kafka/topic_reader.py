"""Reads a topic once, as it is now, outside any consumer group: for tools that list or replay."""

import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import confluent_kafka as ck

from consumer.errors import BrokerError
from consumer.kafka.client import METADATA_TIMEOUT_S, make_client, make_end_client, outside_group, partition_count
from consumer.kafka.convert import offset_of, partition_of, to_message
from consumer.kafka.failures import PARTITION_END, explain_no_answer, raise_or_log
from consumer.messages import Message

SILENCE_TIMEOUT_S = 30.0
"""After so long without a message or the end of a partition, nobody answers."""
SLICE_S = 0.1
MAX_COUNT = 1_000

READER_PROPERTIES: Mapping[str, Any] = {
    "group.id": "occustream-reader",  # the client wants one; it is neither joined nor committed to
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "earliest",  # go on behind what retention deletes while it is read
    "isolation.level": "read_committed",
    "enable.partition.eof": True,
}


class TopicReader:
    """The committed messages of a topic from its first to its last at the time of entering, in order per partition.

    Use it in a `with` statement and iterate over it, once. `ranges` limits it to some partitions, and offsets of them:
    `range(first, end)`, cut to what is there. `last` limits it to so many offsets at the end of each partition. A transaction
    that is open on entering is waited for: it may hide what was committed behind it. Entering raises BrokerError where the topic
    or a partition is not there, or no broker answers.
    """

    def __init__(
        self,
        properties: Mapping[str, Any],
        topic: str,
        *,
        ranges: Mapping[int, range] | None = None,
        last: int | None = None,
    ) -> None:
        """Create the client; connects later. Raises ConfigError for a property that librdkafka does not take."""
        self._servers = properties.get("bootstrap.servers", "")
        self._properties = {**outside_group(properties), **READER_PROPERTIES}
        self._consumer = make_client(ck.Consumer, self._properties)
        self._topic = topic
        self._ranges = ranges
        self._last = last
        self._ends: dict[int, int] = {}

    def __enter__(self) -> Self:
        starts = []
        with make_end_client(self._properties) as end_client:
            count = partition_count(end_client, self._topic, servers=self._servers)
            for partition in range(count) if self._ranges is None else self._ranges:
                if partition >= count:
                    raise BrokerError(f"topic {self._topic!r} has no partition {partition}, only 0 to {count - 1}")
                first, end = self._bounds(end_client, partition)
                if first < end:
                    self._ends[partition] = end
                    starts.append(ck.TopicPartition(self._topic, partition, first))
        self._consumer.assign(starts)
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self._consumer.close()

    def __iter__(self) -> Iterator[Message]:
        """Yield the messages. Raises BrokerError when nobody answers any more."""
        answered_at = time.monotonic()
        while self._ends:
            raw = self._consumer.consume(MAX_COUNT, SLICE_S)
            if not raw and time.monotonic() - answered_at > SILENCE_TIMEOUT_S:
                raise BrokerError(
                    f"{self._topic!r} at {self._servers!r} has sent nothing for {SILENCE_TIMEOUT_S:.0f} s: "
                    "no broker answers, or a transaction stays open there; try again"
                )
            for each in raw:
                if (message := self._accept(each)) is not None:
                    yield message
            if raw:
                answered_at = time.monotonic()  # after they were taken, which may have been slow

    def _bounds(self, end_client: ck.Consumer, partition: int) -> tuple[int, int]:
        """Return the first offset to read and the one after the last."""
        with explain_no_answer(self._servers):
            low, high = end_client.get_watermark_offsets(ck.TopicPartition(self._topic, partition), timeout=METADATA_TIMEOUT_S)
        wanted = range(low, high) if self._ranges is None else self._ranges[partition]
        first, end = max(low, wanted.start), min(high, wanted.stop)
        return first if self._last is None else max(first, end - self._last), end

    def _accept(self, raw: ck.Message) -> Message | None:
        """Return a message within the bounds. The position decides on the end: what ends a transaction takes offsets, too."""
        partition, offset = partition_of(raw).partition, offset_of(raw)
        end = self._ends.get(partition, 0)
        if (error := raw.error()) is not None:
            # A new leader may not know yet how far the partition goes: an end that it reports before ours is none.
            if error.code() == PARTITION_END and offset >= end:
                self._ends.pop(partition, None)
            raise_or_log(error, self._topic)
            return None
        if offset + 1 >= end:
            self._ends.pop(partition, None)
        return to_message(raw) if offset < end else None
