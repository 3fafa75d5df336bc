"""All scenarios, in the order in which they are played: those of one node first, so that each cluster starts once."""

from faults.scenarios import bounces, kills, members, network, poison, reloads, sigterm, soak, stall, stops
from faults.stage import Scenario

SCENARIOS: tuple[Scenario, ...] = (
    *kills.SCENARIOS,
    *sigterm.SCENARIOS,
    *stall.SCENARIOS,
    *members.SCENARIOS,
    *poison.SCENARIOS,
    *reloads.SCENARIOS,
    *soak.SCENARIOS,
    *network.SCENARIOS,
    *stops.SCENARIOS,
    *bounces.SCENARIOS,
)
