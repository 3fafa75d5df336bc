"""`serve` as a command: its exit status, its lock, its signals, and both topics over librdkafka."""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator

import confluent_kafka as ck
import pytest

from tests.support.paths import ROOT
from tests.support.training_data import OCCUPATIONS, POSTINGS
from tests.support.waiting import wait_until
from tests.trainer.refresh.conftest import NEW, ServiceFolders, event, message, stored_titles
from trainer.__main__ import main
from trainer.refresh.drift_reference import read_reference


@pytest.fixture
def mock_cluster() -> Iterator[tuple[ck.Producer, str]]:
    """A producer to librdkafka's mock cluster, and the cluster's address."""
    owner = ck.Producer({"bootstrap.servers": "ignored", "test.mock.num.brokers": 1, "log_level": 3})  # the cluster ends with it
    broker = next(iter(owner.list_topics(timeout=30).brokers.values()))
    servers = f"{broker.host}:{broker.port}"
    yield ck.Producer({"bootstrap.servers": servers, "log_level": 3}), servers
    del owner


def serve_arguments(folders: ServiceFolders, *more: str) -> list[str]:
    given = {
        "--postings": str(folders.root / "data" / "*.csv"),
        "--onet": str(folders.tiny / "release"),
        "--encoder": str(folders.tiny / "encoder"),
        "--device": "cpu",
        "--registry": str(folders.root / "registry"),
        "--state": str(folders.root / "state"),
        "--gate-ece": "0.5",
    }
    return ["serve", *(text for pair in given.items() for text in pair), *more]


def test_the_exit_status_of_once_says_what_came_of_it(folders: ServiceFolders) -> None:
    assert main(serve_arguments(folders, "--once")) == 0
    wrong = [
        (title, dict(zip(OCCUPATIONS, [*list(OCCUPATIONS)[1:3], "11-1011.00"], strict=False))[code]) for title, code in POSTINGS
    ]
    folders.write(wrong)
    assert main(serve_arguments(folders, "--once", "--min-new", "5")) == 3
    (folders.root / "data" / "new.csv").write_text("nothing of use\n")
    assert main(serve_arguments(folders, "--once")) == 1
    assert main(serve_arguments(folders, "--labelled-topic", "t")) == 2


def test_once_reads_the_topic_to_its_end_over_librdkafka(folders: ServiceFolders, mock_cluster: tuple[ck.Producer, str]) -> None:
    producer, servers = mock_cluster
    for title, code in NEW:
        producer.produce("labelled", message(title, code))
    assert producer.flush(30) == 0
    topic = ("--bootstrap-servers", servers, "--labelled-topic", "labelled")
    assert main(serve_arguments(folders, "--once", "--min-new", str(len(NEW)), *topic)) == 0
    newest = folders.registry.list_versions()[-1]
    assert newest.training["rows"] == len(POSTINGS) + len(NEW)
    assert folders.registry.read_current() == newest.version
    assert sorted(stored_titles(folders)) == sorted(title for title, _code in NEW)


def test_one_state_folder_serves_one_service(folders: ServiceFolders, capsys: pytest.CaptureFixture[str]) -> None:
    with (folders.root / "state" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(serve_arguments(folders, "--once")) == 2
    assert "another serve is running" in capsys.readouterr().err


@contextlib.contextmanager
def run_service(folders: ServiceFolders, *more: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """A service in a process of its own, and what it has logged so far."""
    flags = serve_arguments(folders, "--http-port", "0", "--look-s", "1", "--min-new", "5", *more)
    command = [sys.executable, "-m", "trainer", *flags]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    seen: list[str] = []
    assert process.stderr is not None
    reader = threading.Thread(target=lambda: seen.extend(iter(process.stderr.readline, "")))  # type: ignore[union-attr]
    reader.start()
    try:
        yield process, seen
    finally:
        process.kill()
        process.wait()
        reader.join()


def test_the_running_service_answers_refreshes_and_stops_at_sigterm(folders: ServiceFolders) -> None:
    with run_service(folders) as (process, seen):
        address = wait_for_line(seen, "metrics at ").split()[-1]
        folders.write(NEW, "new.csv")
        wait_for_line(seen, "is in service")
        promoted = 'occustream_trainer_refreshes_total{outcome="promoted"} 1.0'
        wait_until(lambda: promoted in urllib.request.urlopen(address).read().decode(), "the refresh is counted")
        assert urllib.request.urlopen(address.replace("/metrics", "/readyz")).status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert folders.registry.list_versions()[-1].training["triggers"] == ["postings"]


def test_the_running_service_keeps_what_drift_is_measured_against(
    folders: ServiceFolders, mock_cluster: tuple[ck.Producer, str]
) -> None:
    producer, servers = mock_cluster
    version = folders.registry.read_current() or ""
    value, kept = event(version=version).model_dump_json().encode(), folders.root / "state" / "drift.json"
    producer.produce("enriched", value)
    assert producer.flush(30) == 0
    topic = ("--bootstrap-servers", servers, "--enriched-topic", "enriched")
    with run_service(folders, *topic, "--drift-window", "2") as (process, _):
        deadline = time.monotonic() + 60
        while not kept.exists() and time.monotonic() < deadline:  # it reads from the newest on, once it has joined
            producer.produce("enriched", value)
            assert producer.flush(30) == 0
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    reference = read_reference(kept, events=2)
    assert reference is not None
    assert reference.version == version


def wait_for_line(lines: list[str], text: str) -> str:
    """Wait for a line that holds `text`. A refresh takes minutes where other processes use all cores."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        if found := [line for line in lines if text in line]:
            return found[0]
        time.sleep(0.1)
    raise AssertionError(f"no {text!r} in {lines}")


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    shown = capsys.readouterr().out
    for text in ("Reasons to refresh", "Exit status of --once", "--labelled-topic", "crontab", "--gate-ece"):
        assert text in shown
