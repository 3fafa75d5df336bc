"""Processes that end with the process that started them, unless that is ended by SIGKILL."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence

ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
"""The signals that end a process in order."""
PATIENCE_S = 30
"""So long a process may take to end before it is killed."""


def leave_on_signals() -> None:
    """Let SIGTERM and SIGHUP leave the program as an error does, so that what it has started is ended. SIGINT does so already."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)


def _leave(number: int, _frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


@contextlib.contextmanager
def running_process(
    command: Sequence[str], *, env: Mapping[str, str] | None = None, stdout: int | None = None, stderr: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process; end it by SIGTERM, which drains a consumer, or by SIGKILL if that takes too long.

    A signal that comes while the process is being started counts when it is known: none is left behind.
    """
    came: list[int] = []
    usual = {number: signal.signal(number, lambda number, _frame: came.append(number)) for number in ENDING}
    process = subprocess.Popen(command, env=env, stdout=stdout, stderr=stderr)
    try:
        for number, handler in usual.items():
            signal.signal(number, handler)
        for late in came:
            signal.raise_signal(late)
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE_S)
        process.kill()
