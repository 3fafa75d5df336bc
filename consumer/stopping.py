"""SIGTERM and SIGINT: asked to end in order, and made to end where that does not happen."""

import faulthandler
import signal
import threading

LEAVING_S = 15.0
"""What leaving the group and closing the clients may take beyond the drain timeout."""


def stop_on_signals(*, within_s: float) -> threading.Event:
    """Return an event that SIGTERM and SIGINT set; a process that is still there `within_s` later ends with status 1.

    It shows where each thread stood. A Kafka client can wait for an answer for good (confluentinc/librdkafka#4884), and an
    orchestrator that has to kill it shows nothing. What is not committed is read again, as after any crash.
    """
    stop = threading.Event()

    def ask(*_: object) -> None:
        stop.set()
        faulthandler.dump_traceback_later(within_s, exit=True)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
    return stop
