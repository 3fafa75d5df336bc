"""Every profile through a real Kafka: its example comes out enriched, with what its file says."""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from consumer.__main__ import main
from consumer.codec import Codec
from consumer.feeds.kinds import Delete
from consumer.feeds.mapping import FIELD_NAMES
from consumer.feeds.profiles import profile_names, read_profile
from consumer.messages import Message
from consumer.metrics import Metrics
from consumer.run import make_codec
from consumer.settings import Settings
from faults.tiny_model import VersionPublisher
from schemas.events import JobPosting
from tests.kafka.jobs import PARTITIONS, Job
from tests.kafka.workers import Workers
from tests.support.brokers import Kafka, unique
from tests.support.pipeline import make_pipeline
from tests.support.topic_reading import read_topic
from tests.support.waiting import WAIT_S, wait_until

pytestmark = pytest.mark.kafka
PROFILES = profile_names()


class CodecOfPartition(Codec):
    """Reads each partition by the codec of one profile: sixteen consumers would take a minute to join their groups."""

    def __init__(self, codecs: Mapping[int, Codec], **options: Any) -> None:
        super().__init__(**options)
        self._codecs = codecs

    def decode(self, message: Message) -> JobPosting | Delete:
        return self._codecs[message.partition].decode(message)


def found_fields(record: Message) -> dict[str, Any]:
    posting = json.loads(record.value or b"")["posting"]
    return {name: posting[name] for name in FIELD_NAMES if posting.get(name) is not None}


def test_the_example_of_every_profile_comes_out_enriched_with_its_result(kafka: Kafka) -> None:
    topic, out, dead = (kafka.create_topic(len(PROFILES)) for _ in range(3))
    for partition, name in enumerate(PROFILES):
        kafka.append(Message(topic, partition, -1, name.encode(), read_profile(name).example.encode()))
    codecs = {partition: make_codec(Settings(profile=name)) for partition, name in enumerate(PROFILES)}
    codec = CodecOfPartition(codecs, output_topic=out, dead_letter_topic=dead, max_message_bytes=20_000, max_title_chars=1_000)
    deadline, metrics = time.monotonic() + WAIT_S, Metrics()

    def all_read() -> bool:
        read = metrics.registry.get_sample_value("occustream_messages_total") or 0
        return read == len(PROFILES) or time.monotonic() > deadline

    source, sink = kafka.source(topic, unique("group")), kafka.sink(out, dead)
    make_pipeline(source, sink, codec=codec, metrics=metrics, stop=all_read).run()
    assert read_topic(kafka.servers, dead) == []
    found = {(record.key or b"").decode(): found_fields(record) for record in read_topic(kafka.servers, out)}
    assert found == {name: read_profile(name).result for name in PROFILES}


def test_a_consumer_process_reads_by_its_profile_and_mapping(kafka_servers: str, workers: Workers, tmp_path: Path) -> None:
    registry = tmp_path / "registry"
    VersionPublisher(registry).publish()
    job = Job(kafka_servers)
    worker = workers.start(job, registry, "--profile=lever", "--mapping=company=firm.name").wait_ready()
    for number in range(PARTITIONS):
        value = {"id": f"l-{number}", "text": "Line Cook", "descriptionPlain": "Cooks.", "firm": {"name": "Diner"}}
        job.kafka.append(Message(job.input, number, -1, None, json.dumps(value).encode()))
    job.kafka.flush()
    wait_until(lambda: job.records() == PARTITIONS, "all are read", WAIT_S)
    assert worker.stop() == 0
    found = sorted(
        (found_fields(record) for record in read_topic(kafka_servers, job.output)), key=lambda each: each["posting_id"]
    )
    expected = {"title": "Line Cook", "body": "Cooks.", "company": "Diner"}
    assert found == [{"posting_id": f"l-{number}", **expected} for number in range(PARTITIONS)]


def test_the_last_messages_of_the_topic_are_shown_and_no_group_is_joined(
    kafka: Kafka, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("OCCUSTREAM_")]:
        monkeypatch.delenv(name)
    topic, group = kafka.create_topic(3), unique("group")
    for number in range(30):
        value = {"title": f"Cook {number}", "id": number}
        kafka.append(Message(topic, number % 3, -1, None, json.dumps(value).encode(), timestamp_ms=1_700_000_000_000 + number))
    kafka.flush()
    settings = ["--bootstrap-servers", kafka.servers, "--input-topic", topic, "--group-id", group]
    assert main(["check-config", *settings, "--sample-topic", "5"]) == 0
    shown = capfd.readouterr().out
    assert [number for number in range(30) if f"Cook {number} " in shown] == [25, 26, 27, 28, 29]
    assert "5 messages: 5 postings" in shown
    assert kafka.committed(group, topic) == {}
    assert main(["check-config", *settings, "--sample-topic", "5", "--profile", "lever"]) == 1
    assert "no_title: none of the fields text is there" in capfd.readouterr().out
