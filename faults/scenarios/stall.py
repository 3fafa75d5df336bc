"""The scorer stalls for twice max.poll.interval.ms: the group goes on without the consumer, and the consumer comes back."""

from faults.cluster import WAIT_S, wait_until
from faults.strikes import Strike
from faults.suite import Outcome, Scenario, ScenarioRun

PER_S = 200


def _play(run: ScenarioRun) -> Outcome:
    group = run.new_group()
    max_poll_s = run.by_size(8, 10)
    flags = (
        f"--kafka=max.poll.interval.ms={max_poll_s * 1_000}",
        f"--kafka=transaction.timeout.ms={(max_poll_s - 5) * 1_000}",
        f"--drain-timeout-s={max_poll_s / 2}",
    )
    stalls = run.by_size(1, 3)
    group.start(1, *flags).wait_ready()
    strikes = [Strike("decode", 20 * n, stall_s=2 * max_poll_s) for n in range(1, stalls + 1)]
    stalled = group.start(0, *flags, strikes=strikes, static=False).wait_ready()  # a member without a name of its own
    with group.feed.flowing(PER_S):
        until_s = stalls * (2 * max_poll_s + WAIT_S)
        wait_until(lambda: _count_evictions(stalled.log()) >= stalls, "the group has done without it each time", until_s)
        wait_until(lambda: stalled.ready, "it is back")
    findings, problems = group.finish()
    done = {"stalls": stalls, "stall_s": 2 * max_poll_s, "max_poll_interval_s": max_poll_s}
    found = {**findings.as_dict(), "evictions": _count_evictions(stalled.log()), "rebalances": group.rebalances}
    return Outcome(done, found, problems)


def _count_evictions(log: str) -> int:
    return log.count(": lost ")


SCENARIOS = (Scenario("stall", "a scorer that takes twice max.poll.interval.ms", _play, short_deliveries=("exactly-once",)),)
