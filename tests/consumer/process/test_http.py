"""What Prometheus and Kubernetes read, and what happens when it cannot be served."""

import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from typing import NoReturn

import pytest

from consumer.errors import BackgroundFailed, ConfigError
from consumer.metrics import Metrics
from consumer.process.http import HttpServer, Probe
from tests.support.brokers import wait_until


def make_server(port: int = 0, live: Probe = lambda: None, ready: Probe = lambda: None) -> HttpServer:
    return HttpServer(host="127.0.0.1", port=port, metrics=Metrics().registry, live=live, ready=ready)


@pytest.fixture
def server() -> Iterator[HttpServer]:
    server = make_server(ready=lambda: "no partition is assigned")
    server.start()
    yield server
    server.stop()


def get(server: HttpServer, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(server.address + path, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.parametrize("path", ["/metrics", "/metrics?name[]=x"])
def test_metrics_are_served_in_the_format_that_prometheus_reads(server: HttpServer, path: str) -> None:
    status, text = get(server, path)
    assert status == 200
    assert "# TYPE occustream_messages_total counter\noccustream_messages_total 0.0\n" in text


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/livez", (200, "ok\n")),
        ("/readyz", (503, "no partition is assigned\n")),
        ("/", (404, "not here; try /metrics, /livez, /readyz\n")),
    ],
)
def test_a_probe_answers_what_is_not_well(server: HttpServer, path: str, answer: tuple[int, str]) -> None:
    assert get(server, path) == answer


def test_an_occupied_port_is_refused_at_start_naming_the_flag(server: HttpServer) -> None:
    with pytest.raises(ConfigError, match=r"cannot serve metrics on 127\.0\.0\.1:\d+: .*choose another --http-port"):
        make_server(int(server.address.rpartition(":")[2]))


def test_a_dead_serving_thread_is_noticed_by_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_server: ThreadingHTTPServer) -> NoReturn:
        raise OSError("the socket is gone")

    monkeypatch.setattr(ThreadingHTTPServer, "service_actions", fail)  # runs on the serving thread, every half second
    server = make_server()
    server.check()
    server.start()
    with pytest.raises(BackgroundFailed, match=r"thread 'http' died: OSError.*the socket is gone"):
        wait_until(lambda: bool(server.check()), "the thread is dead")
    server.stop()
