"""Which error of a Kafka client means what: a record is too large, a client is of no more use, a person is needed."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from confluent_kafka import KafkaError, KafkaException

from consumer.errors import BrokerError, DeliveryFailed, RecordTooLarge
from consumer.kafka.broken_brokers import broker_log
from consumer.kafka.reasons import name_missing_right

# librdkafka's own error codes begin with an underscore.
FATAL = KafkaError._FATAL  # noqa: SLF001
FENCED = (KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED)  # noqa: SLF001
"""Another process uses the transactional id of a producer."""
NOT_ASSIGNED = KafkaError._STATE  # noqa: SLF001
"""Of a seek: the client does not read the partition."""
NO_OFFSET = KafkaError._NO_OFFSET  # noqa: SLF001
NO_PARTITION = (KafkaError._UNKNOWN_PARTITION, KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_OR_PART)  # noqa: SLF001
"""Of a record: its topic does not have the partition."""
PARTITION_END = KafkaError._PARTITION_EOF  # noqa: SLF001
POSITION_OUT_OF_RANGE = KafkaError._AUTO_OFFSET_RESET  # noqa: SLF001
"""The broker does not have the position, and `auto.offset.reset` does not name another one."""
TIMED_OUT = KafkaError._TIMED_OUT  # noqa: SLF001

NEED_A_PERSON = (
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
)


@contextmanager
def explain_no_answer(servers: str, ask_reason: Callable[[], str] = lambda: "") -> Iterator[None]:
    """Turn the failure of a look-up into a BrokerError that says where to look. `ask_reason`: why connections fail, if known."""
    try:
        yield
    except KafkaException as error:
        raise BrokerError(
            f"no Kafka broker answers at {servers!r} ({ask_reason() or error.args[0].str()}); "
            "check --bootstrap-servers (OCCUSTREAM_BOOTSTRAP_SERVERS) and the security settings"
        ) from error


def is_fatal(error: KafkaError) -> bool:
    """Return whether a client can do nothing any more. The error that `produce` raises then does not say so of itself."""
    return bool(error.fatal()) or error.code() == FATAL


def is_too_large(error: KafkaError) -> bool:
    """Return whether a record, or several together, are larger than the client or the topic takes."""
    return error.code() in (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE)


def delivery_failure(error: KafkaError, what: str, *, topic: str = "", group: str = "") -> DeliveryFailed:
    """Return what a producer's error means for a record to a topic, to be raised or handed on; `what` begins its message."""
    right = name_missing_right(error, topic=topic, operation="WRITE", group=group)
    return (RecordTooLarge if is_too_large(error) else DeliveryFailed)(f"{what}: {error.str()}{right}")


def is_name_held(error: KafkaError) -> bool:
    """Return whether a member was refused because another one has its name. The code of a fatal error does not say why."""
    return is_fatal(error) and KafkaError(KafkaError.UNRELEASED_INSTANCE_ID).str() in error.str()


def explain_shut_out(error: KafkaError, topic: str, name: str) -> str:
    """Return what it means that the group has shut a member of this name, which may be empty, out for good."""
    if is_name_held(error):
        who = f". Another consumer has the name {name!r} and lives: of two the newer ends, which is this one"
    elif KafkaError(KafkaError.FENCED_INSTANCE_ID).str() in error.str():
        who = (
            f". Another one has joined under the name {name!r}, or its session was over: of two the older ends, which is this one"
        )
    else:
        who = ""
    return (
        f"{topic!r} is not read any more: the group has shut this consumer out for good ({error.str()}){who}; start it again, "
        "and give each consumer of the group an --instance-id of its own"
    )


def raise_or_log(error: KafkaError, topic: str, *, group: str = "") -> None:
    """Raise BrokerError for an error of a consumer that needs a person. Log any other: librdkafka recovers by itself."""
    if error.code() == FATAL:
        raise BrokerError(explain_shut_out(error, topic, ""))
    if error.fatal() or error.code() in NEED_A_PERSON:
        raise BrokerError(f"cannot read {topic!r}: {error.str()}{name_missing_right(error, topic=topic, group=group)}")
    if error.code() != PARTITION_END:
        broker_log.write(logging.WARNING, f"Kafka: {error.str()}")
