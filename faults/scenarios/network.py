"""Bad weather between consumers and brokers: connections are slow, cut, or half open with nothing passing."""

import time

from faults.proxy import Proxy, Weather
from faults.suite import Outcome, Scenario, Scene

PER_S = 200
SPELLS: tuple[Weather, ...] = ("slow", "cut", "silent")
FLAGS = (
    "--kafka=socket.timeout.ms=5000",  # a client takes a silent connection for dead after so long
    "--kafka=max.poll.interval.ms=60000",  # and the group a consumer whose client hangs
)


def _play(scene: Scene) -> Outcome:
    trial = scene.trial(servers=scene.cluster.detour_servers)
    with Proxy(scene.cluster.detours, rng=scene.rng) as proxy:
        for slot in range(2):
            trial.start(slot, *FLAGS).wait_ready()
        with trial.feed.flowing(PER_S):
            for spell in SPELLS * scene.size(1, 10):
                proxy.weather(spell)
                time.sleep(scene.rng.uniform(1, 3) if spell == "cut" else scene.rng.uniform(4, 8))
                proxy.weather("fair")
                time.sleep(scene.rng.uniform(0, 3))
        findings, problems = trial.finish()
    done = {f"spells_{spell}": proxy.counts[spell] for spell in SPELLS}
    passing = {"connections": proxy.counts["connections"], "connections_reset": proxy.counts["connections reset"]}
    return Outcome({**done, **passing}, {**findings.as_dict(), "rebalances": trial.rebalances}, problems)


SCENARIOS = (
    Scenario(
        "network", "a proxy that delays, cuts and half-opens connections", _play, nodes=3, short_deliveries=("exactly-once",)
    ),
)
