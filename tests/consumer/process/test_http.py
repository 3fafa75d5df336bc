"""What Prometheus and Kubernetes read, what a peer may take of the server, and what happens when nothing can be served."""

import http.client
import logging
import socket
import struct
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import NoReturn

import psutil
import pytest
import uvicorn

from consumer.errors import BackgroundFailed, ConfigError
from consumer.metrics import Metrics
from consumer.process.connections import ACCEPTED_AT_ONCE, MAX_CONNECTIONS
from consumer.process.http import HttpServer, Probe
from tests.support.waiting import wait_until

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: a closed connection is reset."""


def make_server(port: int = 0, live: Probe = lambda: None, ready: Probe = lambda: None, *, host: str = "127.0.0.1") -> HttpServer:
    return HttpServer(host=host, port=port, metrics=Metrics().registry, live=live, ready=ready)


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
    async def fail(_server: uvicorn.Server, _counter: int) -> NoReturn:
        raise OSError("the socket is gone")

    monkeypatch.setattr(uvicorn.Server, "on_tick", fail)  # runs on the serving thread, ten times a second
    server = make_server()
    server.check()
    server.start()
    with pytest.raises(BackgroundFailed, match=r"thread 'http' died: OSError.*the socket is gone"):
        wait_until(lambda: bool(server.check()), "the thread is dead")
    server.stop()


def port_of(server: HttpServer) -> int:
    return int(server.address.rpartition(":")[2])


def connect(server: HttpServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port_of(server)), timeout=10)


def open_connections(server: HttpServer) -> int:
    """Return how many connections the server itself has open."""
    mine = (connection for connection in psutil.Process().net_connections("tcp") if connection.status == psutil.CONN_ESTABLISHED)
    return sum(connection.laddr.port == port_of(server) for connection in mine)


def is_closed(peer: socket.socket) -> bool:
    """Return whether the server closes the connection, before 10 s are over."""
    try:
        while peer.recv(4_096):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


def send_until_refused(peer: socket.socket, data: bytes, *, pause_s: float) -> float:
    """Send the same again and again, and return after how many seconds the server, or the kernel, took no more."""
    began = time.monotonic()
    while time.monotonic() < began + 10:
        try:
            peer.sendall(data)
        except OSError:
            break
        time.sleep(pause_s)
    return time.monotonic() - began


# ---- what is asked -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/metrics", "/livez", "/readyz", "/nowhere"])
def test_a_head_request_is_answered_as_a_get_request_without_its_body(server: HttpServer, path: str) -> None:
    answers = {}
    for method in ("GET", "HEAD"):
        connection = http.client.HTTPConnection("127.0.0.1", port_of(server), timeout=10)
        connection.request(method, path)
        answer = connection.getresponse()
        answers[method] = answer.status, answer.headers["Content-Type"]
        assert bool(answer.read()) is (method == "GET")
        connection.close()
    assert answers["HEAD"] == answers["GET"]


def test_the_metrics_name_their_format_once(server: HttpServer) -> None:
    with urllib.request.urlopen(server.address + "/metrics", timeout=10) as answer:
        assert answer.headers["Content-Type"] == "text/plain; version=1.0.0; charset=utf-8"


def test_other_methods_and_requests_that_are_none_are_refused(server: HttpServer) -> None:
    with connect(server) as peer:
        peer.sendall(b"POST /livez HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\nhi")
        assert peer.recv(4_096).startswith(b"HTTP/1.1 405 ")
    for bad in (b"\x16\x03\x01 no words\r\n\r\n", b"GET /livez HTTP/1.1\r\nHost: " + 20_000 * b"h"):
        with connect(server) as peer:
            peer.sendall(bad)
            assert peer.recv(4_096).startswith(b"HTTP/1.1 400 ")
    assert get(server, "/livez") == (200, "ok\n")


@pytest.mark.parametrize(("host", "peers"), [("::1", ["::1"]), ("::", ["::1", "127.0.0.1"]), ("localhost", ["localhost"])])
def test_each_ip_version_is_served_and_the_address_can_be_opened(host: str, peers: list[str]) -> None:
    server = make_server(host=host)
    server.start()
    try:
        assert get(server, "/livez") == (200, "ok\n")
        for peer in peers:
            connection = http.client.HTTPConnection(peer, port_of(server), timeout=10)
            connection.request("GET", "/livez")
            assert connection.getresponse().status == 200
            connection.close()
    finally:
        server.stop()


# ---- what a peer may take ----------------------------------------------------------------------------------------------


def test_idle_connections_take_a_bounded_number_of_files_and_keep_nobody_out(server: HttpServer) -> None:
    before = psutil.Process().num_fds()
    idle = [connect(server) for _ in range(400)]
    assert get(server, "/livez") == (200, "ok\n")
    wait_until(lambda: open_connections(server) <= MAX_CONNECTIONS, "the others are closed")
    assert psutil.Process().num_fds() - before - len(idle) <= MAX_CONNECTIONS + ACCEPTED_AT_ONCE
    assert sum(map(is_closed, idle[: 400 - MAX_CONNECTIONS])) == 400 - MAX_CONNECTIONS, "those that were silent longest"
    for peer in idle:
        peer.close()


def test_a_peer_that_asks_again_and_again_keeps_its_connection(server: HttpServer) -> None:
    scraper = http.client.HTTPConnection("127.0.0.1", port_of(server), timeout=10)
    idle: list[socket.socket] = []
    for _ in range(4):
        idle += [connect(server) for _ in range(MAX_CONNECTIONS // 2)]
        scraper.request("GET", "/livez")
        assert scraper.getresponse().read() == b"ok\n"
        scraper.sock.getpeername()  # it is open
    scraper.close()
    for peer in idle:
        peer.close()


@pytest.mark.parametrize("said", [b"", b"GET /livez HTTP/1.1\r\nHost: here\r\n"], ids=["nothing", "half a request"])
def test_a_peer_that_says_too_little_is_closed_in_time(server: HttpServer, said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.process.connections.EXCHANGE_S", 0.3)
    with connect(server) as peer:
        peer.sendall(said)
        assert is_closed(peer)


def test_a_peer_that_sends_a_byte_now_and_then_gets_no_more_time(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.process.connections.EXCHANGE_S", 0.5)
    monkeypatch.setattr("consumer.process.connections.IDLE_S", 30.0)
    with connect(server) as peer:
        peer.sendall(b"GET /livez HTTP/1.1\r\nHost: here\r\n\r\n")
        assert peer.recv(4_096).startswith(b"HTTP/1.1 200 ")
        assert send_until_refused(peer, b"X", pause_s=0.05) < 5


def test_a_connection_without_a_further_request_is_closed_in_time(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.process.connections.EXCHANGE_S", 0.2)
    monkeypatch.setattr("consumer.process.connections.IDLE_S", 0.2)
    with connect(server) as peer:
        peer.sendall(b"GET /livez HTTP/1.1\r\nHost: here\r\n\r\n")
        assert peer.recv(4_096).startswith(b"HTTP/1.1 200 ")
        assert is_closed(peer)


def test_a_peer_that_does_not_take_its_answers_is_closed_in_time(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.process.connections.EXCHANGE_S", 0.3)
    monkeypatch.setattr("consumer.process.connections.IDLE_S", 0.3)
    with connect(server) as peer:
        peer.settimeout(0.2)
        assert send_until_refused(peer, 100 * b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n", pause_s=0.0) < 10
        wait_until(lambda: open_connections(server) == 0, "the server lets go of it")


def test_peers_that_hang_up_leave_no_line(
    server: HttpServer, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        for _ in range(300):
            with connect(server) as peer:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                peer.sendall(b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n")
        assert get(server, "/livez") == (200, "ok\n")
        wait_until(lambda: open_connections(server) == 0, "all are closed")
    assert (caplog.text, *capfd.readouterr()) == ("", "", "")


def test_a_server_with_open_connections_stops_at_once(server: HttpServer) -> None:
    idle = [connect(server) for _ in range(5)]
    for peer in idle[:2]:
        peer.sendall(b"GET /liv")
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 2
    with pytest.raises(ConnectionRefusedError):
        connect(server)
    for peer in idle:
        peer.close()
