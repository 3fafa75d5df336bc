"""SIGTERM and SIGINT: ask a process to end in order, and end it if it does not do so in time."""

import contextlib
import faulthandler
import os
import signal
import threading
from collections.abc import Iterator

from consumer.process.background import BackgroundThread

LEAVING_S = 15.0
"""How much longer than the drain timeout it may take to leave the group and close the clients."""


@contextlib.contextmanager
def end_within(seconds: float) -> Iterator[None]:
    """If the block is not left in time, print where each thread stands, and end the process with status 1."""
    faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def stop_on_signals(*, within_s: float) -> threading.Event:
    """Return an event that SIGTERM and SIGINT set. If the process is still running `within_s` later, it ends with status 1.

    Before it ends so, it prints where each thread stands: a Kafka client can wait for an answer forever
    (confluentinc/librdkafka#4884), and an orchestrator that kills the process would print nothing. Messages that are not
    committed are read again, as after any crash.

    A thread waits for the signals, because Python's own handlers run only once the main thread returns from its current call.
    """
    stop = threading.Event()
    reading_end, writing_end = os.pipe()
    os.set_blocking(writing_end, False)
    signal.set_wakeup_fd(writing_end, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)

    def wait_for_signal() -> None:
        os.read(reading_end, 1)
        stop.set()
        faulthandler.dump_traceback_later(within_s, exit=True)

    BackgroundThread("signals", wait_for_signal).start()
    return stop
