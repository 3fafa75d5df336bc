"""A TCP proxy on a thread of its own, that delays, cuts and half-opens the connections passing through it."""

import asyncio
import contextlib
import socket
import struct
import threading
from collections import Counter
from collections.abc import Coroutine, Mapping
from concurrent.futures import Future
from random import Random
from typing import Any, Literal, Self

HOST = "127.0.0.1"
CHUNK = 65_536
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: a closed connection is reset, and what is in it lost."""
Condition = Literal["normal", "slow", "cut", "silent"]


class Proxy:
    """Listens on each port of `ports` and passes on to the port it is mapped to, under the network condition of the moment.

    `normal`: everything passes at once. `slow`: every chunk is late by up to `delay_s`. `cut`: all connections are reset, and new
    ones as soon as they carry anything. `silent`: connections stay open, also new ones, and nothing passes.
    """

    def __init__(self, ports: Mapping[int, int], *, rng: Random, delay_s: float = 0.3) -> None:
        self._ports = ports
        self._rng = rng
        self._delay_s = delay_s
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._condition: Condition = "normal"
        self._cleared = asyncio.Event()
        self._open: set[asyncio.StreamWriter] = set()
        self.counts: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._listen()).result()
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._close()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def set_condition(self, condition: Condition) -> None:
        """Change the condition, of open connections, too."""
        self._run(self._change(condition)).result()

    def _run(self, work: Coroutine[Any, Any, None]) -> "Future[None]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _listen(self) -> None:
        self._servers = [
            await asyncio.start_server(lambda reader, writer, inner=inner: self._serve(reader, writer, inner), HOST, outer)  # type: ignore[misc]
            for outer, inner in self._ports.items()
        ]

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        self._reset_all()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _change(self, condition: Condition) -> None:
        self.counts[condition] += 1
        self._condition = condition
        if condition == "silent":
            self._cleared.clear()
        else:
            self._cleared.set()
        if condition == "cut":
            self._reset_all()

    def _reset_all(self) -> None:
        for writer in self._open:
            _reset(writer)
            self.counts["connections reset"] += 1

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, inner: int) -> None:
        self.counts["connections"] += 1
        with contextlib.suppress(OSError, asyncio.CancelledError):  # asyncio would report a handler that was cancelled
            far_reader, far_writer = await asyncio.open_connection(HOST, inner)
            pair = {writer, far_writer}
            self._open |= pair
            try:
                await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer))
            finally:
                self._open -= pair
                for each in pair:
                    each.close()
        writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on until one side has ended; then close the other."""
        with contextlib.suppress(OSError):
            while chunk := await reader.read(CHUNK):
                if self._condition == "slow":
                    await asyncio.sleep(self._rng.uniform(0, self._delay_s))
                if self._condition == "silent":
                    await self._cleared.wait()
                if self._condition == "cut":
                    _reset(writer)
                    break
                writer.write(chunk)
                await writer.drain()
        writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()
