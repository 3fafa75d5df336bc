"""A thread whose death is noticed: whoever started it asks `check`, or waits for its one step, and gets the exception."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait

from consumer.errors import BackgroundFailed


class Background:
    """Runs `work` on a daemon thread."""

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self._name = name
        self._work = work
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait for the end, at most `timeout_s`."""
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    @property
    def running(self) -> bool:
        """Whether the thread was started and has not ended."""
        return self._thread.is_alive()

    def check(self) -> None:
        """Raise BackgroundFailed if the thread ended by an exception."""
        if self._error is not None:
            raise BackgroundFailed(f"thread {self._name!r} died: {self._error!r}") from self._error

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - kept for `check`, which raises it in the loop
            self._error = error


class Step:
    """One step on a thread of its own, for calls that may not come back."""

    def __init__(self, step: Callable[[], object]) -> None:
        """Begin it."""
        self._step = step
        self._outcome: Future[object] = Future()
        threading.Thread(target=self._take, name="bounded step", daemon=True).start()

    def ends_by(self, until: float) -> bool:
        """Wait for its end and raise what it raises; False: it still waits then (monotonic seconds)."""
        wait([self._outcome], timeout=max(0.0, until - time.monotonic()))
        if self.running:
            return False
        self._outcome.result()
        return True

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return not self._outcome.done()

    def _take(self) -> None:
        try:
            self._outcome.set_result(self._step())
        except BaseException as error:  # noqa: BLE001 - raised by whoever waits
            self._outcome.set_exception(error)
