"""Which offsets may be committed: per partition, those before the first message whose record is not acknowledged yet."""

from collections import OrderedDict
from collections.abc import Iterable

from consumer.messages import Message, TopicPartition


class InFlight:
    """Messages whose records are on their way: from `take`, in reading order, to `land` (acknowledged), in any order."""

    def __init__(self) -> None:
        # Per partition, offset -> acknowledged, in reading order. Only offsets before the first False are ever removed.
        self._open: dict[TopicPartition, OrderedDict[int, bool]] = {}
        self._next: dict[TopicPartition, int] = {}

    def take(self, messages: Iterable[Message]) -> None:
        """Add messages whose records are about to be produced."""
        for message in messages:
            self._open.setdefault(message.topic_partition, OrderedDict())[message.offset] = False

    def land(self, message: Message) -> None:
        """Note that the record of `message` was acknowledged. Ignored where its partition was forgotten."""
        partition = message.topic_partition
        offsets = self._open.get(partition)
        if offsets is None or message.offset not in offsets:
            return
        offsets[message.offset] = True
        while offsets and offsets[first := next(iter(offsets))]:
            del offsets[first]
            self._next[partition] = first + 1

    def has(self, message: Message) -> bool:
        """Return whether `message` was taken and has not landed. False where its partition was forgotten."""
        offsets = self._open.get(message.topic_partition)
        return offsets is not None and offsets.get(message.offset) is False

    def committable(self) -> dict[TopicPartition, int]:
        """Return the offset to commit next of each partition that has advanced since the last call."""
        ready, self._next = self._next, {}
        return ready

    def count(self, partitions: Iterable[TopicPartition] | None = None) -> int:
        """Return how many messages have not landed, in `partitions` or in all."""
        chosen = self._open if partitions is None else partitions
        return sum(not landed for p in chosen for landed in self._open.get(p, {}).values())

    def forget(self, partitions: Iterable[TopicPartition]) -> None:
        """Drop all knowledge of partitions that are no longer ours; late acknowledgements are ignored."""
        for partition in partitions:
            self._open.pop(partition, None)
            self._next.pop(partition, None)
