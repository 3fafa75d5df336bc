"""Notices that no broker answers a client. The client tells no error of that which would end when one answers again.

Under the consumer protocol a member keeps its partitions meanwhile: only the brokers could take them away.
"""

import time
from collections.abc import Callable

import orjson

SILENT_S = 20.0
"""A group's members hear from brokers each few seconds, also where there is nothing to read."""


class BrokerWatch:
    """What one client has said of its brokers. The client calls `on_statistics` in its own `poll`."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._answered_at = clock()
        self._told_at = clock()

    def on_statistics(self, text: str) -> None:
        """Take the statistics of the client."""
        brokers = orjson.loads(text)["brokers"].values()
        idle_us = [broker["rxidle"] for broker in brokers if broker["state"] == "UP" and broker["rxidle"] >= 0]
        self._told_at = self._clock()
        if idle_us:
            self._answered_at = max(self._answered_at, self._told_at - min(idle_us) / 1e6)

    @property
    def trouble(self) -> str | None:
        """The reason why nothing can be read; None while brokers answer, as far as the client has said."""
        silent_s = self._told_at - self._answered_at
        return f"no broker has answered for {silent_s:.0f} s" if silent_s > SILENT_S else None
