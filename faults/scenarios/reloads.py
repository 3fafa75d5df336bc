"""A new version every two seconds under load, every second one broken: only good ones answer, no batch mixes two."""

import json
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from consumer.messages import Message
from faults.broken_versions import BREAKS
from faults.cluster import wait_until
from faults.findings_check import version
from faults.processes import Process
from faults.suite import Outcome, Scenario, Scene
from faults.tiny_model import Versions

PER_S = 300
EVERY_S = 2.0
RELOADS = "occustream_reloads_total"
TRAINERS = 2
"""That publish at the same time."""


def _promote_good(versions: Versions, consumers: Sequence[Process]) -> list[str]:
    """Have two trainers publish and promote at once, and wait until the last is served; returns both versions."""
    with ThreadPoolExecutor() as trainers:
        good = [made.result() for made in [trainers.submit(versions.publish) for _ in range(TRAINERS)]]
    last = versions.registry.read_current()
    wait_until(lambda: all(process.serves == last for process in consumers), f"{last} is served")
    return good


def _point_to_broken(versions: Versions, consumers: Sequence[Process], name: str) -> None:
    """Break the registry and wait until every consumer has noticed."""
    before = [_failed(process) for process in consumers]
    BREAKS[name](versions)
    wait_until(
        lambda: all(_failed(process) > was for process, was in zip(consumers, before, strict=True)), f"{name!r} is refused"
    )


@contextmanager
def _lasting(seconds: float) -> Iterator[None]:
    """Last so long, whatever it takes within."""
    until = time.monotonic() + seconds
    yield
    time.sleep(max(0.0, until - time.monotonic()))


def _failed(process: Process) -> float:
    return process.metric(RELOADS) - process.metric(RELOADS, outcome="loaded")


def _play(scene: Scene) -> Outcome:
    trial, versions = scene.trial(), scene.versions
    consumers = [trial.start(slot) for slot in range(2)]
    for process in consumers:
        process.wait_ready()
    names = scene.rng.sample(list(BREAKS), scene.size(9, len(BREAKS))) * scene.size(1, 3)
    good, every_s = [versions.registry.read_current() or ""], EVERY_S if scene.full else 0.0
    with trial.feed.flowing(PER_S):
        for name in names:
            with _lasting(every_s):
                good += _promote_good(versions, consumers)
            with _lasting(every_s):
                _point_to_broken(versions, consumers, name)
    findings, problems = trial.finish()
    _inputs, enriched, _dead = trial.read()
    seen = {version(record) for record in enriched}
    mixed = _mixed(enriched)
    if wrong := seen - set(good):
        problems.append(f"versions that no consumer may serve have answered: {', '.join(sorted(wrong))}")
    if mixed:
        problems.append(f"{mixed} batches mix versions")
    done = {"good_versions": len(good) - 1, "broken": len(names), "ways_to_break": len(BREAKS)}
    return Outcome(done, {**findings.as_dict(), "versions_seen": len(seen), "mixed_batches": mixed}, problems)


def _mixed(enriched: Sequence[Message]) -> int:
    """Count the batches with two versions; all records of a batch carry one time."""
    batches: defaultdict[str, set[str]] = defaultdict(set)
    for record in enriched:
        batches[json.loads(record.value or b"{}")["enriched_at"]].add(version(record))
    return sum(len(versions) > 1 for versions in batches.values())


SCENARIOS = (
    Scenario(
        "reloads",
        "a version every 2 s, every second one broken in one of eighteen ways",
        _play,
        short_deliveries=("exactly-once",),
    ),
)
