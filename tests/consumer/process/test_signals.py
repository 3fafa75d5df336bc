"""A consumer that is asked to end does, whatever hangs."""

import signal
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

HANGS = """
import ctypes, time
from consumer.process.signals import stop_on_signals
stop = stop_on_signals(within_s={within_s})
print("ready", flush=True)
{then}
"""
HEEDS = "stop.wait()"
IN_PYTHON = "while True: time.sleep(0.01)"
IN_A_CALL = """
mutex, lock = ctypes.create_string_buffer(64), ctypes.CDLL(None).pthread_mutex_lock
lock(mutex), lock(mutex)
"""


def asked_to_end(number: int, *, then: str, within_s: float) -> tuple[int, str]:
    """Return the exit status and standard error of a process that got a signal."""
    code = HANGS.format(then=then, within_s=within_s)
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        _out, told = process.communicate(timeout=60)
    return process.returncode, told


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("then", [IN_PYTHON, IN_A_CALL])
def test_a_process_that_does_not_heed_a_signal_ends_itself_and_shows_where_it_stood(number: int, then: str) -> None:
    status, told = asked_to_end(number, then=then, within_s=0.3)
    assert status == 1
    assert 'File "<string>", line' in told


def test_a_process_that_heeds_a_signal_ends_as_it_likes() -> None:
    assert asked_to_end(signal.SIGTERM, then=HEEDS, within_s=60) == (0, "")
