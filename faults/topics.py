"""Reads topics without joining a group: their messages, and the offsets that a group has committed."""

import time
from collections.abc import Sequence

import confluent_kafka as ck

from consumer.kafka.convert import to_message
from consumer.messages import Message

WAIT_S = 60.0


def read_topic(servers: str, topic: str) -> list[Message]:
    """Return all messages that a read_committed reader sees after the last transaction has ended, partition by partition.

    Raises TimeoutError.
    """
    consumer = _reader(servers, "faults-reader")
    try:
        partitions = _partitions(consumer, topic)
        consumer.assign(partitions)
        found: list[Message] = []
        unread, deadline = _end_offsets(servers, partitions), time.monotonic() + 2 * WAIT_S
        while unread:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{topic} gave {len(found)} messages and no end of partitions {set(unread)}")
            for raw in consumer.consume(10_000, 0.1):
                place, offset = int(raw.partition() or 0), int(raw.offset() or 0)
                if (error := raw.error()) is None:
                    found.append(to_message(raw))
                elif error.code() == ck.KafkaError._PARTITION_EOF and offset >= unread.get(place, 0):  # noqa: SLF001
                    # An end before that is the start of a transaction that a consumer left open; the broker ends it in time.
                    unread.pop(place, None)
        return sorted(found, key=lambda message: (message.partition, message.offset))
    finally:
        consumer.close()


def _end_offsets(servers: str, partitions: Sequence[ck.TopicPartition]) -> dict[int, int]:
    """Return the offset behind the last record of each partition, whether it was committed or not."""
    consumer = _reader(servers, "faults-reader", isolation="read_uncommitted")
    try:
        return {p.partition: consumer.get_watermark_offsets(p, timeout=WAIT_S)[1] for p in partitions}
    finally:
        consumer.close()


class Progress:
    """The offsets of a topic that a group has committed."""

    def __init__(self, servers: str, group: str, topic: str) -> None:
        self._consumer = _reader(servers, group)
        self._topic = topic

    def committed(self) -> dict[int, int]:
        """Return next-to-read offsets by partition. Raises KafkaException while the brokers cannot tell them."""
        partitions = self._consumer.committed(_partitions(self._consumer, self._topic), timeout=5)
        return {p.partition: max(p.offset, 0) for p in partitions}

    def has_begun(self) -> bool:
        """Return whether an offset is committed for each partition."""
        partitions = self._consumer.committed(_partitions(self._consumer, self._topic), timeout=5)
        return all(partition.offset >= 0 for partition in partitions)

    def count(self) -> int:
        """Return how many messages have been committed; 0 where that is not known now."""
        try:
            return sum(self.committed().values())
        except ck.KafkaException:
            return 0  # a transaction is open, or the coordinator is down

    def has_committed(self, count: int) -> bool:
        """Return whether at least `count` messages have been committed."""
        return self.count() >= count

    def close(self) -> None:
        """Close the client."""
        self._consumer.close()


def _reader(servers: str, group: str, *, isolation: str = "read_committed") -> ck.Consumer:
    """Return a consumer that joins no group and commits nothing."""
    return ck.Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": group,
            "enable.auto.commit": False,
            "isolation.level": isolation,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "fetch.message.max.bytes": 8_000_000,
            "log_level": 2,
        }
    )


def _partitions(consumer: ck.Consumer, topic: str) -> list[ck.TopicPartition]:
    numbers = consumer.list_topics(topic, timeout=WAIT_S).topics[topic].partitions
    return [ck.TopicPartition(topic, number, 0) for number in numbers]
