"""SIGTERM and SIGINT: asked to end in order, and made to end where that does not happen."""

import faulthandler
import os
import signal
import threading

from consumer.process.background import BackgroundThread

LEAVING_S = 15.0
"""What leaving the group and closing the clients may take beyond the drain timeout."""


def stop_on_signals(*, within_s: float) -> threading.Event:
    """Return an event that SIGTERM and SIGINT set; a process that is still there `within_s` later ends with status 1.

    It shows where each thread stood. A Kafka client can wait for an answer for good (confluentinc/librdkafka#4884), and an
    orchestrator that has to kill it shows nothing. What is not committed is read again, as after any crash.

    Python's own handlers wait for the main thread to come back from a call, which is what may never be. So a thread listens.
    """
    stop = threading.Event()
    heard, noted = os.pipe()
    os.set_blocking(noted, False)
    signal.set_wakeup_fd(noted, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)

    def listen() -> None:
        os.read(heard, 1)
        stop.set()
        faulthandler.dump_traceback_later(within_s, exit=True)

    BackgroundThread("signals", listen).start()
    return stop
