"""Waiting for what happens in another thread, process or broker."""

import time
from collections.abc import Callable

WAIT_S = 30.0
"""How long anything may take that a broker does; reached only by a failure."""


def wait_until(is_done: Callable[[], bool], what: str, timeout_s: float = WAIT_S) -> None:
    """Wait until `is_done`; fail, naming `what` was waited for, when the time is up."""
    deadline = time.monotonic() + timeout_s
    while not is_done():
        assert time.monotonic() < deadline, f"waited {timeout_s:.0f} s in vain: {what}"
        time.sleep(0.02)
