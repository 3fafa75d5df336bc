"""SIGTERM under full load: the consumer ends within the drain time and has committed every record that it wrote."""

import time

from faults.cluster import wait_until
from faults.consumer_group import ConsumerGroup
from faults.processes import ConsumerProcess
from faults.suite import Outcome, Scenario, ScenarioRun

DRAIN_S = 10.0
LATE_S = 5.0
"""Beyond the drain time, for leaving the group and ending the process."""
BACKLOG = 4_000
"""Messages; more than a consumer enriches before the signal comes."""


def _stop_busy_consumer(group: ConsumerGroup, process: ConsumerProcess) -> tuple[float, list[str]]:
    """Stop a busy consumer; return how long it took, in seconds, and what was wrong."""
    wait_until(lambda: process.metric("occustream_enriched_total") > 0, "the consumer is at work")
    started = time.monotonic()
    status = process.stop()
    took_s = time.monotonic() - started
    committed = sum(group.progress.committed().values())
    _inputs, enriched, dead = group.read()
    problems = [f"it ended with {status}, not 0"] if status else []
    if took_s > DRAIN_S + LATE_S:
        problems.append(f"it took {took_s:.1f} s to end")
    if committed != len(enriched) + len(dead):
        problems.append(f"{len(enriched) + len(dead)} records are out, {committed} messages are committed")
    if group.progress.has_committed(group.feed.sent):
        problems.append("nothing was left to do when the signal came")
    return took_s, problems


def _play(run: ScenarioRun) -> Outcome:
    group = run.new_group()
    took, problems = [], []
    for number in range(run.by_size(2, 20)):
        group.feed.send(BACKLOG)
        group.feed.flush()
        named = group.exactly_once and number % 2 == 0  # without a name of its own it leaves its group
        took_s, wrong = _stop_busy_consumer(group, group.start(0, f"--drain-timeout-s={DRAIN_S}", static=named).wait_ready())
        took.append(took_s)
        problems += wrong
    group.start(0)
    findings, others = group.finish()
    if findings.duplicates:
        problems.append(f"{findings.duplicates} messages were read again after a clean end")
    done = {"sigterms": len(took), "drain_timeout_s": DRAIN_S}
    return Outcome(done, {**findings.as_dict(), "longest_s": round(max(took), 2)}, list(dict.fromkeys(problems + others)))


SCENARIOS = (Scenario("sigterm", "SIGTERM while thousands of messages wait", _play, short_deliveries=("exactly-once",)),)
