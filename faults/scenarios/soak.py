"""Half an hour of joins, leaves and reloads: one consumer stays all the time, and must not grow."""

import itertools
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from faults.broken_versions import BREAKS
from faults.consumer_group import Trial
from faults.processes import Process
from faults.suite import Outcome, Scenario, Scene

PER_S = 100
FULL_S, SHORT_S = 1_800, 30
SAMPLE_S = 1.0
MOVE_EVERY, RELOAD_EVERY = 15, 5
"""In samples."""
PATIENT_MS = 30_000
"""The group's patience with the member that stays, also on a busy machine."""
WARM_UP = 0.2
"""Share of the time whose samples do not count: caches fill, allocators find their size."""
MB_PER_HOUR, FILES_PER_HOUR = 40.0, 12.0
"""How much the slopes may be. Below them, what half an hour shows is noise: some 20 MB, and a few connections."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What a process takes, and when, in seconds."""

    at_s: float
    rss_mb: float
    files: int

    @classmethod
    def of(cls, process: Process) -> "Sample":
        """Look at a running process. Raises RuntimeError where it has ended."""
        process.raise_if_ended()
        proc = Path(f"/proc/{process.pid}")
        rss_kb = next(line for line in (proc / "status").read_text(encoding="ascii").splitlines() if line.startswith("VmRSS"))
        return cls(time.monotonic(), int(rss_kb.split()[1]) / 1_000, len(list((proc / "fd").iterdir())))


def per_hour(samples: list[tuple[float, float]]) -> float:
    """Return the least-squares slope of `(seconds, value)` pairs, per hour."""
    return statistics.linear_regression(*zip(*samples, strict=True)).slope * 3_600


def _comings(trial: Trial) -> Iterator[None]:
    """Each time, let a member join or leave."""
    for number in itertools.count(1):
        member = trial.start(number).wait_ready()  # a version that it refused would end it: it has none to stay with
        yield
        member.stop()
        yield


def _offers(scene: Scene) -> Iterator[None]:
    """Each time, promote a version or break the registry."""
    for name in itertools.cycle(BREAKS):
        scene.versions.publish()
        yield
        BREAKS[name](scene.versions)
        yield


def _play(scene: Scene) -> Outcome:
    trial = scene.trial()
    stays = trial.start(0, f"--kafka=session.timeout.ms={PATIENT_MS}").wait_ready()
    comings, offers = _comings(trial), _offers(scene)
    samples, seconds = [Sample.of(stays)], scene.size(SHORT_S, FULL_S)
    with trial.feed.flowing(PER_S):
        for number in range(int(seconds / SAMPLE_S)):
            time.sleep(SAMPLE_S)
            samples.append(Sample.of(stays))
            if number % RELOAD_EVERY == 0:
                next(offers)
            if number % MOVE_EVERY == 0:  # members join while a good version is there
                next(comings)
    reloads = {name: stays.metric("occustream_reloads_total", outcome=name) for name in ("loaded", "refused")}
    findings, problems = trial.finish()
    growth = _growth(samples)
    if scene.full:
        problems += _too_much(growth)
    done = {"minutes": round(seconds / 60, 1), "joins": len(trial.started) - 1, **reloads}
    return Outcome(done, {**findings.as_dict(), "rebalances": trial.rebalances, **growth}, problems)


def _growth(samples: list[Sample]) -> dict[str, float]:
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


def _too_much(growth: dict[str, float]) -> list[str]:
    limits = {"rss_mb_per_hour": MB_PER_HOUR, "files_per_hour": FILES_PER_HOUR}
    return [f"{name} is {growth[name]}, above {limit}" for name, limit in limits.items() if growth[name] > limit]


SCENARIOS = (
    Scenario(
        "soak", "half an hour of joins, leaves and reloads; memory and open files", _play, short_deliveries=("at-least-once",)
    ),
)
