"""A new model version every two seconds under load, every second one broken: only good ones answer, no batch mixes two."""

import json
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from consumer.messages import Message
from faults.broken_versions import WAYS_TO_BREAK
from faults.cluster import wait_until
from faults.findings_check import model_version
from faults.processes import ConsumerProcess
from faults.suite import Outcome, Scenario, ScenarioRun
from faults.tiny_model import VersionPublisher

PER_S = 300
EVERY_S = 2.0
RELOADS = "occustream_reloads_total"
TRAINERS = 2
"""Trainers that publish at the same time."""


def _promote_good(publisher: VersionPublisher, consumers: Sequence[ConsumerProcess]) -> list[str]:
    """Have two trainers publish and promote at the same time, wait until the last is served, and return both versions."""
    with ThreadPoolExecutor() as trainers:
        good = [made.result() for made in [trainers.submit(publisher.publish) for _ in range(TRAINERS)]]
    last = publisher.registry.read_current()
    wait_until(lambda: all(process.served_version == last for process in consumers), f"{last} is served")
    return good


def _point_to_broken(publisher: VersionPublisher, consumers: Sequence[ConsumerProcess], name: str) -> None:
    """Break the registry and wait until every consumer has refused the version."""
    before = [_count_failed_reloads(process) for process in consumers]
    WAYS_TO_BREAK[name](publisher)
    wait_until(
        lambda: all(_count_failed_reloads(process) > was for process, was in zip(consumers, before, strict=True)),
        f"{name!r} is refused",
    )


@contextmanager
def _last_at_least(seconds: float) -> Iterator[None]:
    """Take at least so many seconds, whatever happens within."""
    until = time.monotonic() + seconds
    yield
    time.sleep(max(0.0, until - time.monotonic()))


def _count_failed_reloads(process: ConsumerProcess) -> float:
    return process.metric(RELOADS) - process.metric(RELOADS, outcome="loaded")


def _play(run: ScenarioRun) -> Outcome:
    group, publisher = run.new_group(), run.publisher
    consumers = [group.start(slot) for slot in range(2)]
    for process in consumers:
        process.wait_ready()
    names = run.rng.sample(list(WAYS_TO_BREAK), run.by_size(6, len(WAYS_TO_BREAK))) * run.by_size(1, 3)
    good, every_s = [publisher.registry.read_current() or ""], EVERY_S if run.full else 0.0
    with group.feed.flowing(PER_S):
        for name in names:
            with _last_at_least(every_s):
                good += _promote_good(publisher, consumers)
            with _last_at_least(every_s):
                _point_to_broken(publisher, consumers, name)
    findings, problems = group.finish()
    _inputs, enriched, _dead = group.read()
    seen = {model_version(record) for record in enriched}
    mixed = _count_mixed_batches(enriched)
    if wrong := seen - set(good):
        problems.append(f"versions that no consumer may serve have answered: {', '.join(sorted(wrong))}")
    if mixed:
        problems.append(f"{mixed} batches mix versions")
    done = {"good_versions": len(good) - 1, "broken": len(names), "ways_to_break": len(WAYS_TO_BREAK)}
    return Outcome(done, {**findings.as_dict(), "versions_seen": len(seen), "mixed_batches": mixed}, problems)


def _count_mixed_batches(enriched: Sequence[Message]) -> int:
    """Count the batches with two versions; all records of a batch carry one time."""
    batches: defaultdict[str, set[str]] = defaultdict(set)
    for record in enriched:
        batches[json.loads(record.value or b"{}")["enriched_at"]].add(model_version(record))
    return sum(len(versions) > 1 for versions in batches.values())


SCENARIOS = (
    Scenario(
        "reloads",
        "a version every 2 s, every second one broken in one of eighteen ways",
        _play,
        short_deliveries=("exactly-once",),
    ),
)
