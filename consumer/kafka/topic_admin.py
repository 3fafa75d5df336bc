"""What a broker says of topics as they are now, and how new ones are made. Existing topics are never altered."""

import time
from collections.abc import Collection, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from consumer.errors import BrokerError
from consumer.kafka.client import METADATA_TIMEOUT_S, make_client, outside_group
from consumer.kafka.failures import explain_no_answer

SIZE_LIMIT = "max.message.bytes"
BROKER_SIZE_LIMIT = "message.max.bytes"
BROKER_DEFAULT = -1
"""Partitions or replicas of a new topic: as many as the brokers are set to."""
CREATE_TIMEOUT_S = 30.0
RETRY_S = 0.2


class TopicAdmin:
    """Asks the brokers about topics, and creates topics. Blocks for some seconds at most."""

    def __init__(self, properties: Mapping[str, Any]) -> None:
        """Make the client; it connects when asked. Raises ConfigError for a property that librdkafka does not take."""
        self._servers = str(properties.get("bootstrap.servers", ""))
        self._client = make_client(AdminClient, {"log_level": 3, **outside_group(properties)})

    def partition_counts(self) -> dict[str, int]:
        """Return how many partitions each topic has that we may see. Raises BrokerError where no broker answers."""
        with explain_no_answer(self._servers):
            topics = self._client.list_topics(timeout=METADATA_TIMEOUT_S).topics.values()
        return {topic.topic: len(topic.partitions) for topic in topics if topic.error is None}

    def size_limits(self, topics: Collection[str]) -> dict[str, int]:
        """Return `max.message.bytes` of topics, in bytes, of those that tell it. Raises BrokerError."""
        return self._read_config(ResourceType.TOPIC, topics, SIZE_LIMIT) if topics else {}

    def default_size_limit(self) -> int | None:
        """Return `max.message.bytes` of a topic that sets none, in bytes; None if no broker tells. Raises BrokerError."""
        with explain_no_answer(self._servers):
            brokers = self._client.list_topics(timeout=METADATA_TIMEOUT_S).brokers
        first = [str(number) for number in list(brokers)[:1]]
        return next(iter(self._read_config(ResourceType.BROKER, first, BROKER_SIZE_LIMIT).values()), None)

    def create(self, topic: str, *, partitions: int, replication_factor: int, config: Mapping[str, str], dry_run: bool) -> bool:
        """Create a topic and wait until it can be seen; return False if somebody has created it meanwhile.

        With `dry_run` the broker only says whether it would. Raises BrokerError where it refuses.
        """
        wanted = NewTopic(topic, partitions, replication_factor, config=dict(config))
        options = {"request_timeout": CREATE_TIMEOUT_S, "operation_timeout": CREATE_TIMEOUT_S, "validate_only": dry_run}
        try:
            self._client.create_topics([wanted], **options)[topic].result(CREATE_TIMEOUT_S)
        except TimeoutError:
            raise BrokerError(f"topic {topic!r} was not created in {CREATE_TIMEOUT_S:.0f} s; look at the brokers") from None
        except KafkaException as error:
            if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
                return False
            raise BrokerError(f"topic {topic!r} is not created: {error.args[0].str()}") from error
        if not dry_run:
            self._wait_until_seen(topic)
        return True

    def _wait_until_seen(self, topic: str) -> None:
        until = time.monotonic() + METADATA_TIMEOUT_S
        while topic not in self.partition_counts() and time.monotonic() < until:
            time.sleep(RETRY_S)

    def _read_config(self, kind: ResourceType, names: Collection[str], entry: str) -> dict[str, int]:
        """Return one number of each configuration that we may read."""
        found: dict[str, int] = {}
        asked = [ConfigResource(kind, name) for name in names]
        for resource, answer in self._client.describe_configs(asked, request_timeout=METADATA_TIMEOUT_S).items():
            try:
                found[resource.name] = int(answer.result(METADATA_TIMEOUT_S)[entry].value)
            except (KafkaException, TimeoutError, KeyError, TypeError):
                continue  # not ours to read, or a broker that has no such interface
        return found
