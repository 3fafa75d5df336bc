"""A thread whose death is noticed: whoever started it asks `check`, or waits for its one step, and gets the exception."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait

from consumer.errors import BackgroundFailed


class BackgroundThread:
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


BOUNDED = "bounded step"


def count_bounded_steps() -> int:
    """Return how many steps of `run_with_deadline` have not ended, also such as nobody waits for any more."""
    return sum(thread.name == BOUNDED for thread in threading.enumerate())


def run_with_deadline(step: Callable[[], object], until: float) -> bool:
    """Take a step on a thread of its own and raise what it raises; False: it still waits then (monotonic seconds)."""
    outcome: Future[object] = Future()
    threading.Thread(target=_take, args=(step, outcome), name=BOUNDED, daemon=True).start()
    wait([outcome], timeout=max(0.0, until - time.monotonic()))
    if not outcome.done():
        return False
    try:
        outcome.result()
    finally:
        del outcome  # its exception knows this frame: together they would keep all that the step had
    return True


def _take(step: Callable[[], object], outcome: Future[object]) -> None:
    try:
        outcome.set_result(step())
    except BaseException as error:  # noqa: BLE001 - raised by whoever waits
        outcome.set_exception(error)
    finally:
        del step, outcome
