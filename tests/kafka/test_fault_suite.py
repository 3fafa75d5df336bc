"""The short form of the fault suite on one broker: each scenario in its shortest play. The full plays are `make faults`."""

import json

import pytest

from faults.scenarios import list_plays
from faults.suite import Delivery, Scenario, Suite
from tests.support.command_line import Cli

PLAYS = [
    pytest.param(scenario, delivery, id=f"{scenario.name}-{delivery}")
    for scenario, delivery in list_plays("short")
    if scenario.short_nodes == 1
]


@pytest.mark.kafka
@pytest.mark.timeout(900)  # each wait in it has a limit of its own
@pytest.mark.parametrize(("scenario", "delivery"), PLAYS)
def test_no_fault_loses_a_message_or_repeats_one_exactly_once(suite: Suite, scenario: Scenario, delivery: Delivery) -> None:
    line = suite.play(scenario, delivery, size="short", seed=1)
    print(json.dumps(line))
    assert line["passed"], line["reasons"]


def test_the_command_names_what_it_does_not_know(cli: Cli) -> None:
    wrong = cli("faults", "no-such", "kills")
    assert (wrong.returncode, wrong.stderr) == (2, b"faults: no scenario is called no-such; --list shows them\n")
