"""Serves /metrics, /livez and /readyz over HTTP on a thread of its own. `connections.py` bounds what its peers may take."""

import logging
import socket
from collections.abc import Callable, Mapping
from http import HTTPStatus

import uvicorn
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from consumer.errors import ConfigError
from consumer.process.background import BackgroundThread
from consumer.process.connections import Listener, connection_options

Probe = Callable[[], str | None]
"""A health check. It returns None if all is well, else what is wrong."""

STOP_S = 5.0
"""How long the thread may take to end."""


class HttpServer:
    """Serves until `stop`. Port 0 stands for any free port; `address` tells which one it is."""

    def __init__(self, *, host: str, port: int, metrics: CollectorRegistry, live: Probe, ready: Probe) -> None:
        """Bind the address. Raises ConfigError if it cannot be bound."""
        self._socket = _listen(host, port)
        self._address = _make_url(self._socket)
        config = uvicorn.Config(
            _make_app(
                {
                    "/metrics": lambda: _show_metrics(metrics),
                    "/livez": lambda: _show_probe(live),
                    "/readyz": lambda: _show_probe(ready),
                }
            ),
            loop="asyncio",
            ws="none",
            lifespan="off",
            proxy_headers=False,
            server_header=False,
            access_log=False,  # there is a scrape every few seconds
            log_config=None,
            log_level=logging.ERROR,  # what a peer does wrong is no concern of whoever reads our log
            **connection_options(),
        )
        self._server = uvicorn.Server(config)
        self._thread = BackgroundThread("http", lambda: self._server.run(sockets=[self._socket]))

    @property
    def address(self) -> str:
        """The URL `http://host:port` at which a browser on this machine finds the server."""
        return self._address

    def start(self) -> None:
        """Start answering."""
        self._thread.start()

    def check(self) -> None:
        """Raise BackgroundFailed if the serving thread died."""
        self._thread.check()

    def stop(self) -> None:
        """Stop answering and free the port."""
        self._server.should_exit = True
        self._thread.join(STOP_S)
        self._socket.close()


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to an address of either IP version; `::` stands for all of both. Raises ConfigError."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        both = host == "::" and socket.has_dualstack_ipv6()
        bound = socket.create_server((host, port), family=family, dualstack_ipv6=both)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"cannot serve metrics on {host}:{port}: {error}; choose another --http-port (0: any free one)"
        ) from error
    return Listener(fileno=bound.detach())


def _make_url(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    near = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"http://[{near}]:{port}" if ":" in near else f"http://{near}:{port}"


def _make_app(answers: Mapping[str, Callable[[], Response]]) -> Starlette:
    """Return the application that answers GET and HEAD for each path. The answers are made on the serving thread."""

    def route(path: str, answer: Callable[[], Response]) -> Route:
        async def endpoint(_request: Request) -> Response:  # not a plain function: Starlette would start threads for it
            return answer()

        return Route(path, endpoint)

    async def not_found(_request: Request, _error: Exception) -> Response:
        return PlainTextResponse(f"not here; try {', '.join(answers)}\n", HTTPStatus.NOT_FOUND)

    app = Starlette(routes=[route(path, answer) for path, answer in answers.items()])
    app.router.redirect_slashes = False
    app.add_exception_handler(HTTPStatus.NOT_FOUND, not_found)
    return app


def _show_metrics(metrics: CollectorRegistry) -> Response:
    return Response(generate_latest(metrics), media_type=CONTENT_TYPE_LATEST)


def _show_probe(probe: Probe) -> Response:
    problem = probe()
    status = HTTPStatus.OK if problem is None else HTTPStatus.SERVICE_UNAVAILABLE
    return PlainTextResponse(f"{problem or 'ok'}\n", status)
