"""A process that gets a signal ends, whatever hangs."""

import signal
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

PROGRAM = """
import ctypes, time
from consumer.process.signals import stop_on_signals
stop = stop_on_signals(within_s={within_s})
print("ready", flush=True)
{then}
"""
STOPS = "stop.wait()"
HANGS_IN_PYTHON = "while True: time.sleep(0.01)"
HANGS_IN_A_CALL = """
mutex, lock = ctypes.create_string_buffer(64), ctypes.CDLL(None).pthread_mutex_lock
lock(mutex), lock(mutex)
"""


def run_and_signal(number: int, *, then: str, within_s: float) -> tuple[int, str]:
    """Return the exit status and standard error of a process that got a signal."""
    code = PROGRAM.format(then=then, within_s=within_s)
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        _out, errors = process.communicate(timeout=60)
    return process.returncode, errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("then", [HANGS_IN_PYTHON, HANGS_IN_A_CALL])
def test_a_process_that_hangs_after_a_signal_shows_where_and_ends_itself(number: int, then: str) -> None:
    status, errors = run_and_signal(number, then=then, within_s=0.3)
    assert status == 1
    assert 'File "<string>", line' in errors


def test_a_process_that_stops_after_a_signal_ends_by_itself() -> None:
    assert run_and_signal(signal.SIGTERM, then=STOPS, within_s=60) == (0, "")
