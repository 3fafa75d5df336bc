"""Console scripts of ours, run in a process of their own as a user would run them."""

import subprocess
import sys
from typing import Protocol

from tests.support.paths import ROOT


class Cli(Protocol):
    """Runs a console script of ours as a user would."""

    def __call__(
        self, module: str, *arguments: str, stdin: bytes = b"", env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]: ...


def run_command(
    module: str, *arguments: str, stdin: bytes = b"", env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run `python -m module arguments` from the repository's root."""
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=240, cwd=ROOT, env=env, check=False)
