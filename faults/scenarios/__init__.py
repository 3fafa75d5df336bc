"""All scenarios, in the order in which they are played: those of one node first, so that each cluster starts once."""

from faults.scenarios import bounces, kills
from faults.stage import Scenario

SCENARIOS: tuple[Scenario, ...] = (*kills.SCENARIOS, *bounces.SCENARIOS)
