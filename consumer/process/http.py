"""/metrics, /livez and /readyz on a thread of their own."""

import http.server
from collections.abc import Callable
from http import HTTPStatus

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from consumer.errors import ConfigError
from consumer.process.background import BackgroundThread

Probe = Callable[[], str | None]
"""Returns None when all is well, else what is not."""


class HttpServer:
    """Serves until `stop`. `port` 0 takes any free one; read the real one from `address`."""

    def __init__(self, *, host: str, port: int, metrics: CollectorRegistry, live: Probe, ready: Probe) -> None:
        """Bind the address. Raises ConfigError when it cannot be bound."""
        routes: dict[str, Callable[[], tuple[HTTPStatus, str, bytes]]] = {
            "/metrics": lambda: (HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(metrics)),
            "/livez": lambda: _answer(live()),
            "/readyz": lambda: _answer(ready()),
        }
        try:
            self._server = http.server.ThreadingHTTPServer((host, port), _requests(routes))
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"cannot serve metrics on {host}:{port}: {error}; choose another --http-port (0: any free one)"
            ) from error
        self._server.daemon_threads = True
        self._thread = BackgroundThread("http", self._server.serve_forever)

    @property
    def address(self) -> str:
        """`http://host:port` as a browser on this machine reaches it."""
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
        if self._thread.running:  # else there is no loop to shut down, and waiting for it would never end
            self._server.shutdown()
        self._server.server_close()


def _answer(trouble: str | None) -> tuple[HTTPStatus, str, bytes]:
    status = HTTPStatus.OK if trouble is None else HTTPStatus.SERVICE_UNAVAILABLE
    return status, "text/plain; charset=utf-8", f"{trouble or 'ok'}\n".encode()


def _requests(routes: dict[str, Callable[[], tuple[HTTPStatus, str, bytes]]]) -> type[http.server.BaseHTTPRequestHandler]:
    class Requests(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            route = routes.get(self.path.partition("?")[0])
            known = f"not here; try {', '.join(routes)}\n".encode()
            status, kind, body = route() if route else (HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", known)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Say nothing: a scrape every few seconds is no news."""

    return Requests
