"""Where the logs of partitions begin and end, as their leaders tell it."""

import logging
from collections.abc import Collection
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException

from consumer.kafka.client import END, FIRST, offsets_at
from consumer.kafka.convert import format_partitions
from consumer.kafka.failures import NO_OFFSET
from consumer.messages import TopicPartition

log = logging.getLogger(__name__)


class Bounds(NamedTuple):
    """The first offset of a log, and the one after its last."""

    first: int
    end: int

    def hold(self, offset: int) -> bool:
        """Return whether a group that has committed this offset can read on there."""
        return self.first <= offset <= self.end


def find_bounds(
    client: Any,  # noqa: ANN401 - confluent_kafka is untyped
    partitions: Collection[TopicPartition],
    *,
    timeout_s: float,
) -> dict[TopicPartition, Bounds]:
    """Return the bounds of those partitions that have a leader: asked for one without, the client waits for it.

    Each of three steps takes `timeout_s` at most. Raises KafkaException.
    """
    led = _with_leader(client, partitions, timeout_s)
    if without := set(partitions) - led:
        log.warning("%s is not read yet, it has no leader", format_partitions(without))
    if not led:
        return {}
    firsts, ends = (offsets_at(client, led, which, timeout_s=timeout_s) for which in (FIRST, END))
    if len(firsts) < len(led) or len(ends) < len(led):
        raise KafkaException(KafkaError(NO_OFFSET))
    return {partition: Bounds(firsts[partition], ends[partition]) for partition in led}


def _with_leader(client: Any, partitions: Collection[TopicPartition], timeout_s: float) -> set[TopicPartition]:  # noqa: ANN401
    topics = {partition.topic for partition in partitions}
    found = [client.list_topics(topic, timeout=timeout_s).topics[topic] for topic in topics]
    return {TopicPartition(t.topic, p.id) for t in found for p in t.partitions.values() if p.leader >= 0}.intersection(partitions)
