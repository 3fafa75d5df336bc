"""The short form of the fault suite on one broker, where consumers end: killed, or stopped in order."""

import pytest

from faults.suite import Delivery, Scenario, Suite
from tests.kafka.fault_plays import assert_passed, short_plays
from tests.support.command_line import Cli


@pytest.mark.kafka
@pytest.mark.timeout(900)  # each wait in it has a limit of its own
@pytest.mark.parametrize(("scenario", "delivery"), short_plays(nodes=1))
def test_no_fault_loses_a_message_or_repeats_one_exactly_once(suite: Suite, scenario: Scenario, delivery: Delivery) -> None:
    assert_passed(suite, scenario, delivery)


def test_the_command_names_what_it_does_not_know(cli: Cli) -> None:
    wrong = cli("faults", "no-such", "kills")
    assert (wrong.returncode, wrong.stderr) == (2, b"faults: no scenario is called no-such; --list shows them\n")
