"""Offsets of another topic or cluster: they were mirrored with their notes, or their topic was deleted and created again."""

import itertools
import json
import time

import confluent_kafka as ck

from consumer.messages import Message
from faults.cluster import WAIT_S, wait_until
from faults.consumer_group import PARTITIONS, ConsumerGroup
from faults.feed import ENRICHED, Feed
from faults.findings_check import Findings, compare
from faults.suite import Delivery, Outcome, Scenario, ScenarioRun

FIRST, BEHIND = 600, 240
"""Messages before, and those that come while nobody looks."""
FOREIGN_NOTE = "cluster-id=AAAAAAAAAAAAAAAAAAAAAA topic-id=AAAAAAAAAAAAAAAAAAAAAA"
"""As another cluster would note beside an offset."""
RESETS = ("latest", "earliest")
AGAIN = "again-"
"""How the ids of postings begin that are fed to the new topic: the former one has the same offsets."""


def _mirror(run: ScenarioRun) -> Outcome:
    """Stop the group, note another cluster beside its offsets as a mirror does, feed, and start it again."""
    group = run.new_group()
    resets = RESETS[: run.by_size(1, 2)]
    for reset in resets:
        process = group.start(0, f"--kafka=auto.offset.reset={reset}").wait_ready()
        wait_until(group.progress.has_begun, "the group has begun")
        group.feed.send(FIRST)
        group.feed.flush()
        wait_until(lambda: group.progress.has_committed(group.feed.sent), "all is committed")
        process.stop()
        wait_until(lambda: _commit_as_mirror(group), "the group has no member any more")
        group.feed.send(BEHIND)
        group.feed.flush()
        group.start(0, f"--kafka=auto.offset.reset={reset}").wait_ready()
        wait_until(lambda: group.progress.has_committed(group.feed.sent), "all is committed")
        group.latest(0).stop()
    findings, problems = group.finish()
    if findings.duplicates:
        problems.append(f"{findings.duplicates} messages before mirrored offsets were enriched again")
    return Outcome({"mirrored": list(resets), "behind": BEHIND * len(resets)}, findings.as_dict(), problems)


def _commit_as_mirror(group: ConsumerGroup) -> bool:
    """Commit what is committed again, with a note of another cluster; return whether the group let it."""
    client = ck.Consumer({"bootstrap.servers": group.cluster.servers, "group.id": group.group_id, "enable.auto.commit": False})
    offsets = group.progress.committed().items()
    mirrored = [ck.TopicPartition(group.input_topic, number, offset, FOREIGN_NOTE) for number, offset in offsets]
    try:
        client.commit(offsets=mirrored, asynchronous=False)
    except ck.KafkaException:
        return False  # static members stay for their session
    finally:
        client.close()
    return True


def _create_again(run: ScenarioRun) -> Outcome:
    """Delete the input topic under a group that runs, create it again, and feed it."""
    resets = RESETS[: run.by_size(1, 2)]
    total, problems = [], []
    took_s = []
    for reset in resets:
        group = run.new_group()
        group.start(0, f"--kafka=auto.offset.reset={reset}").wait_ready()
        wait_until(group.progress.has_begun, "the group has begun")
        group.feed.send(FIRST)
        group.feed.flush()
        wait_until(lambda group=group: group.progress.has_committed(group.feed.sent), "all is committed")  # type: ignore[misc]
        before = compare(*group.read())
        problems += before.problems(exactly_once=group.exactly_once)
        group.cluster.delete_topic(group.input_topic)
        group.cluster.create_topics(group.input_topic, partitions=PARTITIONS)
        started = time.monotonic()
        feed = Feed(group.cluster.servers, group.input_topic, partitions=PARTITIONS, seed=run.rng.random())
        feed.send(BEHIND, _make_again)
        feed.flush()
        findings = _wait_for_new(group)
        took_s.append(round(time.monotonic() - started, 1))
        total.append(findings)
        problems += findings.problems(exactly_once=group.exactly_once)
        for process in group.running:
            process.stop()
    done = {"created_again": list(resets), "messages": FIRST + BEHIND}
    found = {"lost": sum(f.lost for f in total), "duplicates": sum(f.duplicates for f in total), "enriched_after_s": took_s}
    return Outcome(done, {"sent": sum(f.sent for f in total), "out": sum(f.out for f in total), **found}, problems)


def _make_again(key: str, number: int, title: str) -> tuple[bytes | None, str]:
    return json.dumps({"posting_id": f"{AGAIN}{key}:{number}", "title": title}).encode(), ENRICHED


def _wait_for_new(group: ConsumerGroup) -> Findings:
    """Return what became of the new topic's messages, once each has a record or the time is up."""
    deadline = time.monotonic() + WAIT_S / 2
    for _ in itertools.count():
        group.revive()
        inputs, enriched, dead = group.read()
        findings = compare(inputs, [record for record in enriched if _is_new(record)], dead)
        if (not findings.lost and findings.sent >= BEHIND) or time.monotonic() > deadline:
            return findings
        time.sleep(1.0)
    raise AssertionError


def _is_new(record: Message) -> bool:
    return str(json.loads(record.value or b"{}").get("posting", {}).get("posting_id", "")).startswith(AGAIN)


ONE: tuple[Delivery, ...] = ("exactly-once",)
OTHER: tuple[Delivery, ...] = ("at-least-once",)
SCENARIOS = (
    Scenario("mirrored", "offsets that were committed in another cluster, under both resets", _mirror, short_deliveries=ONE),
    Scenario(
        "recreated", "the input topic is deleted and created again, under both resets", _create_again, short_deliveries=OTHER
    ),
)
