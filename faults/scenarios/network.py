"""Bad condition between consumers and brokers: connections are slow, cut, or half open with nothing passing."""

import time

from faults.proxy import Condition, Proxy
from faults.suite import Outcome, Scenario, ScenarioRun

PER_S = 200
SPELLS: tuple[Condition, ...] = ("slow", "cut", "silent")
FLAGS = (
    "--kafka=socket.timeout.ms=5000",  # after so long a client takes a silent connection for dead
    "--kafka=max.poll.interval.ms=60000",  # and the group takes a consumer for dead whose client hangs
)


def _play(run: ScenarioRun) -> Outcome:
    group = run.new_group(servers=run.cluster.detour_servers)
    with Proxy(run.cluster.detours, rng=run.rng) as proxy:
        for slot in range(2):
            group.start(slot, *FLAGS).wait_ready()
        with group.feed.flowing(PER_S):
            for spell in SPELLS * run.by_size(1, 10):
                proxy.set_condition(spell)
                time.sleep(run.rng.uniform(1, 3) if spell == "cut" else run.rng.uniform(4, 8))
                proxy.set_condition("normal")
                time.sleep(run.rng.uniform(0, 3))
        findings, problems = group.finish()
    done = {f"spells_{spell}": proxy.counts[spell] for spell in SPELLS}
    passing = {"connections": proxy.counts["connections"], "connections_reset": proxy.counts["connections reset"]}
    return Outcome({**done, **passing}, {**findings.as_dict(), "rebalances": group.rebalances}, problems)


SCENARIOS = (
    Scenario(
        "network", "a proxy that delays, cuts and half-opens connections", _play, nodes=3, short_deliveries=("exactly-once",)
    ),
)
