"""The short form of the fault suite: every scenario, on real Kafka brokers, in its shortest play."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.kafka.jars import missing_tools
from faults.scenarios import list_plays
from faults.suite import Delivery, Scenario, Suite
from tests.support.command_line import Cli

PLAYS = [pytest.param(*play, id=f"{play[0].name}-{play[1]}") for play in list_plays("short")]


@pytest.fixture(scope="module")
def suite() -> Iterator[Suite]:
    if missing := missing_tools():
        pytest.skip(f"no real Kafka to break: missing {', '.join(missing)}")
    with tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as directory:
        suite = Suite(Path(directory))
        yield suite
        suite.end()


@pytest.mark.kafka
@pytest.mark.timeout(900)  # each wait in it has a limit of its own
@pytest.mark.parametrize(("scenario", "delivery"), PLAYS)
def test_whatever_fails_nothing_is_lost_and_nothing_is_twice_where_that_is_promised(
    suite: Suite, scenario: Scenario, delivery: Delivery
) -> None:
    line = suite.play(scenario, delivery, size="short", seed=1)
    print(json.dumps(line))
    assert line["passed"], line["reasons"]


def test_the_command_names_what_it_does_not_know(cli: Cli) -> None:
    wrong = cli("faults", "no-such", "kills")
    assert (wrong.returncode, wrong.stderr) == (2, b"faults: no scenario is called no-such; --list shows them\n")
