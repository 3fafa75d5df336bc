"""What all tests share: the pace of hypothesis, the encoder, a small trained registry, and the list of what was not tested."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from consumer.model.encoder import SentenceEncoder, load_encoder
from tests.support.command_line import Cli, run_command
from tests.support.paths import NO_MINILM, ROOT, has_minilm

pytest_plugins = ["tests.support.brokers"]  # its fixtures

# How long an example takes on a shared machine says nothing about the example.
settings.register_profile("shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared machine")


@pytest.fixture(scope="session")
def encoder() -> SentenceEncoder:
    """The real MiniLM on the CPU, fp32 so that figures do not depend on the machine."""
    if not has_minilm:
        pytest.skip(NO_MINILM)
    return load_encoder(device="cpu", precision="fp32")


@pytest.fixture(scope="session")
def starter_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with one version trained on the starter data, by the command line. Tests must not write to it."""
    if not has_minilm:
        pytest.skip(NO_MINILM)
    registry = tmp_path_factory.mktemp("starter") / "registry"
    command = [sys.executable, "-m", "trainer", "train", "--postings", "starter", "--registry", str(registry)]
    subprocess.run([*command, "--device", "cpu"], check=True, cwd=ROOT, capture_output=True, timeout=240)
    return registry


@pytest.fixture(scope="session")
def cli() -> Cli:
    """`cli("trainer", "list", ...)`; the working folder is the repository's root."""
    return run_command


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say once more, at the very end, what was not tested and why."""
    reasons: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons[reason.removeprefix("Skipped: ")] = reasons.get(reason.removeprefix("Skipped: "), 0) + 1
    if reasons:
        terminalreporter.section("not tested on this machine")
        for reason, count in sorted(reasons.items()):
            terminalreporter.line(f"{count:4d}  {reason}")
