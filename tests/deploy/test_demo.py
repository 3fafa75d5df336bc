"""The demonstration itself: it ends with status 0 only if what went in came out and the second version was seen."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT, needs_model


@needs_model
@pytest.mark.timeout(600)  # the demonstration has limits of its own
def test_demo_counts_add_up_and_the_reload_is_seen(cache_home: Path) -> None:
    with started_demo(cache_home) as demo:
        out, err = demo.communicate(timeout=560)
    assert demo.returncode == 0, out[-3000:] + err[-3000:]
    assert "sent = enriched + deletes + dead letters: adds up; seen twice: 0; hot reload: seen" in out
    assert "Part-time RN - Medical/Surgical Nampa (flexible schedule)\n       -> 29-1141.00  Registered Nurses" in out
    assert "/metrics" in out


@needs_model
@pytest.mark.timeout(120)
def test_a_demo_that_is_terminated_ends_its_processes(cache_home: Path) -> None:
    with started_demo(cache_home) as demo:
        assert demo.stdout
        assert "1/5" in demo.stdout.readline() + demo.stdout.readline()  # from here on it starts processes
        demo.terminate()
        assert demo.wait(60) == 128 + signal.SIGTERM
        with pytest.raises(ProcessLookupError):
            os.killpg(demo.pid, 0)


@contextlib.contextmanager
def started_demo(cache_home: Path) -> Iterator[subprocess.Popen[str]]:
    """Start the demonstration in a process group of its own; none of the group is left at the end."""
    environment = {name: value for name, value in os.environ.items() if name not in {"KAFKA_BOOTSTRAP_SERVERS", "DEMO_KEEP"}}
    environment["XDG_CACHE_HOME"] = str(cache_home)
    command, pipe = [sys.executable, "-m", "deploy.demo"], subprocess.PIPE
    demo = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    try:
        yield demo
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(demo.pid, signal.SIGKILL)
        demo.communicate()
