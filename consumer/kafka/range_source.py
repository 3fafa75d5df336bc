"""Reads a range of topics, given by time, in a group of its own, and knows when the group has enriched all of it again.

The range is fixed at the start, in offsets. A position decides on the end, never a count: deleted and aborted messages, and the
records that end a transaction, take offsets and are never seen. What the group has committed decides whether the range is
finished, so that the work may be shared, interrupted and begun again.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any

import confluent_kafka as ck
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from consumer.errors import BrokerError
from consumer.kafka.client import (
    END,
    FIRST,
    METADATA_TIMEOUT_S,
    make_client,
    make_end_client,
    offsets_at,
    outside_group,
    partition_counts,
)
from consumer.kafka.convert import from_client_partition, to_client_partitions
from consumer.kafka.failures import explain_no_answer
from consumer.kafka.group_properties import member_properties
from consumer.kafka.offsets import OffsetEvents
from consumer.kafka.source import KafkaSource
from consumer.kafka_names import InputTopics
from consumer.messages import Message, OnRevoke, TopicPartition
from consumer.times import Period

CHECK_INTERVAL_S = 1.0
"""Between two look-ups of what the group has committed."""
RETRY_S = 0.2
COORDINATOR_MOVES = (KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.COORDINATOR_LOAD_IN_PROGRESS)
Ranges = Mapping[TopicPartition, range]


def open_range(properties: Mapping[str, Any], topic: str, period: Period, *, events: OffsetEvents) -> "RangeSource":
    """Find the offsets of a period and check that the group may read them again. Raises BrokerError.

    `topic`: as in `InputTopics.parse`. Of a pattern, the topics that match it now are read.
    """
    client_id = f"{properties.get('client.id', 'occustream')}-replay-{period.from_ms}-{period.to_ms}"
    own = {**properties, "client.id": client_id, "enable.partition.eof": True, "auto.offset.reset": "error"}
    as_member = member_properties(own)
    with (
        explain_no_answer(properties.get("bootstrap.servers", "")),
        make_end_client(as_member) as end_client,
        closing(make_client(ck.Consumer, as_member)) as member,
    ):
        counts = partition_counts(end_client, InputTopics.parse(topic))
        if not counts:
            raise BrokerError(f"no topic matches {topic}; there is nothing to replay")
        ranges = _find_ranges(end_client, counts, period)
        committed = _committed(member, ranges)
    _check_members(own, client_id)
    _check_offsets(str(properties.get("group.id")), ranges, committed)
    uncommitted = sum(len(offsets) - max(0, committed.get(p, 0) - offsets.start) for p, offsets in ranges.items())
    begin = {partition: offsets.start for partition, offsets in ranges.items()}
    source = KafkaSource(own, topic=",".join(counts), begin=begin, events=events)
    return RangeSource(source, ranges, description=f"{topic!r} {period}", uncommitted=uncommitted)


class RangeSource:
    """A member of a group that reads a range; see `Source`. Other members of the group may read it, too."""

    def __init__(
        self,
        source: KafkaSource,
        ranges: Ranges,
        *,
        description: str,
        uncommitted: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the range in words, for messages, and how many offsets of it the group has not committed yet."""
        self._source = source
        self._ends = {partition: offsets.stop for partition, offsets in ranges.items()}
        self._description = description
        self._uncommitted = uncommitted
        self._clock = clock
        self._check_at = 0.0
        self._next: dict[TopicPartition, int] = {}  # after the last message that was handed out
        self._passed_end: set[TopicPartition] = set()  # a message beyond the end was met
        self._count = 0
        self._done = not uncommitted

    @property
    def assigned(self) -> frozenset[TopicPartition]:
        """See `Source.assigned`."""
        return self._source.assigned

    @property
    def trouble(self) -> str | None:
        """See `Source.trouble`."""
        return self._source.trouble

    def start(self, on_revoke: OnRevoke) -> None:
        """See `Source.start`."""

        def forget(partitions: set[TopicPartition], lost: bool) -> None:  # noqa: FBT001 - OnRevoke
            on_revoke(partitions, lost)
            self._passed_end -= partitions
            for partition in partitions:
                self._next.pop(partition, None)

        self._source.start(forget)

    def poll(self, max_count: int, timeout_s: float) -> Sequence[Message]:
        """See `Source.poll`. Messages beyond the range are left out; a partition that is read to its end is read no further."""
        found = self._source.poll(max_count, timeout_s)
        self._passed_end |= {m.topic_partition for m in found if m.offset >= self._ends.get(m.topic_partition, 0)}
        messages = [m for m in found if m.offset < self._ends.get(m.topic_partition, 0)]
        self._next |= {m.topic_partition: m.offset + 1 for m in messages}
        self._count += len(messages)
        self._source.hold({partition for partition in self.assigned if self._is_read(partition)})
        return messages

    def heartbeat(self) -> None:
        """See `Source.heartbeat`."""
        self._source.heartbeat()

    def commit(self, offsets: Mapping[TopicPartition, int], *, wait: bool) -> None:
        """See `Source.commit`."""
        self._source.commit(offsets, wait=wait)

    def tails(self) -> Mapping[TopicPartition, int]:
        """See `Source.tails`. The end of the range is committed by `finished`."""
        return {}

    def rewind(self) -> None:
        """See `Source.rewind`."""
        self._passed_end.clear()
        self._next.clear()
        self._source.rewind()

    def group(self) -> object:
        """See `Source.group`."""
        return self._source.group()

    def lag(self) -> Mapping[TopicPartition, int]:
        """See `Source.lag`. It is counted to the end of the range."""
        return {p: max(0, self._ends.get(p, 0) - self._position(p)) for p in self.assigned if self._position(p) >= 0}

    def close(self) -> None:
        """See `Source.close`."""
        self._source.close()

    def finished(self) -> bool:
        """Return whether the group has committed all of the range. That is looked up now and then, and only if ours is read.

        Commits the ends of our partitions: offsets without a message may follow the last message, and a partition without any
        message has no other offset to commit.
        """
        if self._done or self._clock() < self._check_at or not all(map(self._is_read, self.assigned)):
            return self._done
        self._check_at = self._clock() + CHECK_INTERVAL_S
        committed = self._source.committed(self._ends)
        ours = {p: end for p, end in self._ends.items() if p in self.assigned}
        if due := {p: end for p, end in ours.items() if self._next.get(p, 0) <= committed.get(p, -1) < end}:
            self._source.commit(due, wait=False)
        self._done = all(committed.get(partition, -1) >= end for partition, end in self._ends.items())
        return self._done

    @property
    def done(self) -> bool:
        """The last answer of `finished`."""
        return self._done

    def summary(self) -> str:
        """Return in one line what was done."""
        if not self._uncommitted:
            return f"nothing to replay of {self._description}: no message is there, or the group has committed all of them"
        if self._done:
            return f"replayed {self._description}: {self._count} messages here, and the group has committed all of it"
        return f"{self._count} messages of {self._description} were read, not all; run the same again to go on"

    def _position(self, partition: TopicPartition) -> int:
        """Return the offset that comes next; -1 where that is not known yet."""
        return max(self._next.get(partition, -1), self._source.reached(partition))

    def _is_read(self, partition: TopicPartition) -> bool:
        """Return whether all of the range that lies in a partition was read."""
        end = self._ends.get(partition, 0)  # a partition that was added since is not part of the range
        return partition in self._passed_end or self._position(partition) >= end


def _find_ranges(
    client: Any,  # noqa: ANN401 - confluent_kafka is untyped
    counts: Mapping[str, int],
    period: Period,
) -> dict[TopicPartition, range]:
    """Return the offsets of a period, an empty range where nothing was written in it. Raises KafkaException."""
    partitions = [TopicPartition(topic, number) for topic, count in counts.items() for number in range(count)]
    ends = offsets_at(client, partitions, END, timeout_s=METADATA_TIMEOUT_S)
    firsts = offsets_at(client, partitions, FIRST if period.from_ms is None else period.from_ms, timeout_s=METADATA_TIMEOUT_S)
    lasts = ends if period.to_ms is None else offsets_at(client, partitions, period.to_ms, timeout_s=METADATA_TIMEOUT_S)
    found = {}
    for partition in partitions:
        end = min(lasts.get(partition, ends[partition]), ends[partition])
        found[partition] = range(min(firsts.get(partition, end), end), end)
    return found


def _committed(client: Any, ranges: Ranges) -> dict[TopicPartition, int]:  # noqa: ANN401 - confluent_kafka is untyped
    """Return what the group has committed. A coordinator that has just moved, or was never asked before, may need some time."""
    until = time.monotonic() + METADATA_TIMEOUT_S
    while True:
        try:
            found = client.committed(to_client_partitions(ranges), timeout=METADATA_TIMEOUT_S)
        except KafkaException as error:
            if error.args[0].code() not in COORDINATOR_MOVES or time.monotonic() >= until:
                raise
            time.sleep(RETRY_S)
        else:
            return {from_client_partition(partition): partition.offset for partition in found if partition.offset >= 0}


def _check_offsets(group_id: str, ranges: Ranges, committed: Mapping[TopicPartition, int]) -> None:
    """Refuse a group that has read something else: it would lose its place there. Raises BrokerError."""
    for partition, offset in committed.items():
        offsets = ranges[partition]
        if not offsets.start <= offset <= offsets.stop:
            raise BrokerError(
                f"group {group_id!r} has committed {offset} of {partition.topic}[{partition.partition}], which is outside of the "
                f"range to replay, {offsets.start} to {offsets.stop}; give this replay an unused --group-id"
            )


def _check_members(properties: Mapping[str, Any], client_id: str) -> None:
    """Refuse a group whose members do something else. Raises BrokerError."""
    group_id = str(properties.get("group.id"))
    servers = str(properties.get("bootstrap.servers", ""))
    admin = make_client(AdminClient, {"log_level": 3, **outside_group(properties)})
    with explain_no_answer(servers):
        group = admin.describe_consumer_groups([group_id], request_timeout=METADATA_TIMEOUT_S)[group_id].result()
    if others := sorted({member.client_id for member in group.members} - {client_id}):
        raise BrokerError(
            f"group {group_id!r} is at work ({', '.join(others)}) on something else than this replay; "
            "give the replay a --group-id of its own, the same for all consumers that share it"
        )
