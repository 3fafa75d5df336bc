"""Half an hour of joins, leaves and reloads: one consumer stays all the time, and its memory must not grow."""

import itertools
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from faults.broken_versions import WAYS_TO_BREAK
from faults.consumer_group import ConsumerGroup
from faults.processes import ConsumerProcess
from faults.suite import Outcome, Scenario, ScenarioRun

PER_S = 100
FULL_S, SHORT_S = 1_800, 20
SAMPLE_S = 1.0
MOVE_EVERY, RELOAD_EVERY = 15, 5
"""Intervals, in samples."""
PATIENT_MS = 30_000
"""The session timeout of the member that stays, long enough for a busy machine."""
WARM_UP = 0.2
"""Share of the time whose samples do not count: caches fill, allocators find their size."""
MB_PER_HOUR, FILES_PER_HOUR = 40.0, 12.0
"""Limits of the slopes. Smaller ones are noise in half an hour: some 20 MB, and a few connections."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The memory and the open files of a process at a moment."""

    at_s: float
    rss_mb: float
    files: int

    @classmethod
    def take(cls, process: ConsumerProcess) -> "Sample":
        """Return a sample of a running process. Raises RuntimeError if it has ended."""
        process.raise_if_ended()
        proc = Path(f"/proc/{process.pid}")
        rss_kb = next(line for line in (proc / "status").read_text(encoding="ascii").splitlines() if line.startswith("VmRSS"))
        return cls(time.monotonic(), int(rss_kb.split()[1]) / 1_000, len(list((proc / "fd").iterdir())))


def per_hour(samples: list[tuple[float, float]]) -> float:
    """Return the least-squares slope of `(seconds, value)` pairs, per hour."""
    return statistics.linear_regression(*zip(*samples, strict=True)).slope * 3_600


def _member_changes(group: ConsumerGroup) -> Iterator[None]:
    """At each step, let a member join or leave."""
    for number in itertools.count(1):
        member = group.start(number).wait_ready()  # a new member that refuses the version ends, since it has no other
        yield
        member.stop()
        yield


def _registry_changes(run: ScenarioRun) -> Iterator[None]:
    """At each step, promote a version or break the registry."""
    for name in itertools.cycle(WAYS_TO_BREAK):
        run.publisher.publish()
        yield
        WAYS_TO_BREAK[name](run.publisher)
        yield


def _play(run: ScenarioRun) -> Outcome:
    group = run.new_group()
    stays = group.start(0, f"--kafka=session.timeout.ms={PATIENT_MS}").wait_ready()
    member_changes, registry_changes = _member_changes(group), _registry_changes(run)
    samples, seconds = [Sample.take(stays)], run.by_size(SHORT_S, FULL_S)
    with group.feed.flowing(PER_S):
        for number in range(int(seconds / SAMPLE_S)):
            time.sleep(SAMPLE_S)
            samples.append(Sample.take(stays))
            if number % RELOAD_EVERY == 0:
                next(registry_changes)
            if number % MOVE_EVERY == 0:  # members join while a good version is there
                next(member_changes)
    reloads = {name: stays.metric("occustream_reloads_total", outcome=name) for name in ("loaded", "refused")}
    findings, problems = group.finish()
    growth = _measure_growth(samples)
    if run.full:
        problems += _explain_growth(growth)
    done = {"minutes": round(seconds / 60, 1), "joins": len(group.started) - 1, **reloads}
    return Outcome(done, {**findings.as_dict(), "rebalances": group.rebalances, **growth}, problems)


def _measure_growth(samples: list[Sample]) -> dict[str, float]:
    """Return memory and open files after the warm-up and at the end, and their slopes between."""
    counted = samples[int(WARM_UP * len(samples)) :]
    first, last = counted[0], counted[-1]
    return {
        "rss_mb_first": round(first.rss_mb),
        "rss_mb_last": round(last.rss_mb),
        "files_first": first.files,
        "files_last": last.files,
        "rss_mb_per_hour": round(per_hour([(s.at_s, s.rss_mb) for s in counted]), 1),
        "files_per_hour": round(per_hour([(s.at_s, s.files) for s in counted]), 1),
    }


def _explain_growth(growth: dict[str, float]) -> list[str]:
    limits = {"rss_mb_per_hour": MB_PER_HOUR, "files_per_hour": FILES_PER_HOUR}
    return [f"{name} is {growth[name]}, above {limit}" for name, limit in limits.items() if growth[name] > limit]


SCENARIOS = (
    Scenario(
        "soak", "half an hour of joins, leaves and reloads; memory and open files", _play, short_deliveries=("at-least-once",)
    ),
)
