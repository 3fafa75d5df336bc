"""A thread that reads a Kafka topic until it is stopped. What becomes of the messages is its reader's business."""

import threading
from typing import Protocol

from consumer.process.background import BackgroundThread

MAX_COUNT = 500
"""Messages that a reader takes at a time, at most."""
POLL_S = 0.5
"""Seconds that a reader waits for a first message."""


class MessageReader(Protocol):
    """Reads a topic as a member of a consumer group."""

    def start(self) -> None:
        """Join the group. Raises BrokerError where the topic is not there or no broker answers."""

    def read(self, timeout_s: float) -> int:
        """Read some messages and deal with them; return how many there were."""

    def close(self) -> None:
        """Leave the group."""


class TopicThread:
    """Lets a reader read on a thread of its own, until `stop`."""

    def __init__(self, name: str, reader: MessageReader) -> None:
        self._reader = reader
        self._stop = threading.Event()
        self._thread = BackgroundThread(name, self._read)

    def start(self) -> None:
        """Join the group and start reading. Raises BrokerError where the topic is not there or no broker answers."""
        self._reader.start()
        self._thread.start()

    def check(self) -> None:
        """Raise BackgroundFailed if the thread died."""
        self._thread.check()

    def stop(self) -> None:
        """Stop reading and leave the group."""
        self._stop.set()
        self._thread.join(10.0)

    def _read(self) -> None:
        try:
            while not self._stop.is_set():
                self._reader.read(POLL_S)
        finally:
            self._reader.close()
