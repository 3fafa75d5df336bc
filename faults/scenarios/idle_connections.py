"""Peers of the HTTP side that take all they can get: idle connections by the thousand, and scrapes that hang up."""

import contextlib
import resource
import socket
import struct
import time
import urllib.request
from collections.abc import Iterator
from urllib.parse import urlsplit

from faults.cluster import wait_until
from faults.processes import ConsumerProcess
from faults.suite import Delivery, Outcome, Scenario, ScenarioRun

FILES = 1_024
"""Files that the consumer may have open, as is usual."""
IDLE = 1_000
HANG_UPS = 1_000
PER_S = 100
PROBES = 20
MAX_PROBE_S = 3.0
MAX_LOG_BYTES = 2_000
"""That the log may grow by meanwhile."""
RESET = struct.pack("ii", 1, 0)


def _play(run: ScenarioRun) -> Outcome:
    group = run.new_group()
    consumer = group.start(0).wait_ready()
    resource.prlimit(consumer.pid, resource.RLIMIT_NOFILE, (FILES, FILES))
    slowest_s = 0.0
    with group.feed.flowing(PER_S):
        wait_until(lambda: consumer.metric("occustream_enriched_total") > PER_S, "the consumer is at work")
        logged, done = len(consumer.log()), consumer.metric("occustream_enriched_total")
        for _ in range(run.by_size(1, 10)):
            with _idle_connections(consumer):
                slowest_s = max(slowest_s, *(_probe(consumer) for _ in range(PROBES)))
            _hang_up(consumer)
        slowest_s = max(slowest_s, _probe(consumer))
        wait_until(lambda: consumer.metric("occustream_enriched_total") > done + PER_S, "it goes on working")
    grown = len(consumer.log()) - logged
    findings, problems = group.finish()
    if slowest_s > MAX_PROBE_S:
        problems.append(f"/livez took {slowest_s:.1f} s")
    if grown > MAX_LOG_BYTES:
        problems.append(f"the log grew by {grown} bytes")
    done_ = {"idle_connections": IDLE, "hang_ups": HANG_UPS, "rounds": run.by_size(1, 10), "files_allowed": FILES}
    return Outcome(done_, {**findings.as_dict(), "slowest_livez_s": round(slowest_s, 3), "log_bytes": grown}, problems)


@contextlib.contextmanager
def _idle_connections(consumer: ConsumerProcess) -> Iterator[None]:
    """Open connections that say nothing."""
    with contextlib.ExitStack() as peers:
        for _ in range(IDLE):
            peers.enter_context(_connect(consumer))
        yield


def _hang_up(consumer: ConsumerProcess) -> None:
    """Ask for the metrics, and reset each connection before the answer."""
    for _ in range(HANG_UPS):
        with _connect(consumer) as peer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            peer.sendall(b"GET /metrics HTTP/1.1\r\nHost: consumer\r\n\r\n")


def _connect(consumer: ConsumerProcess) -> socket.socket:
    address = urlsplit(str(consumer.address))
    return socket.create_connection((address.hostname, address.port), timeout=10)


def _probe(consumer: ConsumerProcess) -> float:
    """Return how many seconds /livez took. Raises OSError if it does not answer in time."""
    began = time.monotonic()
    urllib.request.urlopen(f"{consumer.address}/livez", timeout=10).close()
    return time.monotonic() - began


EXACTLY_ONCE: tuple[Delivery, ...] = ("exactly-once",)
SCENARIOS = (
    Scenario("idle-connections", "1,000 idle connections and 1,000 scrapes that hang up", _play, short_deliveries=EXACTLY_ONCE),
)
