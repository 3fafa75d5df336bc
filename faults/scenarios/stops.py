"""SIGSTOP: a consumer, or the coordinator, halts in the midst of its work with all connections open, and later goes on."""

import signal
import time
from collections.abc import Sequence

from faults.cluster import wait_until
from faults.consumer_group import SESSION_S, Trial
from faults.processes import is_frozen
from faults.strikes import Step, Strike
from faults.suite import Delivery, Outcome, Scenario, Scene

PER_S = 200
FULL_S = 20.0
MAX_POLL_S = 10.0
MAX_GROWTH_MB = 100.0
WARM = 2_000
"""Records before the memory is looked at first."""
COUNT = 20
"""Of steps before the halt."""


def _consumer(scene: Scene) -> Outcome:
    """Halt a consumer until long after the group has given its partitions away; in exactly-once mode also in a transaction."""
    trial = scene.trial()
    steps: Sequence[Step] = ("offsets", "poll", "produced") if trial.once else ("produced", "poll", "produce")
    steps, frozen_s = steps[: scene.size(1, 3)], FULL_S if scene.full else 2 * SESSION_S
    halts = [(step, named) for step in steps for named in ((True, False) if trial.once and scene.full else (trial.once,))]
    other = trial.start(1).wait_ready()
    moved = 0
    with trial.feed.flowing(PER_S):
        for step, named in halts:
            halted = trial.start(0, strikes=[Strike(step, COUNT, signal=signal.SIGSTOP)], static=named)
            _wait_frozen(halted.pid, step)
            before, until = other.moves, time.monotonic() + frozen_s
            time.sleep(frozen_s)
            moved += other.moves > before
            scene.say(f"halted after {step} for {time.monotonic() - until + frozen_s:.0f} s")
            halted.signal(signal.SIGCONT)
            wait_until(lambda halted=halted: halted.ready, "the consumer is back")  # type: ignore[misc]
            halted.stop()
    findings, problems = trial.finish()
    if moved < len(halts):
        problems.append(f"the group went on without the halted consumer {moved} of {len(halts)} times")
    done = {"stops": len(halts), "stop_s": frozen_s, "after": list(steps)}
    return Outcome(done, {**findings.as_dict(), "rebalances": trial.rebalances}, problems)


def _coordinator(scene: Scene) -> Outcome:
    """Halt the broker that coordinates a commit, at the moment of the commit."""
    trial, stops = scene.trial(), scene.size(1, 3)
    frozen_s = FULL_S if scene.full else 8.0
    with trial.feed.flowing(PER_S):
        for _ in range(stops):
            node = _coordinating(trial)
            pid = scene.cluster.pid(node)
            step: Step = "offsets" if trial.once else "produced"
            trial.start(0, strikes=[Strike(step, COUNT, signal=signal.SIGSTOP, pid=pid)])
            _wait_frozen(pid, step)
            scene.say(f"node {node}, which coordinates, is halted for {frozen_s:.0f} s")
            time.sleep(frozen_s)
            scene.cluster.thaw(node)
            scene.cluster.wait_in_sync()
            wait_until(lambda: trial.at_work(0), "the consumer is at work")
            for process in trial.running:
                process.stop()
    trial.start(0)
    findings, problems = trial.finish()
    done = {"stops": stops, "stop_s": frozen_s}
    return Outcome(done, {**findings.as_dict(), "rebalances": trial.rebalances}, problems)


def _output(scene: Scene) -> Outcome:
    """Halt a broker that every enriched record needs, for longer than the group waits for a member that does not poll."""
    trial, stops = scene.trial(output_apart=True), scene.size(1, 3)
    frozen_s = 2.5 * MAX_POLL_S
    process = trial.start(
        0,
        f"--kafka=max.poll.interval.ms={1_000 * MAX_POLL_S:.0f}",
        f"--kafka=session.timeout.ms={1_000 * MAX_POLL_S:.0f}",  # heartbeats wait behind a commit that waits for the node
        f"--kafka=transaction.timeout.ms={500 * MAX_POLL_S:.0f}",
        f"--drain-timeout-s={MAX_POLL_S / 2}",
    ).wait_ready()
    blocked, grown_mb = 0, 0.0
    with trial.feed.flowing(PER_S):
        for _ in range(stops):
            wait_until(lambda: process.metric("occustream_enriched_total") > WARM, "the consumer is at work")
            held = process.metric("process_resident_memory_bytes")
            scene.cluster.freeze(trial.output_node)
            scene.say(f"node {trial.output_node}, which the enriched topic needs, is halted for {frozen_s:.0f} s")
            time.sleep(frozen_s)
            blocked += not process.ready
            grown_mb = max(grown_mb, (process.metric("process_resident_memory_bytes") - held) / 1e6)
            scene.cluster.thaw(trial.output_node)
            wait_until(lambda: process.ready, "the consumer writes again")
    findings, problems = trial.finish()
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


def _coordinating(trial: Trial) -> int:
    if trial.once:
        return trial.cluster.coordinator("__transaction_state", trial.transactional_id(0))
    return trial.cluster.coordinator("__consumer_offsets", trial.group)


def _wait_frozen(pid: int, step: str) -> None:
    wait_until(lambda: is_frozen(pid), f"SIGSTOP after {step}")


ONCE: tuple[Delivery, ...] = ("exactly-once",)
SCENARIOS = (
    Scenario("stop-consumer", "SIGSTOP of a consumer that is at work, in a transaction too", _consumer, short_deliveries=ONCE),
    Scenario(
        "stop-coordinator",
        "SIGSTOP of the coordinator during a commit",
        _coordinator,
        nodes=3,
        short_nodes=3,
        short_deliveries=ONCE,
    ),
    Scenario(
        "stop-output",
        "SIGSTOP of a broker that the enriched topic needs",
        _output,
        nodes=3,
        short_nodes=3,
    ),
)
