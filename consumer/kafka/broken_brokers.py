"""Logs what Kafka clients say: of each broker at most one line a second, however many clients complain of it how often."""

import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

PAUSE_S = 1.0
MAX_BROKERS = 1_000
"""So many brokers are remembered."""
_ADDRESS = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[\w.-]+):\d+(?![\w.]|:\d)")
_ALL_DOWN = "brokers are down"


@dataclass
class _Said:
    """When something was last said of a broker, in monotonic seconds, and how many lines were left out since."""

    at: float
    left_out: int = 0


class BrokerLog:
    """A log that all clients of a process share. Lines that name no broker are logged as they are. Safe from any thread."""

    def __init__(self, log: logging.Logger, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._lock = threading.Lock()
        self._said: OrderedDict[str, _Said] = OrderedDict()

    def write(self, level: int, text: str) -> None:
        """Log a line, or leave it out if there was one about the same broker within a second. The next line counts those."""
        if level <= logging.DEBUG:
            self._log.log(level, "%s", text)
            return
        with self._lock:
            left_out = self._count_left_out(text)
        if left_out is not None:
            self._log.log(level, "%s%s", text, f" ({left_out} more lines about it were left out)" if left_out else "")

    def _count_left_out(self, text: str) -> int | None:
        """Return how many lines were left out before this one; None if this one is left out."""
        broker = self._find_broker(text)
        if broker is None:
            return 0
        now, said = self._clock(), self._said.get(broker)
        if said is not None and now - said.at < PAUSE_S:
            said.left_out += 1
            return None
        self._said[broker] = _Said(now)
        self._said.move_to_end(broker)
        if len(self._said) > MAX_BROKERS:
            self._said.popitem(last=False)
        return said.left_out if said is not None else 0

    def _find_broker(self, text: str) -> str | None:
        """Return the address of the broker that a line is about. That all are down is said about the last one."""
        found = _ADDRESS.search(text)
        if found is None and _ALL_DOWN in text:
            return next(reversed(self._said), None)
        return found[0] if found else None


broker_log = BrokerLog(logging.getLogger(__name__))
"""The log of all clients of this process."""
