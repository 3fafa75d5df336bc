"""Serves /metrics, /livez and /readyz over HTTP on a thread of its own."""

import http.server
from collections.abc import Callable
from http import HTTPStatus

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from consumer.errors import ConfigError
from consumer.process.background import BackgroundThread

Probe = Callable[[], str | None]
"""A health check. It returns None if all is well, else what is wrong."""
Route = Callable[[], tuple[HTTPStatus, str, bytes]]
"""Makes the answer for a path: its status, content type and body."""


class HttpServer:
    """Serves until `stop`. Port 0 stands for any free port; `address` tells which one it is."""

    def __init__(self, *, host: str, port: int, metrics: CollectorRegistry, live: Probe, ready: Probe) -> None:
        """Bind the address. Raises ConfigError if it cannot be bound."""
        routes: dict[str, Route] = {
            "/metrics": lambda: (HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(metrics)),
            "/livez": lambda: _render_probe(live()),
            "/readyz": lambda: _render_probe(ready()),
        }
        try:
            self._server = http.server.ThreadingHTTPServer((host, port), _make_request_handler(routes))
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"cannot serve metrics on {host}:{port}: {error}; choose another --http-port (0: any free one)"
            ) from error
        self._server.daemon_threads = True
        self._thread = BackgroundThread("http", self._server.serve_forever)

    @property
    def address(self) -> str:
        """The URL `http://host:port` at which a browser on this machine finds the server."""
        host, port = str(self._server.server_address[0]), self._server.server_address[1]
        return f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{port}"  # noqa: S104 - compared, not bound

    def start(self) -> None:
        """Start answering."""
        self._thread.start()

    def check(self) -> None:
        """Raise BackgroundFailed if the serving thread died."""
        self._thread.check()

    def stop(self) -> None:
        """Stop answering and free the port."""
        if self._thread.running:  # `shutdown` waits for the serving loop, and would wait forever for one that is not there
            self._server.shutdown()
        self._server.server_close()


def _render_probe(problem: str | None) -> tuple[HTTPStatus, str, bytes]:
    status = HTTPStatus.OK if problem is None else HTTPStatus.SERVICE_UNAVAILABLE
    return status, "text/plain; charset=utf-8", f"{problem or 'ok'}\n".encode()


def _make_request_handler(
    routes: dict[str, Route],
) -> type[http.server.BaseHTTPRequestHandler]:
    class RequestHandler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            route = routes.get(self.path.partition("?")[0])
            not_found = f"not here; try {', '.join(routes)}\n".encode()
            status, kind, body = route() if route else (HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", not_found)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Log nothing: there is a scrape every few seconds."""

    return RequestHandler
