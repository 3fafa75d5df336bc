"""A step on a thread of its own: its outcome comes back, and a stop does not wait for one that hangs."""

import threading
import time
from typing import NoReturn

import pytest

from consumer.process.background import run_unless_stopped


def fail() -> NoReturn:
    raise OSError("the folder is not there")


def test_what_a_step_returns_or_raises_comes_back() -> None:
    stop = threading.Event()
    assert run_unless_stopped(lambda: "done", stop) == "done"
    with pytest.raises(OSError, match="the folder is not there"):
        run_unless_stopped(fail, stop)


def test_a_stop_ends_the_wait_for_a_step_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.process.background.ENDING_S", 0.2)
    stop, let_go = threading.Event(), threading.Event()
    threading.Timer(0.1, stop.set).start()
    began = time.monotonic()
    assert run_unless_stopped(let_go.wait, stop) is None
    assert time.monotonic() - began < 5
    let_go.set()


def test_a_step_that_ends_soon_after_the_stop_is_waited_for() -> None:
    stop, ended = threading.Event(), threading.Event()

    def end_late() -> None:
        stop.wait()
        time.sleep(0.3)
        ended.set()

    threading.Timer(0.1, stop.set).start()
    assert run_unless_stopped(end_late, stop) is None
    assert ended.is_set()
