"""Which of our partitions the client reads nothing of for now. Where a partition reads on: `offsets.py`."""

from collections.abc import Collection

from consumer.kafka.group_client import GroupClient
from consumer.kafka.partitions import Partitions
from consumer.messages import TopicPartition


class Pauses:
    """Pauses partitions in the client, and notes in their states which ones are."""

    def __init__(self, client: GroupClient, partitions: Partitions) -> None:
        self._client = client
        self._partitions = partitions

    def pause_all(self) -> None:
        """Read no partition until each is resumed."""
        if reading := self._partitions.where(lambda state: state.assigned and not state.paused):
            self._client.pause(reading)
            for partition in reading:
                self._partitions[partition].paused = True

    def hold(self, partitions: Collection[TopicPartition]) -> None:
        """Read no more of these, until they are gained again or all is rewound."""
        free = self._partitions.where(lambda state: state.assigned and not state.held)
        if new := set(partitions).intersection(free):
            self._client.pause(new)
            for partition in new:
                self._partitions[partition].held = True

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """Read these on where the client was, but for those that are held."""
        if paused := [p for p in partitions if self._partitions[p].paused and not self._partitions[p].held]:
            self._client.resume(paused)
            for partition in paused:
                self._partitions[partition].paused = False

    def release(self, partitions: Collection[TopicPartition]) -> None:
        """Resume partitions that are about to go: librdkafka would keep them paused if they came back."""
        if paused := set(partitions).intersection(self._partitions.where(lambda state: state.paused or state.held)):
            self._client.resume(paused)
