"""Reading a Kafka topic from outside: its messages, its ends, and what a group has committed."""

import time

import confluent_kafka as ck

from consumer.messages import Headers, Message, TopicPartition
from tests.support.waiting import WAIT_S, wait_until


def read_topic(servers: str, topic: str) -> list[Message]:
    """Return all of a topic up to its end as it is now, partition by partition."""
    consumer = _reader(servers)
    try:
        partitions = [
            ck.TopicPartition(topic, p, 0) for p in consumer.list_topics(topic, timeout=WAIT_S).topics[topic].partitions
        ]
        consumer.assign(partitions)
        found: list[Message] = []
        unread = {p.partition for p in partitions}  # a transaction's end takes an offset, too: they cannot be counted
        deadline = time.monotonic() + 2 * WAIT_S
        while unread:
            assert time.monotonic() < deadline, f"{topic} gives {len(found)} messages and no end of partitions {unread}"
            for raw in consumer.consume(10_000, 0.1):
                if (error := raw.error()) is not None and error.code() == ck.KafkaError._PARTITION_EOF:
                    unread.discard(raw.partition())
                else:
                    found.append(_plain(raw))
        return sorted(found, key=lambda m: (m.partition, m.offset))
    finally:
        consumer.close()


def end_offsets(servers: str, topic: str) -> dict[TopicPartition, int]:
    """Return how far each partition of a topic reaches; one that has just been created may have no leader yet."""
    consumer = _reader(servers)
    deadline = time.monotonic() + WAIT_S
    try:
        while True:
            try:
                partitions = consumer.list_topics(topic, timeout=WAIT_S).topics[topic].partitions
                ends = {p: consumer.get_watermark_offsets(ck.TopicPartition(topic, p), timeout=WAIT_S)[1] for p in partitions}
            except ck.KafkaException:
                assert time.monotonic() < deadline, f"nothing answers for {topic}"
                time.sleep(0.1)
            else:
                return {TopicPartition(topic, p): end for p, end in ends.items()}
    finally:
        consumer.close()


def committed(servers: str, group: str, topic: str) -> dict[TopicPartition, int]:
    """Return what a group has committed for a topic."""
    consumer = _reader(servers, group)
    try:
        partitions = [ck.TopicPartition(topic, p) for p in consumer.list_topics(topic, timeout=WAIT_S).topics[topic].partitions]
        wait_until(lambda: _coordinated(consumer, partitions), "the group has a coordinator")  # a new broker is slow to say so
        found = consumer.committed(partitions, timeout=WAIT_S)
        return {TopicPartition(topic, p.partition): p.offset for p in found if p.offset >= 0}
    finally:
        consumer.close()


def _coordinated(consumer: ck.Consumer, partitions: list[ck.TopicPartition]) -> bool:
    try:
        consumer.committed(partitions, timeout=WAIT_S)
    except ck.KafkaException as error:
        if error.args[0].code() == ck.KafkaError.NOT_COORDINATOR:
            return False
        raise
    return True


def _reader(servers: str, group: str = "reader") -> ck.Consumer:
    """A consumer that joins no group and commits nothing."""
    return ck.Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": group,
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
        }
    )


def _plain(raw: ck.Message) -> Message:
    assert raw.error() is None, raw.error()
    headers: Headers = tuple(raw.headers() or ())
    return Message(raw.topic(), raw.partition(), raw.offset(), raw.key(), raw.value(), headers, raw.timestamp()[1])
