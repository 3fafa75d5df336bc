"""Kafka's words to ours and back: partitions, offsets to commit, messages."""

from collections.abc import Iterable, Mapping
from operator import methodcaller
from typing import cast

import confluent_kafka as ck

from consumer.messages import Headers, Message, TopicPartition


def to_client_partitions(partitions: Iterable[TopicPartition], offset: int = ck.OFFSET_INVALID) -> list[ck.TopicPartition]:
    """Return our partitions as the client's, each with this offset."""
    return [ck.TopicPartition(p.topic, p.partition, offset) for p in partitions]


def to_client_offsets(offsets: Mapping[TopicPartition, int], notes: Mapping[str, str]) -> list[ck.TopicPartition]:
    """Return offsets to commit as the client takes them, each with the note of its topic, which is stored beside it."""
    return [ck.TopicPartition(p.topic, p.partition, offset, notes.get(p.topic, "")) for p, offset in offsets.items()]


def from_client_partition(partition: ck.TopicPartition) -> TopicPartition:
    """Return a partition of the client as ours."""
    return TopicPartition(partition.topic, partition.partition)


def from_client_partitions(partitions: Iterable[ck.TopicPartition]) -> set[TopicPartition]:
    """Return partitions of the client as ours."""
    return set(map(from_client_partition, partitions))


def partition_of(raw: ck.Message) -> TopicPartition:
    """Return the partition that a message or an error comes from."""
    return TopicPartition(str(raw.topic()), int(raw.partition() or 0))


def offset_of(raw: ck.Message) -> int:
    """Return the offset of a message, or the position that an error is about."""
    return int(raw.offset() or 0)


def format_partitions(partitions: Iterable[ck.TopicPartition | TopicPartition]) -> str:
    """Return partitions as they stand in a log line."""
    return ", ".join(f"{p.topic}[{p.partition}]" for p in partitions) or "nothing"


def to_message(raw: ck.Message) -> Message:
    """Return a message of the client that carries no error as ours, its bytes untouched."""
    kind, timestamp_ms = raw.timestamp()
    headers, flaw = _headers(raw)
    return Message(
        str(raw.topic()),
        int(raw.partition() or 0),
        offset_of(raw),
        _bytes(raw.key()),
        _bytes(raw.value()),
        headers,
        None if kind == ck.TIMESTAMP_NOT_AVAILABLE else timestamp_ms,
        flaw,
    )


_ask_for_headers = methodcaller("headers")
"""For a name that is not UTF-8 the client returns a value and raises at once. A call from Python code may miss the error."""


def _headers(raw: ck.Message) -> tuple[Headers, str | None]:
    """Return the headers; or none, and why. Asked once: after a name that is not UTF-8 the client gives out broken ones."""
    try:
        found = cast("list[tuple[str, str | bytes | None]]", _ask_for_headers(raw) or [])
    except (SystemError, UnicodeDecodeError) as error:
        return (), f"the name of a header is not UTF-8: {error.__cause__ or error}"
    return tuple((str(name), _bytes(value)) for name, value in found), None


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
