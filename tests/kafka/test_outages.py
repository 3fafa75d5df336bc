"""The short form of the fault suite on one broker, with what a consumer needs out of reach: broker, login, registry, files."""

import pytest

from faults.suite import Delivery, Scenario, Suite
from tests.kafka.fault_plays import assert_passed, short_plays


@pytest.mark.kafka
@pytest.mark.timeout(900)  # each wait in it has a limit of its own
@pytest.mark.parametrize(("scenario", "delivery"), short_plays(nodes=1, group="outages"))
def test_no_outage_loses_or_repeats_a_message_or_goes_unheard(suite: Suite, scenario: Scenario, delivery: Delivery) -> None:
    assert_passed(suite, scenario, delivery)
