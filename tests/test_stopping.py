"""A consumer that is asked to end does, whatever hangs."""

import signal
import subprocess
import sys

import pytest

from tests.brokers import ROOT

HANGS = """
import threading, time
from consumer.stopping import stop_on_signals
stop = stop_on_signals(within_s={within_s})
print("ready", flush=True)
while not ({heeds} and stop.is_set()):
    time.sleep(0.01)
"""


def asked_to_end(number: int, *, heeds: bool, within_s: float) -> tuple[int, str]:
    """Return the exit status and standard error of a process that got a signal."""
    code = HANGS.format(heeds=heeds, within_s=within_s)
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        _out, told = process.communicate(timeout=60)
    return process.returncode, told


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_does_not_heed_a_signal_ends_itself_and_shows_where_it_stood(number: int) -> None:
    status, told = asked_to_end(number, heeds=False, within_s=0.3)
    assert status == 1
    assert 'File "<string>", line' in told


def test_a_process_that_heeds_a_signal_ends_as_it_likes() -> None:
    assert asked_to_end(signal.SIGTERM, heeds=True, within_s=60) == (0, "")
