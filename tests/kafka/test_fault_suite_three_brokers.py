"""The short form of the fault suite on three brokers, one of which goes away."""

import pytest

from faults.suite import Delivery, Scenario, Suite
from tests.kafka.fault_plays import assert_passed, short_plays


@pytest.mark.kafka
@pytest.mark.timeout(900)  # each wait in it has a limit of its own
@pytest.mark.parametrize(("scenario", "delivery"), short_plays(nodes=3))
def test_no_fault_on_three_brokers_loses_or_repeats_a_message(suite: Suite, scenario: Scenario, delivery: Delivery) -> None:
    assert_passed(suite, scenario, delivery)
