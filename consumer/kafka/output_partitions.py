"""How many partitions each output topic has: as many as at the start, fewer once the topic has become smaller."""

import logging
from collections.abc import Iterable
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from consumer.kafka.client import partition_count
from consumer.kafka.failures import NO_PARTITION
from consumer.kafka.login_watch import LoginWatch
from consumer.messages import Record

log = logging.getLogger(__name__)

LOOKUP_TIMEOUT_S = 3.0


class OutputPartitions:
    """Where records go. A topic that grows keeps each input partition where it was, so its order is kept.

    A topic that was created again with fewer partitions refuses records. It is looked up then, before it gets
    another one.
    """

    def __init__(self, servers: str, login: LoginWatch) -> None:
        """`servers` are named where no broker answers, with the reason of the login."""
        self._servers, self._login = servers, login
        self._counts: dict[str, int] = {}
        self._outdated: set[str] = set()

    def start(self, client: Any, topics: Iterable[str]) -> None:  # noqa: ANN401 - confluent_kafka is untyped
        """Learn of these topics, too. Raises BrokerError where one is not there or no broker answers."""
        self._counts |= {topic: partition_count(client, topic, servers=self._servers, login=self._login) for topic in topics}

    def find(self, record: Record) -> int:
        """Return the partition of a record."""
        return record.input_partition % self._counts[record.topic]

    def refresh(self, client: Any) -> None:  # noqa: ANN401 - confluent_kafka is untyped
        """Look up again the topics that refused a record. No record may be under way: it would come behind later ones."""
        for topic in list(self._outdated):
            self._look_up_again(client, topic)

    def note_refusal(self, error: KafkaError, topic: str) -> None:
        """Take why a topic refused a record: it may not have the partition any more."""
        if error.code() in NO_PARTITION:
            self._outdated.add(topic)

    def _look_up_again(self, client: Any, topic: str) -> None:  # noqa: ANN401 - confluent_kafka is untyped
        """Take a smaller number. Where the topic is gone or nobody answers, the next record asks again, after its pause."""
        try:
            count = len(client.list_topics(topic, timeout=LOOKUP_TIMEOUT_S).topics[topic].partitions)
        except KafkaException as error:
            log.warning("the partitions of %r are not known: %s", topic, error.args[0].str())
            return
        if not count:
            return
        self._outdated.discard(topic)
        if count < self._counts[topic]:
            log.warning("%r has %d partitions now, no longer %d: it was created again", topic, count, self._counts[topic])
            self._counts[topic] = count
