"""The connections of the HTTP server: how many there may be, how long each may take. What they are answered is in `http.py`."""

import asyncio
import socket
import time
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS = 64
"""Of one more, the connection that has been silent longest is closed: whoever holds many open keeps no newcomer out."""
ACCEPTED_AT_ONCE = 64
"""So many more may be open for a moment."""
WAITING = 1_024
"""Connections that the kernel keeps until they are accepted. They take no file of this process."""
EXCHANGE_S = 10.0
"""From a new connection, or the first byte of a further request, until the answer is written."""
IDLE_S = 75.0
"""Between an answer and the next request: longer than the usual pauses between two scrapes."""
MAX_HEAD_BYTES = 16_384
"""Bytes of a request before its body."""


class Listener(socket.socket):
    """A socket that listens. asyncio has one number for how many connections wait, and how many it accepts at once."""

    def listen(self, _accepted_at_once: int = 0, /) -> None:
        """Listen, with room for those that wait."""
        super().listen(WAITING)


class BoundedConnection(H11Protocol):
    """A connection that is closed when an exchange, or the pause after it, takes too long, or when others need its place.

    uvicorn itself waits without end for a first request, for the rest of one, and for a peer that does not take its answer.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the place of another connection if all places are taken."""
        super().connection_made(transport)
        self._between_exchanges = False
        self.heard_at = time.monotonic()
        self._closing = self.loop.call_later(EXCHANGE_S, self._give_up)
        connections = [connection for connection in self.connections if isinstance(connection, BoundedConnection)]
        open_ones = [connection for connection in connections if not connection.transport.is_closing()]
        if len(open_ones) > MAX_CONNECTIONS:
            min(open_ones, key=lambda connection: connection.heard_at).transport.abort()

    def data_received(self, data: bytes) -> None:
        """Begin an exchange if none is under way. Further bytes of it do not buy more time."""
        self.heard_at = time.monotonic()
        if self._between_exchanges:
            self._between_exchanges = False
            self._close_in(EXCHANGE_S)
        super().data_received(data)

    def on_response_complete(self) -> None:
        """Wait for the next request. A peer that has not taken the answer yet gets the same time for it."""
        self._between_exchanges = True
        self._close_in(IDLE_S + EXCHANGE_S)  # uvicorn closes it in order before, unless bytes are left that nobody takes
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._closing.cancel()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # uvicorn leaves the timer of a connection that broke

    def shutdown(self) -> None:
        """Close the connection at the end of the server, whatever it is doing."""
        self.transport.abort()

    def _close_in(self, seconds: float) -> None:
        self._closing.cancel()
        self._closing = self.loop.call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        """Close the connection, and drop what its peer has not taken."""
        self.transport.abort()


def connection_options() -> dict[str, Any]:
    """Return the options of uvicorn that make connections bounded ones."""
    return {
        "http": BoundedConnection,
        "backlog": ACCEPTED_AT_ONCE,
        "timeout_keep_alive": round(IDLE_S),
        "timeout_graceful_shutdown": 1,
        "h11_max_incomplete_event_size": MAX_HEAD_BYTES,
    }
