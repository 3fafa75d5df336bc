"""Threads whose exceptions are noticed: one that runs until it ends, and one that runs a single step by a deadline."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

from consumer.errors import BackgroundFailed


class BackgroundThread:
    """Runs `work` on a daemon thread and keeps its exception, which `check` raises for the thread's owner."""

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self._name = name
        self._work = work
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait until the thread has ended, for at most `timeout_s`."""
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    @property
    def running(self) -> bool:
        """Whether the thread has been started and has not ended."""
        return self._thread.is_alive()

    def check(self) -> None:
        """Raise BackgroundFailed if the thread ended with an exception."""
        if self._error is not None:
            raise BackgroundFailed(f"thread {self._name!r} died: {self._error!r}") from self._error

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - kept for `check`, which raises it in the owner's thread
            self._error = error


T = TypeVar("T")
ENDING_S = 5.0
"""How long a step may go on that nobody waits for any more."""
LOOK_S = 0.1
"""Between two looks whether to stop."""
STEP = "step with a deadline"
"""The name of threads that `run_with_deadline` and `run_unless_stopped` start."""


def count_unfinished_steps() -> int:
    """Return how many steps of `run_with_deadline` have not ended, including those that missed their deadline."""
    return sum(thread.name == STEP for thread in threading.enumerate())


def run_unless_stopped(step: Callable[[], T], stop: threading.Event) -> T | None:
    """Run a step on a thread of its own, return what it returns and raise what it raises. Return None once `stop` is set.

    A step that has not ended by then is given ENDING_S, and runs on after that: nothing can interrupt one that hangs.
    """
    outcome: Future[T] = Future()
    threading.Thread(target=_run_step, args=(step, outcome), name=STEP, daemon=True).start()
    while not outcome.done() and not stop.is_set():
        wait([outcome], timeout=LOOK_S)
    if stop.is_set():
        wait([outcome], timeout=ENDING_S)
        return None
    return outcome.result()


def run_with_deadline(step: Callable[[], object], deadline: float) -> bool:
    """Run a step on a thread of its own and raise what it raises. Return whether it ended by the deadline (monotonic seconds).

    A step that misses its deadline runs on, and its outcome is lost.
    """
    outcome: Future[object] = Future()
    threading.Thread(target=_run_step, args=(step, outcome), name=STEP, daemon=True).start()
    wait([outcome], timeout=max(0.0, deadline - time.monotonic()))
    if not outcome.done():
        return False
    try:
        outcome.result()
    finally:
        del outcome  # its exception refers to this frame: in a cycle, they would keep every object of the step alive
    return True


def _run_step(step: Callable[[], T], outcome: Future[T]) -> None:
    try:
        outcome.set_result(step())
    except BaseException as error:  # noqa: BLE001 - `run_with_deadline` raises it
        outcome.set_exception(error)
    finally:
        del step, outcome
