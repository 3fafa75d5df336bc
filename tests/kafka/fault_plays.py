"""The short plays of the fault suite, as parameters of tests. The full plays are `make faults`."""

import json
from collections.abc import Collection
from typing import Any

import pytest

from faults.scenarios import list_plays
from faults.suite import Delivery, Scenario, Suite

SURROUNDINGS = frozenset({"stall", "poison", "reloads", "soak", "network"})
"""What goes wrong around a consumer that lives. In the other scenarios consumers or brokers end."""


def short_plays(*, nodes: Collection[int], surroundings: bool = False) -> list[Any]:
    """Return the plays on so many nodes, either with faults around a living consumer or with processes that end."""
    return [
        pytest.param(scenario, delivery, id=f"{scenario.name}-{delivery}")
        for scenario, delivery in list_plays("short")
        if scenario.short_nodes in nodes and (scenario.name in SURROUNDINGS) == surroundings
    ]


def assert_passed(suite: Suite, scenario: Scenario, delivery: Delivery) -> None:
    """Play a scenario in its short form; no message may be lost, and with exactly-once delivery none may come twice."""
    line = suite.play(scenario, delivery, size="short", seed=1)
    print(json.dumps(line))
    assert line["passed"], line["reasons"]
