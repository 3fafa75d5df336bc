"""SIGSTOP: a consumer or a broker halts during its work with all connections open, and later goes on."""

import signal
import time
from collections.abc import Sequence

from faults.cluster import wait_until
from faults.consumer_group import SESSION_S
from faults.processes import ConsumerProcess, is_frozen
from faults.strikes import Step, Strike
from faults.suite import Delivery, Outcome, Scenario, ScenarioRun

PER_S = 200
FULL_S = 20.0
MAX_POLL_S = 10.0
MAX_GROWTH_MB = 100.0
COUNT = 20
"""Steps before the halt."""
STRUCK_S = 60, 180
"""By then the halt has come, in the short form and in the full one."""
PATIENT = "--kafka=session.timeout.ms=30000"
"""For a member that must stay in its group, also on a machine that stands still for some seconds."""


def _halt_consumer(run: ScenarioRun) -> Outcome:
    """Halt a consumer until the group has long given its partitions away; in exactly-once mode also in a transaction."""
    group = run.new_group()
    steps: Sequence[Step] = ("offsets", "poll", "produced") if group.exactly_once else ("produced", "poll", "produce")
    steps, frozen_s = steps[: run.by_size(1, 3)], FULL_S if run.full else 2 * SESSION_S
    static_or_not = (True, False) if group.exactly_once and run.full else (group.exactly_once,)
    halts = [(step, static) for step in steps for static in static_or_not]
    other = group.start(1, PATIENT).wait_ready()
    moved = 0
    with group.feed.flowing(PER_S):
        for step, static in halts:
            strike = Strike(step, COUNT, signal=signal.SIGSTOP)
            halted = group.start_and_strike(0, strike, struck=_is_frozen, timeout_s=run.by_size(*STRUCK_S), static=static)
            before, until = other.assignment_changes, time.monotonic() + frozen_s
            time.sleep(frozen_s)
            moved += other.assignment_changes > before
            run.say(f"halted after {step} for {time.monotonic() - until + frozen_s:.0f} s")
            halted.signal(signal.SIGCONT)
            wait_until(lambda: group.is_ready(0), "the consumer is back")
            group.latest(0).stop()
    findings, problems = group.finish()
    if moved < len(halts):
        problems.append(f"the group went on without the halted consumer {moved} of {len(halts)} times")
    done = {"stops": len(halts), "stop_s": frozen_s, "after": list(steps)}
    return Outcome(done, {**findings.as_dict(), "rebalances": group.rebalances}, problems)


def _halt_coordinator(run: ScenarioRun) -> Outcome:
    """Halt the broker that coordinates a commit, at the moment of the commit."""
    group, stops = run.new_group(), run.by_size(1, 3)
    frozen_s = FULL_S if run.full else 8.0
    with group.feed.flowing(PER_S):
        for _ in range(stops):
            node = group.coordinator()
            pid = run.cluster.pid(node)
            step: Step = "offsets" if group.exactly_once else "produced"
            strike = Strike(step, COUNT, signal=signal.SIGSTOP, pid=pid)
            group.start_and_strike(0, strike, struck=lambda _, pid=pid: is_frozen(pid), timeout_s=run.by_size(*STRUCK_S))  # type: ignore[misc]
            run.say(f"node {node}, which coordinates, is halted for {frozen_s:.0f} s")
            time.sleep(frozen_s)
            run.cluster.thaw(node)
            run.cluster.wait_in_sync()
            wait_until(lambda: group.is_ready(0), "the consumer is at work")
            for process in group.running:
                process.stop()
    group.start(0)
    findings, problems = group.finish()
    done = {"stops": stops, "stop_s": frozen_s}
    return Outcome(done, {**findings.as_dict(), "rebalances": group.rebalances}, problems)


def _halt_output_broker(run: ScenarioRun) -> Outcome:
    """Halt a broker that every enriched record needs, for longer than the group waits for a member that does not poll."""
    group, stops = run.new_group(isolate_output=True), run.by_size(1, 3)
    warm = run.by_size(600, 2_000)  # records before the memory is measured first
    frozen_s = 2.5 * MAX_POLL_S
    process = group.start(
        0,
        f"--kafka=max.poll.interval.ms={1_000 * MAX_POLL_S:.0f}",
        f"--kafka=session.timeout.ms={1_000 * MAX_POLL_S:.0f}",  # heartbeats wait behind a commit that waits for the node
        f"--kafka=transaction.timeout.ms={500 * MAX_POLL_S:.0f}",
        f"--drain-timeout-s={MAX_POLL_S / 2}",
    ).wait_ready()
    blocked, grown_mb = 0, 0.0
    with group.feed.flowing(PER_S):
        for _ in range(stops):
            wait_until(lambda: process.metric("occustream_enriched_total") > warm, "the consumer is at work")
            held = process.metric("process_resident_memory_bytes")
            run.cluster.freeze(group.output_node)
            run.say(f"node {group.output_node}, which the enriched topic needs, is halted for {frozen_s:.0f} s")
            time.sleep(frozen_s)
            blocked += not process.ready
            grown_mb = max(grown_mb, (process.metric("process_resident_memory_bytes") - held) / 1e6)
            run.cluster.thaw(group.output_node)
            wait_until(lambda: process.ready, "the consumer writes again")
    findings, problems = group.finish()
    evictions = process.log().count(": lost ")
    if evictions:
        problems.append(f"the group shut the consumer out {evictions} times")
    if blocked < stops:
        problems.append(f"the consumer said {stops - blocked} times that it was ready though it could not write")
    if grown_mb > MAX_GROWTH_MB:
        problems.append(f"its memory grew by {grown_mb:.0f} MB meanwhile")
    done = {"stops": stops, "stop_s": frozen_s, "max_poll_interval_s": MAX_POLL_S}
    found = {**findings.as_dict(), "evictions": evictions, "blocked": blocked, "grown_mb": round(grown_mb, 1)}
    return Outcome(done, found, problems)


def _is_frozen(process: ConsumerProcess) -> bool:
    return process.frozen


EXACTLY_ONCE: tuple[Delivery, ...] = ("exactly-once",)
SCENARIOS = (
    Scenario(
        "stop-consumer",
        "SIGSTOP of a consumer that is at work, in a transaction too",
        _halt_consumer,
        short_deliveries=EXACTLY_ONCE,
    ),
    Scenario(
        "stop-coordinator",
        "SIGSTOP of the coordinator during a commit",
        _halt_coordinator,
        nodes=3,
        short_nodes=3,
        short_deliveries=EXACTLY_ONCE,
    ),
    Scenario(
        "stop-output",
        "SIGSTOP of a broker that the enriched topic needs",
        _halt_output_broker,
        nodes=3,
        short_nodes=3,
        short_deliveries=EXACTLY_ONCE,
    ),
)
