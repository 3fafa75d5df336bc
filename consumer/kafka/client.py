"""How Kafka clients are made, and what any of them may be asked. Only files of this folder know confluent_kafka."""

import logging
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from functools import partial
from typing import Any

import confluent_kafka as ck
from confluent_kafka import KafkaError, KafkaException

from consumer.errors import BrokerError, ConfigError
from consumer.kafka.broken_brokers import broker_log
from consumer.kafka.convert import from_client_partition, to_client_partitions
from consumer.kafka.failures import NOT_ASSIGNED, explain_no_answer
from consumer.kafka.login_watch import LoginWatch
from consumer.kafka.reasons import name_missing_right
from consumer.kafka_names import InputTopics
from consumer.masking import mask_values
from consumer.messages import TopicPartition

METADATA_TIMEOUT_S = 10.0
LEAVE_TIMEOUT_S = 5.0
FIRST, END = -2, -1
"""Kafka's timestamps for the first offset of a partition, and for the one after its last."""

IDEMPOTENT_PRODUCER: Mapping[str, Any] = {"enable.idempotence": True, "max.in.flight.requests.per.connection": 1}
"""Properties of a producer whose acknowledged records are written.

It sends one request at a time. With several, this was seen on topics that were written to as soon as they were created: the
first request to a new partition is refused for the moment, and the second one is taken. The broker accepts that gap in the
sequence and answers the repeated first request as a duplicate. librdkafka then reports that it is written, and it is lost.
"""

NO_NEW_TOPICS: Mapping[str, Any] = {"allow.auto.create.topics": False}
"""Properties of any client that only looks for topics. By default a producer and an AdminClient create what they look up."""

MEMBER_PROPERTIES = (
    "group.",
    "session.",
    "heartbeat.",
    "partition.",
    "auto.",
    "isolation.",
    "max.poll.",
    "fetch.",
    "queued.",
    "enable.auto.",
    "enable.partition.",
)
"""How properties begin that a client outside a group would complain about."""


def outside_group(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the properties for a client that is no member of a group: where the brokers are, and how to talk to them."""
    return {name: value for name, value in properties.items() if not name.startswith(MEMBER_PROPERTIES)}


def make_client(
    kind: Any,  # noqa: ANN401 - two classes without a common base
    properties: Mapping[str, Any],
    *,
    on_error: Callable[[KafkaError], None] = lambda _: None,
    on_log: Callable[[str], object] = lambda _: None,
) -> Any:  # noqa: ANN401
    """Return a client that logs, also to `on_log`, each line beginning with librdkafka's word for it. It creates no topics.

    Raises ConfigError for a property that librdkafka does not take.
    """

    def log_error(error: KafkaError) -> None:
        broker_log.write(logging.WARNING, f"Kafka: {error.str()}")
        on_error(error)

    try:
        return kind({**properties, **NO_NEW_TOPICS, "error_cb": log_error}, logger=_Log(on_log))
    except KafkaException as error:
        raise ConfigError(f"Kafka property refused: {mask_values(error.args[0].str(), properties)}") from error
    except (TypeError, ValueError) as error:
        raise ConfigError(f"Kafka property refused: {mask_values(str(error), properties)}") from error


class _Log:
    """The part of a logger that a client calls."""

    def __init__(self, on_log: Callable[[str], object]) -> None:
        self._on_log = on_log

    def log(self, level: int, text: str, *values: object) -> None:
        """Log a line and hand it on."""
        line = text % values if values else text
        broker_log.write(level, line)
        self._on_log(line)


def make_end_client(properties: Mapping[str, Any]) -> closing[Any]:
    """Return a consumer, to be closed, that learns where partitions really end.

    To a consumer that reads only committed messages, a partition ends at the first open transaction.
    """
    return closing(make_client(ck.Consumer, {**properties, "isolation.level": "read_uncommitted"}))


def partition_count(client: ck.Consumer | ck.Producer, topic: str, *, servers: str = "", login: LoginWatch | None = None) -> int:
    """Return how many partitions `topic` has. Raises BrokerError where it is not there or no broker answers.

    `login` knows why the client's logins are refused.
    """
    with explain_no_answer(servers, partial(_ask, login, client)):
        found = client.list_topics(topic, timeout=METADATA_TIMEOUT_S).topics[topic]
    if found.error is not None:
        way_out = name_missing_right(found.error, topic=topic, operation="DESCRIBE")
        way_out = way_out or "; create it, or name another one in the settings"
        raise BrokerError(f"topic {topic!r} cannot be used ({found.error.str()}){way_out}")
    return len(found.partitions)


def partition_counts(
    client: ck.Consumer, topics: InputTopics, *, servers: str = "", login: LoginWatch | None = None
) -> dict[str, int]:
    """Return how many partitions each input topic has. Raises BrokerError where one that is named is not there.

    A pattern may match no topic yet. `login` knows why the client's logins are refused.
    """
    if topics.pattern is None:
        return {topic: partition_count(client, topic, servers=servers, login=login) for topic in topics.names}
    with explain_no_answer(servers, partial(_ask, login, client)):
        found = client.list_topics(timeout=METADATA_TIMEOUT_S).topics.values()
    return {t.topic: len(t.partitions) for t in found if t.error is None and topics.matches(str(t.topic))}


def _ask(login: LoginWatch | None, client: ck.Consumer | ck.Producer) -> str:
    return login.ask(client) if login is not None else ""


def offsets_at(
    client: Any,  # noqa: ANN401 - confluent_kafka is untyped
    partitions: Collection[TopicPartition],
    moment: int,
    *,
    timeout_s: float,
) -> dict[TopicPartition, int]:
    """Return the first offset at or after a moment, of the partitions that have one.

    `moment` is in milliseconds since 1970, or FIRST or END. Raises KafkaException.
    """
    found = client.offsets_for_times(to_client_partitions(partitions, moment), timeout=timeout_s)
    for partition in found:
        if partition.error is not None:
            raise KafkaException(partition.error)
    return {from_client_partition(partition): partition.offset for partition in found if partition.offset >= 0}


def seek(consumer: Any, partition: TopicPartition, offset: int) -> None:  # noqa: ANN401 - confluent_kafka is untyped
    """Let a consumer read a partition that it is assigned from an offset on. Raises KafkaException."""
    target = ck.TopicPartition(*partition, offset)
    try:
        consumer.seek(target)
    except KafkaException as error:
        if error.args[0].code() != NOT_ASSIGNED:
            raise
        # The client has given the partition up, as it does where its position is not there.
        consumer.incremental_unassign([target])
        consumer.incremental_assign([target])


def leave_group(consumer: Any, has_left: Callable[[], bool]) -> None:  # noqa: ANN401 - confluent_kafka is untyped
    """Leave the group of a consumer while rebalances are still served, for some seconds at most.

    A rebalance that the consumer's `close` finds in its queue can hang it for good, see confluentinc/librdkafka#4041 and #4884.
    Messages that come meanwhile are dropped, for the next owner to read.
    """
    consumer.unsubscribe()
    deadline = time.monotonic() + LEAVE_TIMEOUT_S
    while (consumer.poll(0.1) is not None or not has_left()) and time.monotonic() < deadline:
        pass
