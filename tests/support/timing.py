"""How much of a processor a call takes; what else the machine does meanwhile is not counted."""

import time
from collections.abc import Callable
from typing import Any


def cpu_seconds(call: Callable[..., None], *arguments: Any) -> float:
    """Return the seconds that this thread works for a call."""
    started = time.thread_time()
    call(*arguments)
    return time.thread_time() - started
