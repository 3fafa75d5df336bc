"""The short form of the fault suite on three brokers, one of which goes away."""

import json

import pytest

from faults.scenarios import list_plays
from faults.suite import Delivery, Scenario, Suite

PLAYS = [
    pytest.param(scenario, delivery, id=f"{scenario.name}-{delivery}")
    for scenario, delivery in list_plays("short")
    if scenario.short_nodes != 1
]


@pytest.mark.kafka
@pytest.mark.timeout(900)  # each wait in it has a limit of its own
@pytest.mark.parametrize(("scenario", "delivery"), PLAYS)
def test_no_fault_on_three_brokers_loses_a_message_or_repeats_one_exactly_once(
    suite: Suite, scenario: Scenario, delivery: Delivery
) -> None:
    line = suite.play(scenario, delivery, size="short", seed=1)
    print(json.dumps(line))
    assert line["passed"], line["reasons"]
