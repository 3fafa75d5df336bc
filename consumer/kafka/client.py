"""What all Kafka clients share: how they are made, what they say of a topic, which errors need a person, how a message looks.

Besides kafka*.py only what reads and writes for it knows confluent_kafka: offsets.py, topic_identity.py, topic_reader.py,
replay_range.py, transactions.py, breaks.py.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from operator import methodcaller
from typing import Any, cast

import confluent_kafka as ck
from confluent_kafka import KafkaError, KafkaException

from consumer.errors import BrokerError, ConfigError, DeliveryFailed, RecordTooLarge
from consumer.messages import Headers, Message, TopicPartition

log = logging.getLogger(__name__)

METADATA_TIMEOUT_S = 10.0
ACKNOWLEDGED_IS_WRITTEN: Mapping[str, Any] = {"enable.idempotence": True, "max.in.flight.requests.per.connection": 1}
"""Of a producer. One request at a time: where the first one to a new partition is refused for the moment and the second one is
taken, the broker accepts that gap in the sequence and answers the repeated first one as a duplicate. librdkafka then tells us
that it is written, and it is lost. Seen on topics that were written to as soon as they were created."""

OF_MEMBERS = (
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
    return {name: value for name, value in properties.items() if not name.startswith(OF_MEMBERS)}


def partition_count(client: ck.Consumer | ck.Producer, topic: str, *, servers: str = "") -> int:
    """Return how many partitions `topic` has. Raises BrokerError where it is not there or no broker answers."""
    with unanswered(servers):
        found = client.list_topics(topic, timeout=METADATA_TIMEOUT_S).topics[topic]
    if found.error is not None:
        raise BrokerError(f"topic {topic!r} cannot be used ({found.error.str()}); create it, or name another one in the settings")
    return len(found.partitions)


@contextmanager
def unanswered(servers: str) -> Iterator[None]:
    """Turn a look-up's failure into a BrokerError that says where to look."""
    try:
        yield
    except KafkaException as error:
        raise BrokerError(
            f"no Kafka broker answers at {servers!r} ({error.args[0].str()}); "
            "check --bootstrap-servers (OCCUSTREAM_BOOTSTRAP_SERVERS) and the security settings"
        ) from error


def make_client(
    kind: Any,  # noqa: ANN401 - two classes without a common base
    properties: Mapping[str, Any],
    *,
    on_error: Callable[[KafkaError], None] = lambda _: None,
    on_log: Callable[[str], object] = lambda _: None,
) -> Any:  # noqa: ANN401
    """Return a client that logs, also to `on_log`, each line beginning with librdkafka's word for it.

    Raises ConfigError for a property that librdkafka does not take.
    """

    def noted(error: KafkaError) -> None:
        log.warning("Kafka: %s", error.str())
        on_error(error)

    try:
        return kind({**properties, "error_cb": noted}, logger=_Log(on_log))
    except KafkaException as error:
        raise ConfigError(f"Kafka property refused: {error.args[0].str()}") from error
    except (TypeError, ValueError) as error:
        raise ConfigError(f"Kafka property refused: {error}") from error


class _Log:
    """What a client takes for a logger."""

    def __init__(self, on_log: Callable[[str], object]) -> None:
        self._on_log = on_log

    def log(self, level: int, text: str, *values: object) -> None:
        """Log a line, and tell of it."""
        log.log(level, text, *values)
        self._on_log(text % values if values else text)


def look_for_ends(properties: Mapping[str, Any]) -> closing[Any]:
    """Return a consumer, to be closed, that is told where partitions really end.

    One that reads only what is committed is told that they end at the first open transaction.
    """
    return closing(make_client(ck.Consumer, {**properties, "isolation.level": "read_uncommitted"}))


def is_fatal(error: KafkaError) -> bool:
    """Return whether a client can do nothing any more. The error that `produce` raises then does not say so of itself."""
    return bool(error.fatal()) or error.code() == KafkaError._FATAL  # noqa: SLF001 - librdkafka's own codes start with an underscore


def failure(error: KafkaError, what: str) -> DeliveryFailed:
    """Return what a producer's error means for a record, to be raised or handed on; `what` begins its message."""
    return (RecordTooLarge if is_too_large(error) else DeliveryFailed)(f"{what}: {error.str()}")


def is_too_large(error: KafkaError) -> bool:
    """Return whether a record, or several together, are larger than the client or the topic takes."""
    return error.code() in (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE)


def raise_if_hopeless(error: KafkaError, topic: str) -> None:
    """Log what librdkafka heals by itself. Raises BrokerError for what needs a person."""
    hopeless = (
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
    )
    if error.code() == KafkaError._FATAL:  # noqa: SLF001 - librdkafka's own codes start with an underscore
        raise BrokerError(
            f"{topic!r} is not read any more: the group has shut this consumer out for good ({error.str()}); start it again, and "
            "give each consumer of the group an --instance-id of its own"
        )
    if error.fatal() or error.code() in hopeless:
        raise BrokerError(f"cannot read {topic!r}: {error.str()}")
    if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own codes start with an underscore
        log.warning("Kafka: %s", error.str())


def ck_partitions(names: Iterable[TopicPartition]) -> list[ck.TopicPartition]:
    """Return our names of partitions as the client's."""
    return [ck.TopicPartition(p.topic, p.partition) for p in names]


def named(partitions: Sequence[ck.TopicPartition]) -> set[TopicPartition]:
    """Return the client's names of partitions as ours."""
    return {TopicPartition(p.topic, p.partition) for p in partitions}


def place_of(raw: ck.Message) -> TopicPartition:
    """Return where a message or an error comes from."""
    return TopicPartition(str(raw.topic()), int(raw.partition() or 0))


def go_to(consumer: Any, partition: TopicPartition, offset: int) -> None:  # noqa: ANN401 - confluent_kafka is untyped
    """Read a partition that is assigned from an offset on. Raises KafkaException."""
    place = ck.TopicPartition(*partition, offset)
    try:
        consumer.seek(place)
    except KafkaException as error:
        if error.args[0].code() != KafkaError._STATE:  # noqa: SLF001 - librdkafka's own codes start with an underscore
            raise
        # The client has given the partition up, as it does where its position is not there.
        consumer.incremental_unassign([place])
        consumer.incremental_assign([place])


def listed(partitions: Iterable[ck.TopicPartition | TopicPartition]) -> str:
    """Return partitions as they stand in a log line."""
    return ", ".join(f"{p.topic}[{p.partition}]" for p in partitions) or "nothing"


def as_message(raw: ck.Message) -> Message:
    """Return a message that carries no error as ours, bytes untouched."""
    kind, timestamp_ms = raw.timestamp()
    headers, flaw = _headers(raw)
    return Message(
        str(raw.topic()),
        int(raw.partition() or 0),
        int(raw.offset() or 0),
        _bytes(raw.key()),
        _bytes(raw.value()),
        headers,
        None if kind == ck.TIMESTAMP_NOT_AVAILABLE else timestamp_ms,
        flaw,
    )


_ask_for_headers = methodcaller("headers")
"""For a name that is not UTF-8 the client returns and raises at once. Called from Python code, the interpreter may miss that."""


def _headers(raw: ck.Message) -> tuple[Headers, str | None]:
    """Return the headers, or none and why not. Asked once: after a name that is not UTF-8 the client gives out broken ones."""
    try:
        found = cast("list[tuple[str, str | bytes | None]]", _ask_for_headers(raw) or [])
    except (SystemError, UnicodeDecodeError) as error:
        return (), f"the name of a header is not UTF-8: {error.__cause__ or error}"
    return tuple((str(name), _bytes(value)) for name, value in found), None


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
