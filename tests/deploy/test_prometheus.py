"""Prometheus itself: it accepts our rules, scrapes both services, and every panel of the dashboard has data."""

import contextlib
import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from consumer.messages import TopicPartition
from consumer.metrics import Metrics
from consumer.process.http import HttpServer
from tests.deploy.deployment_files import DEPLOY, EXPRESSIONS, PANEL_EXPRESSIONS, RULES, load, substituted
from trainer.refresh import metrics as trainer_metrics
from trainer.refresh.drift import WindowFigures


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian and Ubuntu: apt-get install prometheus)")
    return found


@pytest.mark.parametrize(
    "arguments", ["check config prometheus.yml", "check rules alerts.yml", "test rules alerts_test.yml"], ids=lambda value: value
)
def test_promtool_accepts(arguments: str) -> None:
    promtool = program("promtool")
    done = subprocess.run(
        [promtool, *arguments.split()], cwd=DEPLOY / "prometheus", capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def scraped_consumer() -> Iterator[str]:
    """The address of a consumer's /metrics whose every series has a value."""
    metrics = Metrics()
    metrics.messages.inc(30)
    metrics.lags({TopicPartition("postings.raw", partition): 10 for partition in range(6)})
    metrics.model_info.labels("v1", "minilm", "29.3").set(1)
    metrics.model_trained_at.set(time.time())
    server = HttpServer(host="127.0.0.1", port=0, metrics=metrics.registry, live=lambda: None, ready=lambda: None)
    server.start()
    stopped = threading.Event()
    traffic = threading.Thread(target=make_traffic, args=(metrics, stopped))
    traffic.start()
    try:
        yield server.address
    finally:
        stopped.set()
        traffic.join()
        server.stop()


def make_traffic(metrics: Metrics, stopped: threading.Event) -> None:
    """Let everything that counts count, as a busy consumer does."""
    while not stopped.wait(0.1):
        for counter in (metrics.messages, metrics.enriched, metrics.commits, metrics.decisions.labels("accept")):
            counter.inc()
        metrics.dead_letters.labels("no_title").inc()
        metrics.batches.labels("age").inc()
        metrics.batch_size.observe(16)
        metrics.end_to_end_seconds.observe(0.02)
        with metrics.stage("score"):
            pass


@pytest.fixture(scope="module")
def scraped_trainer() -> Iterator[str]:
    """The address of a refresh service's /metrics whose every series has a value."""
    metrics = trainer_metrics.Metrics()
    metrics.show_version("v1")
    metrics.show_figures({"top_1": 0.8, "macro_top_1": 0.75, "ece": 0.03})
    metrics.show_window(WindowFigures(1, 0.2, 0.7, {"29": 1.0}, {"29-1141.00": 1.0}), {"group": 0.05, "code": 0.1})
    server = HttpServer(host="127.0.0.1", port=0, metrics=metrics.registry, live=lambda: None, ready=lambda: None)
    server.start()
    stopped = threading.Event()
    refreshing = threading.Thread(target=make_refreshes, args=(metrics, stopped))
    refreshing.start()
    try:
        yield server.address
    finally:
        stopped.set()
        refreshing.join()
        server.stop()


def make_refreshes(metrics: trainer_metrics.Metrics, stopped: threading.Event) -> None:
    """Refresh without a pause."""
    while not stopped.wait(0.1):
        metrics.refreshes.labels("promoted").inc()
        metrics.triggers.labels("postings").inc()
        metrics.seconds.observe(30)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory, scraped_consumer: str, scraped_trainer: str) -> Iterator[str]:
    """The address of a Prometheus with our rules that scrapes both four times a second."""
    executable, folder = program("prometheus"), tmp_path_factory.mktemp("prometheus")
    config = load(DEPLOY / "prometheus/prometheus.yml")
    config["global"] = {"scrape_interval": "250ms", "scrape_timeout": "200ms", "evaluation_interval": "250ms"}
    config["rule_files"] = [str(DEPLOY / "prometheus" / name) for name in config["rule_files"]]
    scraped = {"consumer": scraped_consumer, "trainer": scraped_trainer}
    for job in config["scrape_configs"]:
        job.pop("dns_sd_configs", None)
        job["static_configs"] = [{"targets": [urllib.parse.urlsplit(scraped[job["job_name"]]).netloc]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [executable, "--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address={address}"],
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        await_data(f"http://{address}", process, folder / "log")
        yield f"http://{address}"
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def await_data(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a rate can be computed."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text(encoding="utf-8")
        with contextlib.suppress(OSError):
            counted = ("occustream_end_to_end_seconds_count", "occustream_trainer_refresh_seconds_count")
            if all(ask(address, f"rate({name}[1m]) > 0") for name in counted):
                return
        time.sleep(0.1)
    pytest.fail(f"Prometheus shows no data after a minute:\n{log.read_text(encoding='utf-8')}")


def ask(address: str, expression: str) -> list[Any]:
    query = urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(f"{address}/api/v1/query?{query}", timeout=10) as answer:
        body = json.load(answer)
    assert body["status"] == "success", body
    result: list[Any] = body["data"]["result"]
    return result


def test_prometheus_scrapes_both_services_and_every_panel_of_the_dashboard_has_data(prometheus: str) -> None:
    asked = [(title, substituted(expression)) for title, expression in PANEL_EXPRESSIONS]
    assert [title for title, expression in asked if not ask(prometheus, expression)] == []
    (consumers,) = [expression for title, expression in asked if title == "Consumers"]
    assert [found["value"][1] for found in ask(prometheus, consumers)] == ["1"]


def test_prometheus_accepts_every_annotation_and_alert(prometheus: str) -> None:
    for _, expression in EXPRESSIONS:
        ask(prometheus, substituted(expression))
    with urllib.request.urlopen(f"{prometheus}/api/v1/rules", timeout=10) as answer:
        loaded = [rule for group in json.load(answer)["data"]["groups"] for rule in group["rules"]]
    assert {rule["name"] for rule in loaded} == {rule["alert"] for rule in RULES}
    assert {rule["name"] for rule in loaded if rule["health"] == "err"} == set()
