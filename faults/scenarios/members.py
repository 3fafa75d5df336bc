"""Members come and go, in both group protocols; those with a name of their own are restarted unnoticed."""

from functools import partial

from faults.cluster import wait_until
from faults.consumer_group import PARTITIONS, Trial
from faults.processes import Process
from faults.suite import Outcome, Scenario, Scene

PER_S = 300
MOST, FEWEST = 4, 1
STATIC = 3
PATIENT_MS = 30_000
"""The group's patience with a member that restarts."""
CONSUMER_PROTOCOL = "--kafka=group.protocol=consumer"


def _come_and_go(scene: Scene, *, classic: bool) -> Outcome:
    trial = scene.trial()
    flags = () if classic else (CONSUMER_PROTOCOL,)
    moves = ["join", "leave"] * scene.size(3, 20)
    scene.rng.shuffle(moves)
    trial.start(0, *flags, classic=classic).wait_ready()
    joins = leaves = 0
    with trial.feed.flowing(PER_S):
        for move in moves:
            members = trial.running
            if len(members) < MOST and (move == "join" or len(members) == FEWEST):
                joins += 1
                trial.start(joins, *flags, classic=classic).wait_ready()
            else:
                leaves += 1
                scene.rng.choice(members).stop()
    findings, problems = trial.finish()
    done = {"joins": joins, "leaves": leaves, "protocol": "classic" if classic else "consumer"}
    return Outcome(done, {**findings.as_dict(), "rebalances": trial.rebalances}, problems)


def _restarts(scene: Scene) -> Outcome:
    """Restart members in turn, in order and by SIGKILL; the others must not notice."""
    trial, restarts = scene.trial(), scene.size(2, 12)
    members = [_static(trial, slot) for slot in range(STATIC)]
    wait_until(lambda: sorted(len(member.holds) for member in members) == [PARTITIONS // STATIC] * STATIC, "all have partitions")
    noticed = 0
    with trial.feed.flowing(PER_S):
        for number in range(restarts):
            slot = number % STATIC
            others = [member for member in members if member is not members[slot]]
            before = [member.moves for member in others]
            (members[slot].kill if number % 2 else members[slot].stop)()
            members[slot] = _static(trial, slot).wait_ready()
            noticed += before != [member.moves for member in others]
    findings, problems = trial.finish()
    if noticed:
        problems.append(f"{noticed} of {restarts} restarts moved partitions of other members")
    done = {"restarts": restarts, "members": STATIC}
    return Outcome(done, {**findings.as_dict(), "restarts_noticed": noticed, "rebalances": trial.rebalances}, problems)


def _static(trial: Trial, slot: int) -> Process:
    return trial.start(slot, f"--kafka=session.timeout.ms={PATIENT_MS}", static=True)


SCENARIOS = (
    Scenario("members-classic", "members join and leave, cooperative-sticky", partial(_come_and_go, classic=True)),
    Scenario(
        "members-consumer",
        "members join and leave, group.protocol=consumer",
        partial(_come_and_go, classic=False),
        short_deliveries=("at-least-once",),
    ),
    Scenario("members-static", "static members restarted without a rebalance", _restarts, short_deliveries=("exactly-once",)),
)
