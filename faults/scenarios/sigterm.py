"""SIGTERM under full load: out within the drain time, everything that was read committed, nothing of it read again."""

import time

from faults.cluster import wait_until
from faults.consumer_group import Trial
from faults.processes import Process
from faults.suite import Outcome, Scenario, Scene

DRAIN_S = 10.0
LATE_S = 5.0
"""Beyond the drain time: leaving the group, and the end of the process."""
BACKLOG = 4_000
"""More than is done before the signal comes."""


def _stopped(trial: Trial, process: Process) -> tuple[float, list[str]]:
    """Stop a busy consumer; returns how long it took, in seconds, and what was wrong."""
    wait_until(lambda: process.metric("occustream_enriched_total") > 0, "the consumer is at work")
    started = time.monotonic()
    status = process.stop()
    took_s = time.monotonic() - started
    committed = sum(trial.progress.committed().values())
    _inputs, enriched, dead = trial.read()
    problems = [f"it ended with {status}, not 0"] if status else []
    if took_s > DRAIN_S + LATE_S:
        problems.append(f"it took {took_s:.1f} s to end")
    if committed != len(enriched) + len(dead):
        problems.append(f"{len(enriched) + len(dead)} records are out, {committed} messages are committed")
    if trial.progress.done(trial.feed.sent):
        problems.append("nothing was left to do when the signal came")
    return took_s, problems


def _play(scene: Scene) -> Outcome:
    trial = scene.trial()
    took, problems = [], []
    for number in range(scene.size(2, 20)):
        trial.feed.send(BACKLOG)
        trial.feed.flush()
        named = trial.once and number % 2 == 0  # without a name of its own it leaves its group
        took_s, wrong = _stopped(trial, trial.start(0, f"--drain-timeout-s={DRAIN_S}", static=named).wait_ready())
        took.append(took_s)
        problems += wrong
    trial.start(0)
    findings, others = trial.finish()
    if findings.duplicates:
        problems.append(f"{findings.duplicates} messages were read again after a clean end")
    done = {"sigterms": len(took), "drain_timeout_s": DRAIN_S}
    return Outcome(done, {**findings.as_dict(), "longest_s": round(max(took), 2)}, list(dict.fromkeys(problems + others)))


SCENARIOS = (Scenario("sigterm", "SIGTERM while thousands of messages wait", _play),)
