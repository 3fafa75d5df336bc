"""`occustream-consumer topics create`: makes those topics of the settings that are not there. It alters none that is."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass

from consumer.argument_types import parse_count
from consumer.kafka.topic_admin import BROKER_DEFAULT, SIZE_LIMIT, TopicAdmin
from consumer.settings import Settings
from consumer.settings_loading import add_flags
from consumer.size_limits import DEAD_LETTER_ROOM_BYTES

SETTINGS = (
    "bootstrap_servers",
    "input_topic",
    "output_topic",
    "output_topic_accept",
    "output_topic_review",
    "output_topic_unclassified",
    "dead_letter_topic",
    "kafka",
)
DESCRIPTION = (
    "Create the input, output and dead-letter topics of the settings that are not there yet. A topic that is there is never "
    "altered. 'run' and 'check-config' create none. The dead-letter topic gets a max.message.bytes that leaves room for the "
    "headers of a dead letter, and is never compacted."
)


@dataclass(frozen=True, slots=True)
class Shape:
    """Partitions and replicas of new topics; BROKER_DEFAULT: as many as the brokers are set to."""

    partitions: int
    replication_factor: int


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the command `create`; it sets `action`, which takes settings and options and returns the exit status."""
    parser.description = DESCRIPTION
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    create = commands.add_parser("create", help="create the topics that are missing", description=DESCRIPTION)
    create.add_argument(
        "--partitions",
        type=parse_count,
        metavar="N",
        help="partitions of each new topic (default: as many as the input topic has, or as the brokers are set to)",
    )
    create.add_argument(
        "--replication-factor",
        type=parse_count,
        default=BROKER_DEFAULT,
        metavar="N",
        help="replicas of each new topic (default: as the brokers are set to)",
    )
    create.add_argument("--dry-run", action="store_true", help="say what would be created, create nothing")
    add_flags(create, Settings, SETTINGS)
    create.set_defaults(action=create_topics)


def create_topics(settings: Settings, options: argparse.Namespace) -> int:
    """Create the missing topics and say, in a line for each, what was done. Raises BrokerError."""
    admin = TopicAdmin(settings.kafka_properties())
    there = admin.partition_counts()
    inputs = [topic for topic in there if settings.input_topics.matches(topic)]
    counts = [there[topic] for topic in inputs]
    shape = Shape(options.partitions or max(counts, default=BROKER_DEFAULT), options.replication_factor)
    limit = needed_size_limit(admin, settings, inputs)
    if settings.input_topics.pattern is not None:
        print(f"{settings.input_topic}: a pattern names no topic to create; it matches {len(inputs)} now")
    for topic in dict.fromkeys((*settings.input_topics.names, *settings.written_topics)):
        is_for_letters = topic == settings.dead_letter_topic
        config = {"cleanup.policy": "delete", SIZE_LIMIT: str(limit)} if is_for_letters and limit is not None else {}
        if topic in there:
            print(_describe_existing(admin, topic, there[topic], limit if is_for_letters else None))
        else:
            print(_create(admin, topic, shape, config=config, dry_run=options.dry_run))
    return 0


def needed_size_limit(admin: TopicAdmin, settings: Settings, inputs: list[str]) -> int | None:
    """Return the `max.message.bytes` that a dead-letter topic needs for messages of these topics, in bytes.

    A topic that is to be created will have the brokers' default. None where no broker tells any limit.
    """
    limits = list(admin.size_limits(inputs).values())
    if set(settings.input_topics.names) - set(inputs) or not limits:
        limits.append(admin.default_size_limit() or 0)
    return max(limits) + DEAD_LETTER_ROOM_BYTES if any(limits) else None


def _describe_existing(admin: TopicAdmin, topic: str, partitions: int, needed: int | None) -> str:
    line = f"{topic}: is there, {_plural(partitions, 'partition')}; left as it is"
    limit = admin.size_limits([topic]).get(topic)
    if needed is None or limit is None or limit >= needed:
        return line
    return f"{line}. Its {SIZE_LIMIT} is {limit}: raise it to {needed}, or some dead letters lack their message's value"


def _create(admin: TopicAdmin, topic: str, shape: Shape, *, config: Mapping[str, str], dry_run: bool) -> str:
    made = admin.create(
        topic,
        partitions=shape.partitions,
        replication_factor=shape.replication_factor,
        config=config,
        dry_run=dry_run,
    )
    if not made:
        return f"{topic}: is there, somebody has just created it; left as it is"
    partitions, replicas = (
        _plural(count, word) for count, word in ((shape.partitions, "partition"), (shape.replication_factor, "replica"))
    )
    settings = "".join(f", {name}={value}" for name, value in config.items())
    return f"{topic}: {'would be created' if dry_run else 'created'}, {partitions}, {replicas}{settings}"


def _plural(count: int, word: str) -> str:
    return f"{'default' if count == BROKER_DEFAULT else count} {word}{'' if count == 1 else 's'}"
