"""`occustream-consumer check-config`: finds what would keep `run` from working. It starts, reads and creates nothing."""

import json
import os
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

from consumer.errors import BrokerError, OccustreamError
from consumer.formats.choose import check_registry, make_formats
from consumer.kafka.sink import KafkaSink
from consumer.kafka.source import KafkaSource
from consumer.kafka.topic_admin import TopicAdmin
from consumer.kafka.transactions import KafkaTransactions
from consumer.masking import mask_value
from consumer.registry.folder import FolderRegistry
from consumer.settings import Settings
from consumer.settings_loading import tables, unknown_variables
from consumer.size_limits import Problem, find_faulty_limits


def check(settings: Settings, *, offline: bool) -> int:
    """Print the settings, and what is wrong with them and around them; returns the exit status. Raises ConfigError."""
    _check_properties(settings)
    print(json.dumps(_masked(settings), indent=1))
    findings = [*unknown_variables(Settings), *_check_registry(settings.registry)]
    if not offline:
        findings += [*_check_topics(settings), *_check_schema_registry(settings)]
    for finding in findings:
        print(f"{'occustream-consumer' if isinstance(finding, Problem) else 'warning'}: {finding}", file=sys.stderr)
    return int(any(isinstance(finding, Problem) for finding in findings))


def _check_properties(settings: Settings) -> None:
    """Raise ConfigError for a property that a client of `run` does not take."""
    KafkaSource(settings.consumer_properties(), topic=settings.input_topic).close()
    if settings.delivery == "exactly-once":
        KafkaTransactions(settings.transaction_properties(), topics=[], transactional_id=settings.transactional_id)
    else:
        KafkaSink(settings.kafka_properties(), topics=[])
    if settings.uses_schema_registry:
        make_formats(settings)


def _masked(settings: Settings) -> dict[str, object]:
    values = settings.model_dump(mode="json")
    for setting, table in tables(Settings).items():
        if table.secret:
            values[setting] = {name: mask_value(name, value) for name, value in values[setting].items()}
    return values


def _check_registry(folder: Path) -> Iterator[str]:
    """Yield what is wrong with the registry. A consumer only reads it."""
    if not folder.exists() and not folder.is_symlink():
        yield _explain_missing_registry(folder)
        return
    if not folder.is_dir():
        yield Problem(f"registry {folder} is no folder")
        return
    if not os.access(folder, os.R_OK | os.X_OK):
        yield Problem(f"registry {folder} cannot be read by this user; a consumer needs to list and read it")
        return
    try:
        version = FolderRegistry(folder).read_current()
        if version is None:
            yield f"{folder} holds no promoted model version yet; run occustream-trainer train"
        else:
            FolderRegistry(folder).load(version)
    except OccustreamError as error:
        yield Problem(str(error))


def _explain_missing_registry(folder: Path) -> str:
    above = next(parent for parent in folder.absolute().parents if parent.exists())
    if above.is_dir() and os.access(above, os.W_OK | os.X_OK):
        return f"registry {folder} is not there yet; run occustream-trainer train --registry {folder}"
    why = "cannot be written by this user" if above.is_dir() else "is no folder"
    return Problem(f"registry {folder} is not there and cannot be made: {above} {why}; name another --registry")


def _check_topics(settings: Settings) -> Iterator[str]:
    """Yield what is wrong with the topics, as the brokers tell it."""
    try:
        admin = TopicAdmin(settings.kafka_properties())
        there = admin.partition_counts()
        yield from _check_missing(settings, there.keys())
        yield from find_faulty_limits(settings, admin)
    except BrokerError as error:
        yield Problem(f"{error}; --offline checks without a broker")


def _check_schema_registry(settings: Settings) -> Iterator[str]:
    """Yield why no value could be read or written in the formats of the settings."""
    if not settings.uses_schema_registry:
        return
    try:
        check_registry(settings)
    except OccustreamError as error:
        yield Problem(f"{error}; --offline checks without a schema registry")


def _check_missing(settings: Settings, there: Collection[str]) -> Iterator[str]:
    for topic in dict.fromkeys((*settings.input_topics.names, *settings.written_topics)):
        if topic not in there:
            yield Problem(
                f"topic {topic!r} is not there, or not ours to see; create it ('occustream-consumer topics create'), "
                "or name another one in the settings"
            )
    if settings.input_topics.pattern and not any(map(settings.input_topics.matches, there)):
        yield f"no topic matches {settings.input_topic} yet"
