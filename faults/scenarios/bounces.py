"""Brokers or consumers go down and come up, killed or stopped in order, while postings flow; Kafka tests transactions so, too."""

import signal
from collections.abc import Callable
from functools import partial

from faults.consumer_group import ConsumerGroup
from faults.suite import BOTH_DELIVERIES, Outcome, Scenario, ScenarioRun

CONSUMERS = 2
PER_S = 300


def _bounce_broker(run: ScenarioRun, group: ConsumerGroup, number: int, *, hard: bool) -> None:
    """Bounce a node, the first time the one that coordinates the group's offsets or transactions."""
    node = (group.coordinator() - 1 + number) % run.cluster.count + 1
    run.say(f"node {node} goes down")
    (run.cluster.nodes[node].kill if hard else run.cluster.nodes[node].stop)()
    run.cluster.nodes[node].start()
    run.cluster.wait_in_sync()


def _bounce_consumer(run: ScenarioRun, group: ConsumerGroup, number: int, *, hard: bool) -> None:
    """Bounce a consumer, each in its turn; the group is complete again before the next."""
    run.say(f"consumer {number % CONSUMERS} goes down")
    oldest = group.running[0]
    oldest.signal(signal.SIGKILL if hard else signal.SIGTERM)
    oldest.wait()
    group.start(number % CONSUMERS).wait_ready()


def _play(run: ScenarioRun, bounce: Callable[..., None], *, least: int, hard: bool) -> Outcome:
    """Bounce until all postings have been fed, and at least `least` times."""
    group = run.new_group()
    for slot in range(CONSUMERS):
        group.start(slot)
    for process in group.started:
        process.wait_ready()
    least, count, bounces = run.by_size(min(least, CONSUMERS), least), run.by_size(1_500, 100_000), 0
    with group.feed.flowing(PER_S):
        while bounces < least or group.feed.sent < count:
            bounce(run, group, bounces, hard=hard)
            group.revive()
            bounces += 1
    findings, problems = group.finish()
    done = {"bounces": bounces, "hard": hard, "consumers": CONSUMERS}
    return Outcome(done, {**findings.as_dict(), "rebalances": group.rebalances}, problems)


SCENARIOS = tuple(
    Scenario(
        f"{what}-{'hard' if hard else 'clean'}",
        f"{what} are {'killed' if hard else 'stopped in order'} and started again, one after the other, while postings flow",
        partial(_play, bounce=bounce, least=least, hard=hard),
        nodes=3,
        short_nodes=short_nodes,
        short_deliveries=BOTH_DELIVERIES if hard and what == "brokers" else ("exactly-once",),
    )
    for what, bounce, least, short_nodes in (("consumers", _bounce_consumer, 4, 1), ("brokers", _bounce_broker, 1, 3))
    for hard in (True, False)
)
