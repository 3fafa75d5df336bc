"""All scenarios, and in which order they are played."""

from faults.scenarios import (
    bounces,
    crashes,
    idle_connections,
    kills,
    members,
    network,
    offsets,
    outages,
    oversized,
    poison,
    registry_gone,
    reloads,
    sigterm,
    soak,
    stall,
    stops,
)
from faults.suite import Delivery, Scenario, Size

SCENARIOS: tuple[Scenario, ...] = (
    *kills.SCENARIOS,
    *sigterm.SCENARIOS,
    *stall.SCENARIOS,
    *members.SCENARIOS,
    *crashes.SCENARIOS,
    *offsets.SCENARIOS,
    *poison.SCENARIOS,
    *oversized.SCENARIOS,
    *reloads.SCENARIOS,
    *registry_gone.SCENARIOS,
    *idle_connections.SCENARIOS,
    *outages.SCENARIOS,
    *soak.SCENARIOS,
    *network.SCENARIOS,
    *stops.SCENARIOS,
    *bounces.SCENARIOS,
)


def list_plays(size: Size) -> list[tuple[Scenario, Delivery]]:
    """Return what a run of this size plays, on one node first: each cluster is started once."""
    parts = [(scenario, *scenario.nodes_and_deliveries(size)) for scenario in SCENARIOS]
    ordered = sorted(parts, key=lambda part: part[1])
    return [(scenario, delivery) for scenario, _nodes, deliveries in ordered for delivery in deliveries]
