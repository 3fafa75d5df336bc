"""The lag of each partition of a member as far as it is known: one that cannot be measured now keeps the last."""

from collections.abc import Collection, Mapping

from consumer.messages import TopicPartition


class KnownLags:
    """Lags in messages. Partitions that were lost, not given up, stay: most often nobody reads them until the group answers."""

    def __init__(self) -> None:
        self._known: dict[TopicPartition, int] = {}
        self._lost: set[TopicPartition] = set()

    def lose(self, partitions: Collection[TopicPartition]) -> None:
        """Keep what is known of partitions that were lost."""
        self._lost.update(partitions)

    def hear_from_group(self) -> None:
        """Forget what was lost: the group has said again which partitions are ours."""
        self._lost.clear()

    def update(
        self, measured: Mapping[TopicPartition, int], assigned: Collection[TopicPartition]
    ) -> Mapping[TopicPartition, int]:
        """Take what could be measured, and return the lags of all partitions that are ours or were lost."""
        known = {**self._known, **measured}
        self._known = {partition: lag for partition, lag in known.items() if partition in assigned or partition in self._lost}
        return self._known
