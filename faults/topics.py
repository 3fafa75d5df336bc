"""Reads topics from beside the group: what is in them, and what a group has committed."""

import time
from collections.abc import Sequence

import confluent_kafka as ck

from consumer.kafka.convert import to_message
from consumer.messages import Message

WAIT_S = 60.0


def read_topic(servers: str, topic: str) -> list[Message]:
    """Return all of a topic that a read_committed reader sees once no transaction is open, partition by partition.

    Raises TimeoutError.
    """
    consumer = _reader(servers, "faults-reader")
    try:
        partitions = _partitions(consumer, topic)
        consumer.assign(partitions)
        found: list[Message] = []
        unread, deadline = _ends(servers, partitions), time.monotonic() + 2 * WAIT_S
        while unread:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{topic} gave {len(found)} messages and no end of partitions {set(unread)}")
            for raw in consumer.consume(10_000, 0.1):
                place, offset = int(raw.partition() or 0), int(raw.offset() or 0)
                if (error := raw.error()) is None:
                    found.append(to_message(raw))
                elif error.code() == ck.KafkaError._PARTITION_EOF and offset >= unread.get(place, 0):  # noqa: SLF001
                    # An end before that is of what a consumer has left open: the broker ends it in its time.
                    unread.pop(place, None)
        return sorted(found, key=lambda message: (message.partition, message.offset))
    finally:
        consumer.close()


def _ends(servers: str, partitions: Sequence[ck.TopicPartition]) -> dict[int, int]:
    """Return the offsets behind all that was written, whether committed or not."""
    consumer = _reader(servers, "faults-reader", isolation="read_uncommitted")
    try:
        return {p.partition: consumer.get_watermark_offsets(p, timeout=WAIT_S)[1] for p in partitions}
    finally:
        consumer.close()


class Progress:
    """How much of a topic a group has committed."""

    def __init__(self, servers: str, group: str, topic: str) -> None:
        self._consumer = _reader(servers, group)
        self._topic = topic

    def committed(self) -> dict[int, int]:
        """Return next-to-read offsets by partition. Raises KafkaException while they are not to be had."""
        partitions = self._consumer.committed(_partitions(self._consumer, self._topic), timeout=5)
        return {p.partition: max(p.offset, 0) for p in partitions}

    def done(self, count: int) -> bool:
        """Return whether `count` messages have been committed, all that there are."""
        try:
            return sum(self.committed().values()) >= count
        except ck.KafkaException:
            return False  # an unfinished transaction, or a coordinator that is not there

    def close(self) -> None:
        """Let go."""
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
