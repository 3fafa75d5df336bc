"""The example subscriber against a real Kafka: each posting once, deletes too, and it goes on where it ended."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from consumer.messages import Message
from schemas.export import EXAMPLES
from tests.support.brokers import Kafka, unique
from tests.support.paths import ROOT
from tests.support.waiting import wait_until

pytestmark = pytest.mark.kafka


def send(kafka: Kafka, topic: str, partition: int, *numbers: int) -> None:
    """Write enriched postings as a consumer would, the event id in the header."""
    value = EXAMPLES["EnrichedPosting"].model_dump_json().encode()
    for number in numbers:
        kafka.append(Message(topic, partition, -1, b"k%d" % number, value, (("occustream.event-id", b"in:0:%d" % number),)))
    kafka.flush()


def read_until(kafka: Kafka, topic: str, group: str, log: Path, count: int) -> Sequence[dict[str, Any]]:
    """Run the subscriber until it has printed so many lines, then end it as an orchestrator would."""
    command = [sys.executable, "-m", "deploy.examples.subscriber", "--topic", topic, "--group", group]
    environment = {**os.environ, "OCCUSTREAM_BOOTSTRAP_SERVERS": kafka.servers}
    with log.open("wb") as out, subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out) as process:
        wait_until(lambda: log.read_bytes().count(b"\n") >= count, "the postings are printed", 30.0)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_the_subscriber_prints_each_posting_once_and_goes_on_where_it_ended(kafka: Kafka, tmp_path: Path) -> None:
    topics, group = [kafka.create_topic(2) for _ in range(2)], unique("subscriber")
    send(kafka, topics[0], 0, 0, 1, 1, 0, 2)  # as at-least-once delivery may
    send(kafka, topics[1], 1, 3)
    kafka.append(Message(topics[1], 1, -1, b"k3", None, (("occustream.event-id", b"in:0:4"),)))
    kafka.flush()
    lines = read_until(kafka, ",".join(topics), group, tmp_path / "first", 5)
    assert sorted(line["event_id"] for line in lines) == [f"in:0:{number}" for number in range(5)]
    assert next(line for line in lines if "deleted" in line) == {"event_id": "in:0:4", "deleted": "k3"}
    assert {line["onet_code"] for line in lines if "deleted" not in line} == {"29-1141.00"}

    send(kafka, topics[0], 1, 5)
    again = read_until(kafka, ",".join(topics), group, tmp_path / "second", 1)
    assert [line["event_id"] for line in again] == ["in:0:5"]
