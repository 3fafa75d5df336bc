"""What moves through the consumer, and the two seams to a broker: `Source` and `Sink`."""

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
    """A message as read, bytes untouched."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    timestamp_ms: int | None = None
    flaw: str | None = None
    """What of it cannot be read: its headers, which are left out then."""

    @property
    def topic_partition(self) -> TopicPartition:
        """Where it came from."""
        return TopicPartition(self.topic, self.partition)

    @property
    def event_id(self) -> str:
        """`topic:partition:offset`: the same for every delivery of this message."""
        return f"{self.topic}:{self.partition}:{self.offset}"

    @property
    def size_bytes(self) -> int:
        """Bytes of key and value."""
        return len(self.key or b"") + len(self.value or b"")


@dataclass(frozen=True, slots=True)
class Record:
    """A message to write. `input_partition` places it: see `Sink`."""

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
"""Called with the partitions taken away, and whether they are already lost (then nothing may be committed)."""

OnAck = Callable[[DeliveryFailed | None], None]
"""Called once per record: None when the broker has it, else why it has not; RecordTooLarge where it or its company is."""


class Source(Protocol):
    """Reads messages as a member of a group. One thread calls it; callbacks run inside `poll`, `heartbeat` and `close`."""

    def start(self, on_revoke: OnRevoke) -> None:
        """Join the group. Raises BrokerError where the topic is not there or no broker answers."""
        ...

    def poll(self, max_count: int, timeout_s: float) -> Sequence[Message]:
        """Return up to `max_count` messages, in order per partition, as soon as there is one; blocks at most `timeout_s`.

        Never returns a message of a partition that was revoked during the call. Raises BrokerError.
        """
        ...

    def heartbeat(self) -> None:
        """Stay in the group without taking messages. Cheap enough for every turn of the loop."""
        ...

    def commit(self, offsets: Mapping[TopicPartition, int], *, wait: bool) -> None:
        """Commit next-to-read offsets. With `wait`, the broker has them on return, if it answers in some seconds; else soon.

        Raises BrokerError if fatal.
        """
        ...

    def rewind(self) -> None:
        """Go back to what is committed, on all partitions that are ours; messages read since are returned by `poll` again."""
        ...

    def group(self) -> object:
        """Return who we are in the group at this moment, for a transaction that commits our offsets."""
        ...

    def lag(self) -> Mapping[TopicPartition, int]:
        """Messages between the position and the end, per assigned partition; from memory, never blocks."""
        ...

    @property
    def assigned(self) -> frozenset[TopicPartition]:
        """The partitions that are ours now."""
        ...

    def close(self) -> None:
        """Leave the group. Calls the revoke callback for what is still assigned."""
        ...


class Sink(Protocol):
    """Writes records; one thread calls it, acknowledgements run inside `poll`.

    A record goes to partition `input_partition` modulo the output topic's partitions: the order of an input partition
    is the order of its output partition, whatever the keys.
    """

    def produce(self, record: Record, on_ack: OnAck) -> None:
        """Queue a record; `on_ack` is called exactly once, later. Blocks for a bounded time when the queue is full.

        Raises DeliveryFailed when the record can never be sent or the queue stays full, RecordTooLarge where that is why.
        """
        ...

    def poll(self, timeout_s: float) -> None:
        """Serve acknowledgements, waiting at most `timeout_s` for the first."""
        ...


class TransactionalSink(Protocol):
    """Writes records and commits offsets together or not at all; one thread calls it. Records are placed as by a `Sink`."""

    def transact(self, records: Sequence[Record], offsets: Mapping[TopicPartition, int], group: object) -> None:
        """Write the records and commit next-to-read offsets, if any, of `group`, which is what `Source.group` says.

        Raises DeliveryFailed when nothing was written, or when that is not known: what is committed tells. RecordTooLarge when
        nothing was written because a record, or several together, are larger than their topic takes. BrokerError when
        it never can be again by this process, as when another consumer has taken its place. Blocks for a bounded time.
        """
        ...

    def poll(self, timeout_s: float) -> None:
        """Serve the client's events for at most `timeout_s`."""
        ...
