"""Consumer processes, and the brokers that the fault suite breaks; both end with the test or file that uses them."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.kafka.jars import missing_tools
from faults.suite import Suite
from tests.kafka.workers import Workers


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    workers = Workers(tmp_path)
    yield workers
    workers.end()


@pytest.fixture(scope="module")
def module_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    workers = Workers(tmp_path_factory.mktemp("consumers"))
    yield workers
    workers.end()


@pytest.fixture(scope="module")
def suite() -> Iterator[Suite]:
    """A fault suite, whose brokers run until the end of the file."""
    if missing := missing_tools():
        pytest.skip(f"no real Kafka to break: missing {', '.join(missing)}")
    with tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as directory:
        suite = Suite(Path(directory))
        yield suite
        suite.end()
