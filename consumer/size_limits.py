"""What the size limits of the topics (`max.message.bytes`) do to records. Asks the brokers and changes nothing."""

import logging
from collections.abc import Iterator, Mapping

from consumer.errors import OccustreamError
from consumer.kafka.topic_admin import SIZE_LIMIT, TopicAdmin
from consumer.settings import Settings

log = logging.getLogger(__name__)

DEAD_LETTER_ROOM_BYTES = 8_192
"""How much larger than its message a dead letter may be: its headers hold up to 1,000 characters of an error. An abridged letter
is never larger than that."""
CLIENT_BATCH_BYTES = 1_000_000
"""librdkafka's `batch.size`."""


class Problem(str):
    """What would keep `run` from working as it should, in a line. A plain string beside it is a warning."""

    __slots__ = ()


def warn_of_limits(settings: Settings) -> None:
    """Log what the limits of the topics do to records. A broker that does not tell them keeps nobody from starting."""
    try:
        for finding in find_faulty_limits(settings, TopicAdmin(settings.kafka_properties())):
            log.warning("%s", finding)
    except OccustreamError as error:
        log.warning("whether each record fits into its topic is not known: %s", error)


def find_faulty_limits(settings: Settings, admin: TopicAdmin) -> Iterator[str]:
    """Yield what is wrong with the limits of the topics that are there. Raises BrokerError."""
    there = admin.partition_counts().keys()
    inputs = [topic for topic in there if settings.input_topics.matches(topic)]
    written = [topic for topic in settings.written_topics if topic in there]
    if inputs and settings.dead_letter_topic in written:
        yield from explain_limits(settings, inputs, admin.size_limits([*inputs, *written]))


def explain_limits(settings: Settings, inputs: list[str], limits: Mapping[str, int]) -> Iterator[str]:
    """Yield what limits, in bytes by topic, do to records. A topic that does not tell its limit has none here."""
    known = {topic: limits[topic] for topic in inputs if topic in limits}
    if not known or settings.dead_letter_topic not in limits:
        yield f"{SIZE_LIMIT} of the topics is not ours to see: whether each record fits is not known"
        return
    largest = max(known, key=lambda topic: known[topic])
    yield from _explain_dead_letters(settings.dead_letter_topic, limits, largest)
    for topic in settings.written_topics:
        if topic in limits and topic != settings.dead_letter_topic:
            yield from _explain_output(settings, topic, limits, largest)


def _explain_dead_letters(topic: str, limits: Mapping[str, int], largest: str) -> Iterator[str]:
    own, needed = limits[topic], limits[largest] + DEAD_LETTER_ROOM_BYTES
    if own < DEAD_LETTER_ROOM_BYTES:
        yield Problem(f"{SIZE_LIMIT} of dead-letter topic {topic!r} is {own}: some letters never fit and stop the consumer")
    if own < needed:
        text = (
            f"{SIZE_LIMIT} of dead-letter topic {topic!r} is {own}, and {limits[largest]} of input topic {largest!r}: a dead "
            f"letter that does not fit is written without its message's value; raise it to {needed}"
        )
        yield Problem(text) if own < limits[largest] else text


def _explain_output(settings: Settings, topic: str, limits: Mapping[str, int], largest: str) -> Iterator[str]:
    own, batch = limits[topic], int(settings.kafka.get("batch.size", CLIENT_BATCH_BYTES))
    if own < min(limits[largest], settings.max_message_bytes):
        yield (
            f"{SIZE_LIMIT} of output topic {topic!r} is {own}, below that of input topic {largest!r} ({limits[largest]}) and "
            f"max_message_bytes ({settings.max_message_bytes}): an enriched posting that does not fit becomes a dead letter"
        )
    if own < batch:
        yield (
            f"{SIZE_LIMIT} of output topic {topic!r} is {own}, below batch.size ({batch}): good records may be refused with "
            f"large ones and be sent again; set --kafka batch.size={own}"
        )
