"""Kafka's own transaction test: brokers or consumers go down and come up, hard or in order, while postings flow."""

import signal
from collections.abc import Callable
from functools import partial

from faults.consumer_group import Trial
from faults.suite import BOTH, Outcome, Scenario, Scene

CONSUMERS = 2
PER_S = 300


def _brokers(scene: Scene, trial: Trial, number: int, *, hard: bool) -> None:
    """Bounce a node, the first time the one that coordinates the group's offsets or transactions."""
    topic, name = ("__transaction_state", trial.transactional_id(0)) if trial.once else ("__consumer_offsets", trial.group)
    node = (scene.cluster.coordinator(topic, name) - 1 + number) % scene.cluster.count + 1
    scene.say(f"node {node} goes down")
    (scene.cluster.nodes[node].kill if hard else scene.cluster.nodes[node].stop)()
    scene.cluster.nodes[node].start()
    scene.cluster.wait_in_sync()


def _consumers(scene: Scene, trial: Trial, number: int, *, hard: bool) -> None:
    """Bounce a consumer; each has its turn, and the group is whole again before the next."""
    scene.say(f"consumer {number % CONSUMERS} goes down")
    oldest = trial.running[0]
    oldest.signal(signal.SIGKILL if hard else signal.SIGTERM)
    oldest.wait()
    trial.start(number % CONSUMERS).wait_ready()


def _play(scene: Scene, bounce: Callable[..., None], *, least: int, hard: bool) -> Outcome:
    """Bounce until all has been fed, and at least so often."""
    trial = scene.trial()
    for slot in range(CONSUMERS):
        trial.start(slot)
    for process in trial.started:
        process.wait_ready()
    count, bounces = scene.size(3_000, 100_000), 0
    with trial.feed.flowing(PER_S):
        while bounces < least or trial.feed.sent < count:
            bounce(scene, trial, bounces, hard=hard)
            trial.revive()
            bounces += 1
    findings, problems = trial.finish()
    done = {"bounces": bounces, "hard": hard, "consumers": CONSUMERS}
    return Outcome(done, {**findings.as_dict(), "rebalances": trial.rebalances}, problems)


SCENARIOS = tuple(
    Scenario(
        f"{what}-{'hard' if hard else 'clean'}",
        f"{what} are {'killed' if hard else 'stopped in order'} and started again, one after the other, while postings flow",
        partial(_play, bounce=bounce, least=least, hard=hard),
        nodes=3,
        short_nodes=short_nodes,
        short_deliveries=BOTH if hard and what == "brokers" else ("exactly-once",),
    )
    for what, bounce, least, short_nodes in (("consumers", _consumers, 4, 1), ("brokers", _brokers, 1, 3))
    for hard in (True, False)
)
