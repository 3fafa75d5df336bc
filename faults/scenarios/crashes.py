"""A consumer crashes and is started again at once, with and without a name of its own, in both group protocols."""

import time
from functools import partial

from faults.cluster import wait_until
from faults.consumer_group import ConsumerGroup
from faults.suite import Outcome, Scenario, ScenarioRun

PER_S = 100
BACK_S = 30.0
"""In so many seconds a consumer that crashed reads again: the session of its predecessor (4 s, or 6 s) and some pauses."""
KINDS = {"consumer, named": ("consumer", True), "classic, named": ("classic", True)}
UNNAMED = {"consumer, unnamed": ("consumer", False), "classic, unnamed": ("classic", False)}


def _crash(group: ConsumerGroup, protocol: str, *, named: bool) -> float:
    """Kill a consumer and start it again; return after how many seconds it reads again."""
    flags = ("--kafka=group.protocol=consumer",) if protocol == "consumer" else ()
    start = partial(group.start, 0, *flags, static=named, classic=protocol == "classic")
    start().wait_ready().kill()
    killed = time.monotonic()
    again = start()
    before = group.progress.count()
    wait_until(lambda: again.ready and group.progress.count() > before, f"it reads again ({protocol}, named: {named})")
    return time.monotonic() - killed


def _play(run: ScenarioRun) -> Outcome:
    kinds, took, problems = KINDS | UNNAMED if run.full else dict(list(KINDS.items())[:1]), {}, []
    group = run.new_group()
    for name, (protocol, named) in kinds.items():
        with group.feed.flowing(PER_S):
            took[name] = round(_crash(group, protocol, named=named), 1)
            group.latest(0).stop()
    problems += [f"it took {took_s} s to come back ({name})" for name, took_s in took.items() if took_s > BACK_S]
    group.start(0, static=False)
    findings, others = group.finish()
    if group.revived:
        problems.append(f"{group.revived} consumers ended with status 1")
    return Outcome({"crashes": len(took)}, {**findings.as_dict(), "back_after_s": took}, problems + others)


SCENARIOS = (
    Scenario(
        "crash", "a consumer crashes, named and unnamed, in both group protocols", _play, short_deliveries=("exactly-once",)
    ),
)
