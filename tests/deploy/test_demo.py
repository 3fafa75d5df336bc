"""The demonstration itself: it ends with status 0 only if what went in came out and the second version was seen."""

import os
import subprocess
import sys

import pytest

from tests.support.paths import ROOT, needs_model


@needs_model
@pytest.mark.timeout(600)  # the demonstration has limits of its own
def test_demo_counts_add_up_and_the_reload_is_seen() -> None:
    environment = {name: value for name, value in os.environ.items() if name not in {"KAFKA_BOOTSTRAP_SERVERS", "DEMO_KEEP"}}
    command = [sys.executable, "-m", "deploy.demo"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=560, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "sent = enriched + deletes + dead letters: adds up; seen twice: 0; hot reload: seen" in done.stdout
    assert "Part-time RN - Medical/Surgical Nampa (flexible schedule)\n       -> 29-1141.00  Registered Nurses" in done.stdout
    assert "/metrics" in done.stdout
