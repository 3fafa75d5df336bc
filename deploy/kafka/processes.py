"""Processes that outlive the one that started them: what they run, waiting for them, and a lock against starting two."""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from deploy.kafka.tools import TOOL_TIMEOUT_S, run_tool

POLL_S = 0.1


def command_line(pid: int) -> str:
    """Return the command line of a process; empty when it is gone, or ended and not reaped yet."""
    if Path("/proc/self/cmdline").exists():
        try:
            return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).replace("\0", " ")
        except OSError:
            return ""
    return run_tool(["ps", "-ww", "-o", "command=", "-p", str(pid)], TOOL_TIMEOUT_S).stdout


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Return whether a condition came true within the timeout."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_S)
    return True


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock that only one process can hold."""
    with path.open("w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
