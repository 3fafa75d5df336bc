"""The short plays of the fault suite, as parameters of tests. The full plays are `make faults`."""

import json
import shutil
from typing import Any, Literal

import pytest

from faults.scenarios import list_plays
from faults.suite import Delivery, Scenario, Suite

Group = Literal["ends", "members", "surroundings", "outages"]
MEMBERS = ("members", "crash", "mirrored", "recreated", "stop")
"""Consumers of a group come and go, or are halted."""
SURROUNDINGS = ("stall", "poison", "oversized", "reloads", "soak", "network")
"""What goes wrong around a consumer that lives."""
OUTAGES = ("outage", "password", "registry", "idle")
"""What a consumer needs is out of reach, or its peers take too much."""
JUDGED_BY_PROMTOOL = ("outage", "password", "registry")


def short_plays(*, nodes: int, group: Group = "ends") -> list[Any]:
    """Return the plays on so many nodes, of scenarios of one group; in `ends`, consumers or brokers end."""
    return [
        pytest.param(scenario, delivery, id=f"{scenario.name}-{delivery}", marks=_needs(scenario))
        for scenario, delivery in list_plays("short")
        if scenario.short_nodes == nodes and _find_group(scenario, nodes) == group
    ]


def _needs(scenario: Scenario) -> pytest.MarkDecorator:
    missing = scenario.name.startswith(JUDGED_BY_PROMTOOL) and shutil.which("promtool") is None
    return pytest.mark.skipif(missing, reason="promtool is not installed (Debian and Ubuntu: apt-get install prometheus)")


def _find_group(scenario: Scenario, nodes: int) -> Group:
    if scenario.name.startswith(OUTAGES):
        return "outages"
    if scenario.name.startswith(SURROUNDINGS):
        return "surroundings"
    return "members" if nodes == 1 and scenario.name.startswith(MEMBERS) else "ends"


def assert_passed(suite: Suite, scenario: Scenario, delivery: Delivery) -> None:
    """Play a scenario in its short form; no message may be lost, and with exactly-once delivery none may come twice."""
    line = suite.play(scenario, delivery, size="short", seed=1)
    print(json.dumps(line))
    assert line["passed"], line["reasons"]
