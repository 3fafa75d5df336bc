"""What all tests share: the pace of hypothesis, the encoder, a small trained registry, and the list of what was not tested."""

import os
import shutil
import subprocess
import sys
import tempfile
from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from deploy.kafka.broker import LocalKafka
from deploy.schema_registry.server import LocalRegistry
from tests.support.command_line import Cli, run_command
from tests.support.paths import NO_MINILM, ROOT, has_minilm
from tests.support.sharing import SHARED_FOLDER, make_once, threads_per_worker

if TYPE_CHECKING:
    from consumer.model.encoder import SentenceEncoder

pytest_plugins = ["tests.support.brokers"]  # its fixtures

# How long an example takes on a shared machine says nothing about the example.
settings.register_profile("shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared machine")

FIRST = "trainer/test_export_vectors.py"
"""It trains the model that others wait for."""
WAITING = ("contract/", "kafka/")
"""What mostly waits for brokers. These files are mixed with those that compute, so that the cores are always busy."""
TIMED_LAST = ("kafka/test_fault_suite_three_brokers.py", "kafka/test_fault_suite", "deploy/test_demo.py")
"""What mostly waits, for timeouts that are short. It shares the cores only with its like, when all else is done."""


def pytest_configure(config: pytest.Config) -> None:
    """Make the folder that all workers share; in a worker, leave the other workers their cores."""
    given: dict[str, Any] | None = getattr(config, "workerinput", None)
    if given is None:
        folder = Path(tempfile.mkdtemp(prefix="occustream-tests-"))
        config.add_cleanup(lambda: _end_sharing(folder))
    else:
        import torch

        folder = Path(given["shared_folder"])
        threads = threads_per_worker(given["workercount"])
        torch.set_num_threads(threads)
        os.environ["OMP_NUM_THREADS"] = str(threads)  # of the processes that tests start
    config.stash[SHARED_FOLDER] = folder


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist where the shared folder is."""
    node.workerinput["shared_folder"] = str(node.config.stash[SHARED_FOLDER])


def _end_sharing(folder: Path) -> None:
    if (folder / "kafka").exists():
        LocalKafka(folder / "kafka").stop()
    if (folder / "schema-registry").exists():
        LocalRegistry(folder / "schema-registry").stop()
    shutil.rmtree(folder, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files in the order in which workers take them: what waits beside what computes, and what has timeouts last."""
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(_find_place(item), []).append(item)
    timed = sorted((name for name in files if name.startswith(TIMED_LAST)), key=_rank_timed)
    waiting = [name for name in files if name.startswith(WAITING) and name not in timed]
    computing = sorted((name for name in files if name not in {*timed, *waiting}), key=_rank_computing)
    mixed = chain.from_iterable(zip_longest(computing, waiting))
    items[:] = chain.from_iterable(files[name] for name in (*mixed, *timed) if name is not None)


def _find_place(item: pytest.Item) -> str:
    tests = ROOT / "tests"
    return item.path.relative_to(tests).as_posix() if item.path.is_relative_to(tests) else ""


def _rank_timed(name: str) -> int:
    return next(rank for rank, start in enumerate(TIMED_LAST) if name.startswith(start))


def _rank_computing(name: str) -> tuple[bool, bool]:
    return name != FIRST, not name.startswith("trainer/")


@pytest.fixture(scope="session")
def shared_folder(pytestconfig: pytest.Config) -> Path:
    """A folder that all workers of this run share."""
    return pytestconfig.stash[SHARED_FOLDER]


@pytest.fixture(scope="session")
def encoder() -> "SentenceEncoder":
    """The real MiniLM on the CPU, fp32 so that figures do not depend on the machine."""
    from consumer.model.encoder import load_encoder

    if not has_minilm:
        pytest.skip(NO_MINILM)
    return load_encoder(device="cpu", precision="fp32")


@pytest.fixture(scope="session")
def cache_home(shared_folder: Path) -> Path:
    """What the demonstration takes for the user's cache: the starter data are embedded once in a run."""
    return shared_folder / "cache"


@pytest.fixture(scope="session")
def starter_registry(shared_folder: Path, cache_home: Path) -> Path:
    """A registry with one version trained on the starter data, by the command line. Tests must not write to it."""
    if not has_minilm:
        pytest.skip(NO_MINILM)
    cache = cache_home / "occustream" / "embeddings"
    return make_once(shared_folder / "starter-registry", lambda registry: _train_on_starter_data(registry, cache))


def _train_on_starter_data(registry: Path, cache: Path) -> None:
    command = [sys.executable, "-m", "trainer", "train", "--postings", "starter", "--registry", str(registry)]
    command += ["--cache", str(cache), "--device", "cpu"]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True, timeout=240)


@pytest.fixture(scope="session")
def cli() -> Cli:
    """`cli("trainer", "list", ...)`; the working folder is the repository's root."""
    return run_command


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say once more, at the very end, what was not tested and why."""
    reasons: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple | list) else report.longrepr)
        reasons[reason.removeprefix("Skipped: ")] = reasons.get(reason.removeprefix("Skipped: "), 0) + 1
    if reasons:
        terminalreporter.section("not tested on this machine")
        for reason, count in sorted(reasons.items()):
            terminalreporter.line(f"{count:4d}  {reason}")
