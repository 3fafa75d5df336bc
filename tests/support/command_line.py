"""Console scripts of ours, run in a process of their own as a user would run them.

The process is forked from a server that has imported PyTorch and our packages already: it starts in tenths of a second instead of
five to ten seconds. It ends without the interpreter's own clean-up, so tests of that, or of how a process starts or dies, take a
new interpreter.
"""

import importlib
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from tests.support.paths import ROOT

END_S = 240.0
STREAMS = ("stdin", "stdout", "stderr")
"""The names of the files that stand for the process's standard streams, by descriptor."""


class Cli(Protocol):
    """Runs a console script of ours as a user would."""

    def __call__(
        self, module: str, *arguments: str, stdin: bytes = b"", env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]: ...


def run_command(
    module: str, *arguments: str, stdin: bytes = b"", env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run what `python -m module arguments` runs, from the repository's root."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["faults.preload"])
    with tempfile.TemporaryDirectory(prefix="command-") as name:
        folder = Path(name)
        (folder / "stdin").write_bytes(stdin)
        environment = dict(os.environ) if env is None else env
        process = context.Process(target=run_as_command, args=(module, arguments, environment, folder))
        process.start()
        process.join(END_S)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired([module, *arguments], END_S)
        out, err = ((folder / stream).read_bytes() for stream in STREAMS[1:])
    return subprocess.CompletedProcess([module, *arguments], process.exitcode, out, err)


def run_in_new_interpreter(module: str, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run `python -m module arguments` from the repository's root, from the interpreter's start to its end."""
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=END_S, cwd=ROOT, check=False)


def run_as_command(module: str, arguments: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
    """Do all that the command does, up to its exit status. The forked process runs it."""
    for descriptor, stream in enumerate(STREAMS):
        opened = os.open(folder / stream, os.O_RDWR | os.O_CREAT)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.stdin, sys.stdout, sys.stderr = (open(number, mode, encoding="utf-8") for number, mode in enumerate("rww"))  # noqa: PTH123, SIM115
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    sys.argv = [module, *arguments]
    sys.exit(importlib.import_module(f"{module}.__main__").main(list(arguments)))
