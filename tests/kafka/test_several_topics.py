"""Several input topics through real consumer processes on a real Kafka: each keeps the promises that one topic has."""

import json
import time
from pathlib import Path

import pytest

from consumer.errors import InvalidMessage
from consumer.kafka.range_source import open_range
from consumer.messages import Message, TopicPartition
from consumer.metrics import Metrics
from consumer.times import Period
from tests.kafka.jobs import PARTITIONS, Job, Stream, assert_delivered
from tests.kafka.workers import Workers
from tests.support.brokers import FAST_GROUP, Kafka, unique
from tests.support.command_line import Cli
from tests.support.messages import event_id, make_codec
from tests.support.topic_reading import committed, end_offsets, read_topic
from tests.support.waiting import wait_until

pytestmark = pytest.mark.kafka

POSTINGS = 3_000


class TopicsJob(Job):
    """A job whose input is in two topics, fed in turn."""

    def __init__(self, servers: str) -> None:
        super().__init__(servers)
        prefix = unique("feed")
        self.topics = [self.kafka.create_topic(PARTITIONS, prefix=prefix) for _ in range(2)]
        self.input = ",".join(self.topics)
        self.pattern = f"^{prefix}-.*"

    def send(self, number: int, value: bytes | None) -> None:
        topic = self.topics[number // PARTITIONS % 2]
        headers = (("n", b"%d" % number),)
        self.kafka.append(Message(topic, number * 31 % PARTITIONS, -1, b"key-%d" % (number % 500), value, headers))
        self.kafka.producer.poll(0)

    def committed(self) -> dict[TopicPartition, int]:
        return {p: offset for topic in self.topics for p, offset in committed(self.servers, self.group, topic).items()}

    def all_committed(self) -> bool:
        found = self.committed()
        ends = {p: end for topic in self.topics for p, end in end_offsets(self.servers, topic).items()}
        return all(found.get(p, 0) == end for p, end in ends.items())

    def read_of(self, topic: str) -> tuple[dict[str, Message], list[Message], list[Message]]:
        """Return one input topic by event id, and the enriched records and dead letters that came of it."""
        inputs = {m.event_id: m for m in read_topic(self.servers, topic)}
        enriched, dead = (
            [m for m in read_topic(self.servers, written) if event_id(m) in inputs] for written in (self.output, self.dead)
        )
        return inputs, enriched, dead


@pytest.mark.model
@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_no_posting_of_any_topic_is_lost_when_a_consumer_is_killed_midway(
    kafka_servers: str, starter_registry: Path, workers: Workers, cli: Cli, delivery: str
) -> None:
    job = TopicsJob(kafka_servers)
    if delivery == "exactly-once":
        job.input = job.pattern
    flags = (f"--delivery={delivery}", "--batch-max-count=32")
    victim = workers.start(job, starter_registry, *flags, "--instance-id=one").wait_ready()
    for _ in range(POSTINGS // 300):  # paced, so that the kill comes midway
        job.feed(150)
        time.sleep(0.05)
        if job.records() > POSTINGS // 10:
            break
    victim.kill()
    job.feed(POSTINGS - job.fed)
    again = workers.start(job, starter_registry, *flags, "--instance-id=one").wait_ready()
    wait_until(job.all_committed, "all is worked off", 90.0)
    assert again.metric("occustream_lag_messages", topic=job.topics[1], partition="0") == 0
    assert again.stop() == 0
    repeated = 0
    for topic in job.topics:
        inputs, enriched, dead = job.read_of(topic)
        assert len(inputs) == POSTINGS // 2
        repeated += assert_delivered(inputs, enriched, dead)
    if delivery == "exactly-once":
        assert repeated == 0
    listed = cli(
        "consumer", "dead-letters", "list", "--json", "--bootstrap-servers", job.servers, "--dead-letter-topic", job.dead
    )
    assert {json.loads(line)["topic"] for line in listed.stdout.splitlines()} == set(job.topics)
    print(f"{delivery}: {repeated} of {POSTINGS} repeated")


def test_dead_letters_go_back_to_the_topics_that_they_came_from(kafka_servers: str, cli: Cli) -> None:
    job = TopicsJob(kafka_servers)
    for number, topic in enumerate(job.topics):
        source = Message(topic, number, 7, b"k", b"of %d" % number)
        record = make_codec().dead_letter(source, InvalidMessage("not_scored", "no"), stage="score", model_version="v1")
        job.kafka.append(Message(job.dead, record.input_partition, -1, record.key, record.value, record.headers))
    job.kafka.flush()
    done = cli("consumer", "dead-letters", "replay", "--bootstrap-servers", job.servers, "--dead-letter-topic", job.dead)
    assert done.returncode == 0
    for number, topic in enumerate(job.topics):
        assert [(m.partition, m.value) for m in job.kafka.messages(topic)] == [(number, b"of %d" % number)]


@pytest.mark.parametrize("by_pattern", [False, True], ids=["list", "pattern"])
def test_a_range_is_read_of_all_topics(kafka: Kafka, by_pattern: bool) -> None:
    job = TopicsJob(kafka.servers)
    early_ms = time.time_ns() // 1_000_000 - 60_000
    for topic in job.topics:
        for timestamp_ms in (early_ms, early_ms + 10_000, early_ms + 20_000):
            kafka.append(Message(topic, 2, -1, None, b"%d" % timestamp_ms, timestamp_ms=timestamp_ms))
    kafka.flush()
    given = {"bootstrap.servers": kafka.servers, "group.id": job.group, **FAST_GROUP}
    period = Period(early_ms + 10_000, early_ms + 20_000)
    source = open_range(given, job.pattern if by_pattern else job.input, period, events=Metrics())
    source.start(lambda _partitions, _lost: None)
    found: list[tuple[str, int]] = []

    def is_done() -> bool:
        messages = source.poll(10, 0.1)
        found.extend((m.topic, m.offset) for m in messages)
        if messages:
            source.commit({m.topic_partition: m.offset + 1 for m in messages}, wait=True)
        return source.finished()

    wait_until(is_done, "the range is through")
    source.close()
    assert sorted(found) == sorted((topic, 1) for topic in job.topics)
    assert source.summary().endswith("2 messages here, and the group has committed all of it")


@pytest.mark.model
def test_decisions_are_routed_as_cloud_events_and_each_posting_comes_once(
    kafka_servers: str, starter_registry: Path, workers: Workers
) -> None:
    job = TopicsJob(kafka_servers)
    routed = {decision: job.kafka.create_topic(PARTITIONS, prefix=decision) for decision in ("accept", "unclassified")}
    flags = (
        "--delivery=exactly-once",
        "--cloudevents",
        "--cloudevents-source=/boards/north",
        *(f"--output-topic-{decision}={topic}" for decision, topic in routed.items()),
    )
    job.feed(600)
    worker = workers.start(job, starter_registry, *flags).wait_ready()
    wait_until(job.all_committed, "all is worked off", 90.0)
    assert worker.stop() == 0
    inputs = {m.event_id: m for topic in job.topics for m in read_topic(job.servers, topic)}
    by_topic = {topic: read_topic(job.servers, topic) for topic in (*routed.values(), job.output)}
    dead = read_topic(job.servers, job.dead)
    seen = [event_id(m) for messages in (*by_topic.values(), dead) for m in messages]
    assert sorted(seen) == sorted(inputs)
    names = {topic: decision for decision, topic in routed.items()} | {job.output: "review"}
    for topic, messages in by_topic.items():
        for m in messages:
            event, headers = json.loads(m.value or b""), dict(m.headers)
            assert event["decision"] == names[topic]
            assert m.partition == inputs[event_id(m)].partition
            assert headers["ce_id"] == headers["occustream.event-id"] == event_id(m).encode()
            assert headers["ce_source"] == b"/boards/north"
            assert headers["ce_subject"] == event["posting"]["posting_id"].encode()
    print({names[topic]: len(messages) for topic, messages in by_topic.items()}, len(dead))


@pytest.mark.model
@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_a_topic_deleted_under_a_consumer_ends_nothing_and_a_new_one_is_read(
    kafka_servers: str, starter_registry: Path, workers: Workers, delivery: str
) -> None:
    job = TopicsJob(kafka_servers)
    gone, kept = job.topics
    job.input = job.pattern
    refresh = "--kafka=topic.metadata.refresh.interval.ms=1000"
    worker = workers.start(job, starter_registry, f"--delivery={delivery}", refresh).wait_ready()
    with Stream(job, per_s=400):
        wait_until(lambda: job.records() > 200, "work is under way")
    job.kafka.delete_topic(gone)
    late = job.kafka.create_topic(PARTITIONS, prefix=job.pattern.removeprefix("^").removesuffix("-.*"))
    job.topics = [kept, late]
    job.feed(600)
    wait_until(job.all_committed, "the other topics are worked off", 60.0)
    assert worker.runs()
    wait_until(lambda: worker.trouble() == "", "it is ready")
    assert worker.stop() == 0
    for topic in job.topics:
        repeated = assert_delivered(*job.read_of(topic))
        assert delivery == "at-least-once" or repeated == 0
