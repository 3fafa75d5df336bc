"""Why brokers refuse us, in words that say what to do: a login, a right that is missing, a topic that takes no record.

Which error ends the process, and which one passes: `failures.py`.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from confluent_kafka import KafkaError, KafkaException

LOGIN_REFUSED = (KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError.SASL_AUTHENTICATION_FAILED)  # noqa: SLF001
SILENT = (
    KafkaError._PURGE_QUEUE,  # noqa: SLF001 - librdkafka's own codes
    KafkaError._PURGE_INFLIGHT,  # noqa: SLF001
    KafkaError._MSG_TIMED_OUT,  # noqa: SLF001
    KafkaError._TIMED_OUT,  # noqa: SLF001
)
"""Of a record: it was given up with others, or nobody answered. That says nothing about its topic."""
LOOKUP_TIMEOUT_S = 2.0


def name_missing_right(
    error: KafkaError, *, topic: str = "", operation: str = "READ", group: str = "", transactional_id: str = ""
) -> str:
    """Return which right is missing by an error, as the end of a sentence; empty where none is. `operation`: on the topic."""
    missing = {
        KafkaError.TOPIC_AUTHORIZATION_FAILED: f"the right {operation} on topic {topic!r}",
        KafkaError.GROUP_AUTHORIZATION_FAILED: f"the right READ on group {group!r}",
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: f"the right WRITE on transactional id {transactional_id!r}",
    }
    return f"; {what} is missing" if (what := missing.get(error.code())) else ""


def explain_silent_topics(client: Any, topics: Iterable[str]) -> str:  # noqa: ANN401 - confluent_kafka is untyped
    """Return what keeps these topics from taking records, as far as brokers tell it, to begin a sentence with; may be empty."""
    try:
        found = [client.list_topics(topic, timeout=LOOKUP_TIMEOUT_S).topics[topic] for topic in sorted(topics)]
    except KafkaException as error:
        return f"no broker tells about the topics ({error.args[0].str()}): "
    return "".join(f"{fault}: " for topic in found for fault in _faults(topic))


def _faults(topic: Any) -> Iterator[str]:  # noqa: ANN401 - confluent_kafka is untyped
    if topic.error is not None:
        yield f"topic {topic.topic!r} cannot be used ({topic.error.str()})"
    elif without := [str(number) for number, partition in topic.partitions.items() if partition.leader < 0]:
        yield f"{topic.topic!r} has no leader for partition {', '.join(without)}"
