"""Ports of the loopback interface: which are free, and whether a broker answers on one."""

import random
import socket
import struct

from deploy.kafka.tools import LocalKafkaError

HOST = "127.0.0.1"
# Below the range the kernel gives to outgoing connections: while the broker is down, a client that keeps reconnecting
# to a loopback port of that range can end up connected to itself, and the broker could not have its port back.
FREE_PORTS = range(20_000, 32_000)
FREE_PORT_TRIES = 100


def free_port(preferred: int | None = None) -> int:
    """Return the preferred port when it is free, else one drawn at random among the free ones."""
    if preferred is not None and is_free(preferred):
        return preferred
    draw = random.SystemRandom()
    for _ in range(FREE_PORT_TRIES):
        port = draw.choice(FREE_PORTS)
        if is_free(port):
            return port
    raise LocalKafkaError(f"no free port found on {HOST} in {FREE_PORT_TRIES} tries")


def is_free(port: int) -> bool:
    """Return whether a broker could listen on a port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the broker binds: the closing connections of a broker that just ended do not hold its port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def answers_kafka(port: int) -> bool:
    """Send an ApiVersions request (key 18, version 0, no client id) and return whether the answer reports no error."""
    correlation_id = 7
    request = struct.pack(">hhih", 18, 0, correlation_id, -1)
    try:
        with socket.create_connection((HOST, port), timeout=2) as connection, connection.makefile("rb") as answer:
            connection.sendall(struct.pack(">i", len(request)) + request)
            _size, answered_id, error = struct.unpack(">iih", answer.read(10))
    except (OSError, struct.error):
        return False
    return bool(answered_id == correlation_id and error == 0)
