"""Messages and records, and the contracts of whatever reads and writes them: `Source`, `Sink` and `TransactionalSink`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from consumer.errors import DeliveryFailed

Headers = tuple[tuple[str, bytes | None], ...]


class TopicPartition(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it was read, its bytes untouched. `timestamp_ms` is in milliseconds since 1970."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    timestamp_ms: int | None = None
    flaw: str | None = None
    """Why the headers cannot be read and are left out; None if they can."""

    @property
    def topic_partition(self) -> TopicPartition:
        """The partition that the message came from."""
        return TopicPartition(self.topic, self.partition)

    @property
    def event_id(self) -> str:
        """The message's `topic:partition:offset`, the same at every delivery."""
        return f"{self.topic}:{self.partition}:{self.offset}"

    @property
    def size_bytes(self) -> int:
        """Bytes of key and value."""
        return len(self.key or b"") + len(self.value or b"")


@dataclass(frozen=True, slots=True)
class Record:
    """A message to write. The partition of its input decides where it goes, see `Sink`."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    input_partition: int

    @property
    def size_bytes(self) -> int:
        """Bytes of key and value."""
        return len(self.key or b"") + len(self.value or b"")


def next_offsets(messages: Iterable[Message]) -> dict[TopicPartition, int]:
    """Return the offsets to commit once all these messages, in order per partition, are finished."""
    return {message.topic_partition: message.offset + 1 for message in messages}


OnRevoke = Callable[[set[TopicPartition], bool], None]
"""Called with the partitions that were taken away, and whether they are already lost: then nothing may be committed."""

OnAck = Callable[[DeliveryFailed | None], None]
"""Called once for each record: None once the broker has it, else the error. RecordTooLarge: it is too large, or the batch that it
was sent in."""


class Source(Protocol):
    """Reads messages as a member of a group.

    One thread calls it. Callbacks run inside `poll`, `heartbeat`, `close` and a `commit` that waits.
    """

    def start(self, on_revoke: OnRevoke) -> None:
        """Join the group. Raises BrokerError where the topic is not there or no broker answers."""
        ...

    def poll(self, max_count: int, timeout_s: float) -> Sequence[Message]:
        """Return up to `max_count` messages, in order per partition, as soon as there is one. Blocks for at most `timeout_s`.

        Never returns a message of a partition that was revoked during the call. Raises BrokerError where a person is needed.
        """
        ...

    def heartbeat(self) -> None:
        """Stay in the group without taking messages. Cheap enough for every turn of the loop."""
        ...

    def commit(self, offsets: Mapping[TopicPartition, int], *, wait: bool) -> None:
        """Commit, per partition, the offset to read next. Raises BrokerError where the group refuses it for good.

        With `wait`, the broker has the offsets on return, if it answers within some seconds. Without, it has them soon.
        """
        ...

    def tails(self) -> Mapping[TopicPartition, int]:
        """Return the offsets to commit behind finished messages: only records that no reader gets lie between them.

        A message is finished once its offset was committed, by `commit` or by a transaction.
        """
        ...

    def rewind(self) -> None:
        """Go back to the committed offsets of all partitions that are ours: `poll` returns the messages since then again."""
        ...

    def group(self) -> object:
        """Return our membership of the group at this moment, for a transaction that commits our offsets."""
        ...

    def lag(self) -> Mapping[TopicPartition, int]:
        """Return how many messages lie between the position and the end, per partition. Never blocks.

        Where that cannot be measured now, it is the last that was known, also of partitions that the group has taken for lost.
        """
        ...

    @property
    def assigned(self) -> frozenset[TopicPartition]:
        """The partitions that are ours now."""
        ...

    @property
    def trouble(self) -> str | None:
        """The reason why nothing can be read now, as far as it is known; None if something can. Safe from any thread."""
        ...

    def close(self) -> None:
        """Leave the group. Calls the revoke callback for what is still assigned."""
        ...


class Sink(Protocol):
    """Writes records. One thread calls it; acknowledgements run inside `poll`.

    A record goes to the partition `input_partition` modulo the number of partitions of its topic. So the order of an input
    partition is the order of its output partition, whatever the keys.
    """

    def produce(self, record: Record, on_ack: OnAck) -> None:
        """Queue a record; `on_ack` is called exactly once, later. Blocks for a bounded time when the queue is full.

        Raises DeliveryFailed when the record can never be sent or the queue stays full; RecordTooLarge if it is too large.
        Then `on_ack` is not called.
        """
        ...

    def poll(self, timeout_s: float) -> None:
        """Serve acknowledgements, waiting at most `timeout_s` for the first."""
        ...


class TransactionalSink(Protocol):
    """Writes records and commits offsets together or not at all. One thread calls it. A `Sink` places records the same way."""

    def transact(self, records: Sequence[Record], offsets: Mapping[TopicPartition, int], group: object) -> None:
        """Write the records and commit, per partition, the offset to read next. `group` is what `Source.group` returned.

        Raises DeliveryFailed when nothing was written, or when that is not known: then the committed offsets show it.
        Raises RecordTooLarge when nothing was written because a record, or several together, are larger than their topic takes.
        Raises BrokerError when this process can never write again, as when another consumer has taken its place.
        Blocks for a bounded time.
        """
        ...

    def poll(self, timeout_s: float) -> None:
        """Serve the client's events for at most `timeout_s`."""
        ...
