"""The log of a consumer whose only broker is gone: at most a line a second about it. It works again once the broker is back."""

import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.kafka.broker import LocalKafka
from deploy.kafka.ports import free_port
from faults.tiny_model import VersionPublisher
from tests.kafka.jobs import Job
from tests.kafka.workers import Workers
from tests.support.brokers import need_local_kafka
from tests.support.waiting import wait_until

pytestmark = pytest.mark.kafka

OUTAGE_S = 6.0


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    publisher = VersionPublisher(tmp_path_factory.mktemp("models") / "registry")
    publisher.publish()
    return publisher.registry.root


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[LocalKafka]:
    if "KAFKA_BOOTSTRAP_SERVERS" in os.environ:
        pytest.skip("the broker of KAFKA_BOOTSTRAP_SERVERS is not ours to kill")
    need_local_kafka()
    with LocalKafka(tmp_path / "broker", port=free_port()) as broker:
        yield broker


def test_an_outage_of_the_broker_is_a_line_a_second_in_either_mode(broker: LocalKafka, registry: Path, workers: Workers) -> None:
    jobs = [Job(broker.bootstrap_servers) for _ in range(2)]
    deliveries = ("at-least-once", "exactly-once")
    consumers = [
        workers.start(job, registry, f"--delivery={delivery}", "--kafka=reconnect.backoff.max.ms=200")
        for job, delivery in zip(jobs, deliveries, strict=True)
    ]
    for job, consumer in zip(jobs, consumers, strict=True):
        consumer.wait_ready()
        job.feed(300)
        wait_until(job.all_committed, "all is worked off")
    before = [len(consumer.log()) for consumer in consumers]
    broker.kill()
    time.sleep(OUTAGE_S)
    during = [consumer.log()[start:] for consumer, start in zip(consumers, before, strict=True)]
    broker.start()
    about = re.compile(rf"^\S+ ([\d:]+),.*(?:{re.escape(broker.bootstrap_servers)}|brokers are down)", re.MULTILINE)
    for log in during:
        lines = Counter(about.findall(log))
        assert lines
        assert lines.total() <= OUTAGE_S + 2, log
        assert max(lines.values()) == 1, log
    for job, consumer in zip(jobs, consumers, strict=True):
        job.feed(100)
        wait_until(job.all_committed, "all is worked off", 60.0)
        assert consumer.stop() == 0
