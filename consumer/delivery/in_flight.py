"""Which offsets may be committed: per partition, the prefix of messages whose records have all been acknowledged."""

from collections import OrderedDict
from collections.abc import Iterable

from consumer.messages import Message, TopicPartition


class InFlight:
    """Messages between `take` (read, in order) and `land` (its record acknowledged, in any order)."""

    def __init__(self) -> None:
        # Per partition, offset -> landed, in reading order. Only the finished prefix is ever removed.
        self._open: dict[TopicPartition, OrderedDict[int, bool]] = {}
        self._next: dict[TopicPartition, int] = {}

    def take(self, messages: Iterable[Message]) -> None:
        """Note messages whose records are about to be produced."""
        for message in messages:
            self._open.setdefault(message.topic_partition, OrderedDict())[message.offset] = False

    def land(self, message: Message) -> None:
        """Note that the record of `message` has been acknowledged. Of a forgotten partition: ignored."""
        partition = message.topic_partition
        offsets = self._open.get(partition)
        if offsets is None or message.offset not in offsets:
            return
        offsets[message.offset] = True
        while offsets and offsets[first := next(iter(offsets))]:
            del offsets[first]
            self._next[partition] = first + 1

    def has(self, message: Message) -> bool:
        """Return whether `message` was taken and has not landed; of a forgotten partition: no."""
        offsets = self._open.get(message.topic_partition)
        return offsets is not None and offsets.get(message.offset) is False

    def committable(self) -> dict[TopicPartition, int]:
        """Return and clear the offsets to commit: finished prefix + 1 of each partition that moved since the last call."""
        ready, self._next = self._next, {}
        return ready

    def count(self, partitions: Iterable[TopicPartition] | None = None) -> int:
        """Return how many messages have not landed, of `partitions` or of all."""
        chosen = self._open if partitions is None else partitions
        return sum(not landed for p in chosen for landed in self._open.get(p, {}).values())

    def forget(self, partitions: Iterable[TopicPartition]) -> None:
        """Drop all knowledge of partitions that are no longer ours; late acknowledgements are ignored."""
        for partition in partitions:
            self._open.pop(partition, None)
            self._next.pop(partition, None)
