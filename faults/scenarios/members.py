"""Members join and leave, in both group protocols; static members restart without a rebalance."""

from functools import partial

from faults.cluster import wait_until
from faults.consumer_group import PARTITIONS, ConsumerGroup
from faults.processes import ConsumerProcess
from faults.suite import Outcome, Scenario, ScenarioRun

PER_S = 300
MOST, FEWEST = 4, 1
STATIC = 3
PATIENT_MS = 30_000
"""The session timeout of the group: so long a member may take to restart."""
CONSUMER_PROTOCOL = "--kafka=group.protocol=consumer"


def _join_and_leave(run: ScenarioRun, *, classic: bool) -> Outcome:
    group = run.new_group()
    flags = () if classic else (CONSUMER_PROTOCOL,)
    moves = ["join", "leave"] * run.by_size(2, 20)
    run.rng.shuffle(moves)
    group.start(0, *flags, classic=classic).wait_ready()
    joins = leaves = 0
    with group.feed.flowing(PER_S):
        for move in moves:
            members = group.running
            if len(members) < MOST and (move == "join" or len(members) == FEWEST):
                joins += 1
                group.start(joins, *flags, classic=classic).wait_ready()
            else:
                leaves += 1
                run.rng.choice(members).stop()
    findings, problems = group.finish()
    done = {"joins": joins, "leaves": leaves, "protocol": "classic" if classic else "consumer"}
    return Outcome(done, {**findings.as_dict(), "rebalances": group.rebalances}, problems)


def _restart_static_members(run: ScenarioRun) -> Outcome:
    """Restart members in turn, by SIGTERM and by SIGKILL; the partitions of the others must not move."""
    group, restarts = run.new_group(), run.by_size(2, 12)
    members = [_start_static(group, slot) for slot in range(STATIC)]
    share = PARTITIONS // STATIC
    wait_until(lambda: all(len(member.partitions) == share for member in members), "all have partitions")
    noticed = 0
    with group.feed.flowing(PER_S):
        for number in range(restarts):
            slot = number % STATIC
            others = [member for member in members if member is not members[slot]]
            before = [member.assignment_changes for member in others]
            (members[slot].kill if number % 2 else members[slot].stop)()
            members[slot] = _start_static(group, slot).wait_ready()
            noticed += before != [member.assignment_changes for member in others]
    findings, problems = group.finish()
    if noticed:
        problems.append(f"{noticed} of {restarts} restarts moved partitions of other members")
    done = {"restarts": restarts, "members": STATIC}
    return Outcome(done, {**findings.as_dict(), "restarts_noticed": noticed, "rebalances": group.rebalances}, problems)


def _start_static(group: ConsumerGroup, slot: int) -> ConsumerProcess:
    return group.start(slot, f"--kafka=session.timeout.ms={PATIENT_MS}", static=True)


SCENARIOS = (
    Scenario(
        "members-classic",
        "members join and leave, cooperative-sticky",
        partial(_join_and_leave, classic=True),
        short_deliveries=("exactly-once",),
    ),
    Scenario(
        "members-consumer",
        "members join and leave, group.protocol=consumer",
        partial(_join_and_leave, classic=False),
        short_deliveries=("at-least-once",),
    ),
    Scenario(
        "members-static",
        "static members restarted without a rebalance",
        _restart_static_members,
        short_deliveries=("exactly-once",),
    ),
)
