"""Delivery, proved on a real Kafka with real consumer processes and a model trained on the starter data."""

import itertools
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from consumer.registry.folder import FolderRegistry
from deploy.kafka.broker import LocalKafka
from deploy.kafka.ports import free_port
from schemas.artifact import EMBEDDINGS
from schemas.events import EnrichedPosting
from tests.kafka.jobs import PARTITIONS, Job, Stream, assert_delivered, first_after, now_ms
from tests.kafka.workers import SESSION_TIMEOUT_S, Worker, Workers
from tests.support.brokers import need_local_kafka
from tests.support.waiting import WAIT_S, wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.model]

POSTINGS = 10_000
RELOAD_WITHIN_S = 5.0
DRAIN_S = 4


def test_no_posting_is_lost_when_one_of_two_consumers_is_killed_midway(
    kafka_servers: str, starter_registry: Path, workers: Workers
) -> None:
    job = Job(kafka_servers)
    victim, other = (workers.start(job, starter_registry) for _ in range(2))
    victim.wait_ready()
    other.wait_ready()
    for _ in range(POSTINGS // 500):  # paced, so that the kill comes midway
        job.feed(250)
        time.sleep(0.05)
        if job.records() > POSTINGS // 5:
            break
    victim.kill()
    killed_at = job.records()
    job.feed(POSTINGS * 4 // 5 - job.fed)
    again = workers.start(job, starter_registry).wait_ready()
    job.feed(POSTINGS - job.fed)
    wait_until(job.all_committed, "both members finish", 90.0)
    assert (other.stop(), again.stop()) == (0, 0)

    assert killed_at < POSTINGS
    inputs, enriched, dead = job.read()
    assert len(inputs) == POSTINGS
    assert len({m.value for m in inputs.values() if m.value is not None}) > POSTINGS * 0.98
    repeated = assert_delivered(inputs, enriched, dead)
    assert len(dead) >= POSTINGS // 100
    assert repeated < POSTINGS / 2
    for record in itertools.islice(enriched, 0, None, 100):
        event = EnrichedPosting.model_validate_json(record.value or b"")
        assert len(event.occupations) == 5
    print(f"killed after {killed_at} records; {repeated} of {POSTINGS} repeated")


def test_sigterm_drains_exits_0_and_leaves_nothing_to_be_read_again(
    kafka_servers: str, starter_registry: Path, workers: Workers
) -> None:
    job = Job(kafka_servers)
    worker = workers.start(job, starter_registry, "--commit-interval-s=60").wait_ready()
    job.feed(200)
    wait_until(lambda: job.records() > 0, "work is under way")
    with Stream(job, per_s=2_000):
        time.sleep(0.5)
        assert worker.stop() == 0
    inputs, enriched, dead = job.read()
    done = {p.partition: offset for p, offset in job.committed().items()}
    finished = {name: m for name, m in inputs.items() if m.offset < done.get(m.partition, 0)}
    assert finished
    assert assert_delivered(finished, enriched, dead) == 0, "each has one record, and no record is of a message not committed"


class Service(NamedTuple):
    """A consumer at work on a steady stream, with a registry of its own."""

    job: Job
    worker: Worker
    registry: FolderRegistry

    def publish(self, version: str) -> Path:
        """Store a copy of the model in service as a new version; returns its folder."""
        current = self.registry.load(self.registry.read_current() or "")
        manifest = current.manifest.model_copy(update={"version": version})
        self.registry.publish(manifest, current.tensors)
        return self.registry.root / "versions" / version

    def serves(self, version: str) -> bool:
        manifest = self.registry.load(version).manifest
        labels = {"encoder_id": manifest.encoder.id, "taxonomy_version": manifest.taxonomy_version, "version": version}
        return self.worker.metric("occustream_model_info", **labels) == 1.0


@pytest.fixture(scope="module")
def service(
    kafka_servers: str, starter_registry: Path, module_workers: Workers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    root = shutil.copytree(starter_registry, tmp_path_factory.mktemp("reload") / "registry")
    job = Job(kafka_servers)
    worker = module_workers.start(job, root).wait_ready()
    with Stream(job, per_s=400):
        yield Service(job, worker, FolderRegistry(root))


def test_a_promoted_version_serves_within_five_seconds_and_no_partition_goes_back(service: Service) -> None:
    old = service.registry.read_current() or ""
    service.publish("reload-2")
    wait_until(lambda: service.job.records() > 200, "the old version is at work")
    promoted_ms = now_ms()
    service.registry.promote("reload-2")
    wait_until(lambda: service.serves("reload-2"), "the new version is taken up")
    before = service.job.records()
    wait_until(lambda: service.job.records() > before + 400, "the new version is at work")
    _inputs, enriched, _dead = service.job.read()
    versions = [(m.partition, dict(m.headers)["occustream.model-version"]) for m in enriched]
    for partition in range(PARTITIONS):
        met = [version for of, version in versions if of == partition]
        assert [version for version, _run in itertools.groupby(met)] == [old.encode(), b"reload-2"]
    delay_s = first_after(enriched, promoted_ms, "occustream.model-version", "reload-2")
    assert delay_s is not None
    assert delay_s <= RELOAD_WITHIN_S
    print(f"first record of the new version {delay_s:.2f} s after its promotion")


def test_a_broken_version_is_refused_counted_and_the_old_one_goes_on_serving(service: Service) -> None:
    old = service.registry.read_current() or ""
    good_pointer = (service.registry.root / "CURRENT").read_bytes()
    refused_before = service.worker.metric("occustream_reloads_total", outcome="refused", reason="digest")
    folder = service.publish("broken")
    raw = bytearray((folder / EMBEDDINGS).read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    (folder / EMBEDDINGS).write_bytes(raw)
    broken_pointer = service.registry.root / "CURRENT.new"  # promote() itself would refuse
    broken_pointer.write_text('{"version": "broken"}')
    broken_pointer.replace(service.registry.root / "CURRENT")

    def refused() -> bool:
        return service.worker.metric("occustream_reloads_total", outcome="refused", reason="digest") == refused_before + 1

    wait_until(refused, "the refusal is counted")
    at_refusal_ms, before = now_ms(), service.job.records()
    wait_until(lambda: service.job.records() > before + 400, "work goes on")
    assert service.serves(old)
    _inputs, enriched, _dead = service.job.read()
    later = [m for m in enriched if (m.timestamp_ms or 0) > at_refusal_ms]
    assert later
    assert {dict(m.headers)["occustream.model-version"] for m in later} == {old.encode()}
    assert "version broken is refused" in service.worker.log()
    (service.registry.root / "CURRENT").write_bytes(good_pointer)


class Mortal(NamedTuple):
    """A broker that may be killed, and a consumer at work on it."""

    broker: Any
    job: Job
    worker: Worker


@pytest.fixture(scope="module")
def mortal(starter_registry: Path, module_workers: Workers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mortal]:
    if "KAFKA_BOOTSTRAP_SERVERS" in os.environ:
        pytest.skip("the broker of KAFKA_BOOTSTRAP_SERVERS is not ours to kill")
    need_local_kafka()
    with LocalKafka(tmp_path_factory.mktemp("mortal"), port=free_port()) as broker:
        job = Job(broker.bootstrap_servers)
        yield Mortal(broker, job, module_workers.start(job, starter_registry, f"--drain-timeout-s={DRAIN_S}").wait_ready())


def test_a_broker_killed_and_restarted_midstream_loses_nothing(mortal: Mortal) -> None:
    job = mortal.job
    with Stream(job, per_s=400) as stream:
        wait_until(lambda: job.records() > 400, "work is under way")
        mortal.broker.kill()
        time.sleep(3.0)
        sent = stream.sent
        assert mortal.worker.runs()
        mortal.broker.start()
        wait_until(lambda: stream.sent > sent + 800, "the stream flows again", 60.0)
    wait_until(job.all_committed, "all is worked off", 60.0)
    assert mortal.worker.runs()
    repeated = assert_delivered(*job.read())
    print(f"{stream.sent} messages, {repeated} records repeated")


def test_sigterm_ends_a_consumer_without_a_broker_within_drain_and_session_timeout(mortal: Mortal) -> None:
    mortal.job.feed(500)
    mortal.broker.kill()
    assert mortal.worker.stop(DRAIN_S + SESSION_TIMEOUT_S + WAIT_S) == 0, mortal.worker.log()[-10_000:]
