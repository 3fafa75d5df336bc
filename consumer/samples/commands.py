"""The flags `--sample FILE` and `--sample-topic N` of `check-config`, and the command `profiles`."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.table import Table

from consumer.argument_types import parse_count
from consumer.codec import Codec
from consumer.errors import ConfigError
from consumer.feeds.fields import ByNames, FieldFinder
from consumer.feeds.kinds import Envelope
from consumer.feeds.profiles import profile_names, read_profile
from consumer.kafka.topic_admin import TopicAdmin
from consumer.kafka.topic_reader import TopicReader
from consumer.messages import Message
from consumer.samples.files import MAX_SAMPLES, read_samples
from consumer.samples.judge import judge, measure_fit, rank_profiles
from consumer.samples.report import advise, make_console, show_judgements
from consumer.settings import Settings
from schemas.tables import TableError


def add_sample_flags(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the flags that name sample messages."""
    samples = parser.add_mutually_exclusive_group()
    samples.add_argument(
        "--sample", type=Path, metavar="FILE", help="show what is found in the messages of a file: JSON, JSON lines, CSV or TSV"
    )
    samples.add_argument(
        "--sample-topic",
        type=_parse_count,
        metavar="N",
        help="show what is found in the last N messages of the input topic",
    )


def check_samples(options: argparse.Namespace, settings: Settings, make_codec: Callable[..., Codec]) -> int:
    """Report on the samples that the flags name; returns 1 where one would become a dead letter or is no row, else 0.

    Raises ConfigError where there is no sample, BrokerError where the topic cannot be read.
    """
    finder, bad_rows = settings.finder() or ByNames(), list[TableError]()
    if options.sample is not None:
        messages, bad_rows = read_samples(options.sample, finder.title_names)
    else:
        messages = read_last_messages(settings, options.sample_topic)

    def make(finder: FieldFinder, on_envelope: Callable[[Envelope], None]) -> Codec:
        return make_codec(settings, finder=finder, on_envelope=on_envelope)

    console, judgements = make_console(), judge(messages, make, finder)
    show_judgements(judgements, console)
    for row in bad_rows:
        console.print(str(row), highlight=False, markup=False)
    sign = read_profile(settings.profile).sign if settings.profile else None
    best = rank_profiles(messages, make)[0]
    advice = advise(measure_fit(judgements, sign), best, settings.profile, count=len(messages))
    console.print(advice, highlight=False, markup=False)
    return 1 if bad_rows or any(each.outcome == "dead letter" for each in judgements) else 0


def read_last_messages(settings: Settings, count: int) -> list[Message]:
    """Return the last messages of the input topics, oldest first, read outside the group. Raises BrokerError, ConfigError."""
    found: list[Message] = []
    for topic in _find_topics(settings):
        with TopicReader(settings.kafka_properties(), topic, last=count) as reader:
            found += reader
    if not found:
        raise ConfigError(f"the topic {settings.input_topic} holds no message")
    return sorted(found, key=lambda each: (each.timestamp_ms or 0, each.partition, each.offset))[-count:]


def _find_topics(settings: Settings) -> Sequence[str]:
    """Return the input topics; for a pattern, those that are there."""
    if settings.input_topics.names:
        return settings.input_topics.names
    there = TopicAdmin(settings.kafka_properties()).partition_counts()
    return [topic for topic in there if settings.input_topics.matches(topic)]


def show_profiles(_options: argparse.Namespace) -> int:
    """Print the names and descriptions of all profiles."""
    table = Table("profile", "of")
    for name in profile_names():
        table.add_row(name, read_profile(name).description)
    make_console().print(table)
    return 0


def _parse_count(text: str) -> int:
    if (number := parse_count(text)) > MAX_SAMPLES:
        raise argparse.ArgumentTypeError(f"at most {MAX_SAMPLES}, not {text}")
    return number
