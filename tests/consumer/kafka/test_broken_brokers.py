"""Of a broken broker there is at most a line a second in the log, whoever complains of it, and nothing else is left out."""

import logging
import time

import confluent_kafka as ck
import pytest

from consumer.kafka.broken_brokers import MAX_BROKERS, BrokerLog
from consumer.kafka.client import make_client
from deploy.kafka.ports import free_port
from tests.support.pipeline import Clock

FAIL = "FAIL [rdkafka#producer-1] [thrd:{0}/bootstrap]: {0}/bootstrap: Connect to ipv4#{0} failed: Connection refused"
DOWN = "Kafka: 1/1 brokers are down"


def written(caplog: pytest.LogCaptureFixture, told: list[tuple[float, str]]) -> list[str]:
    """Return what the log holds after lines at these moments."""
    clock = Clock()
    log = BrokerLog(logging.getLogger("test"), clock=clock)
    begun = clock.now_s
    for at, text in told:
        clock.now_s = begun + at
        log.write(logging.WARNING, text)
    return caplog.messages


def test_lines_about_one_broker_come_once_a_second_and_say_how_many_were_left_out(caplog: pytest.LogCaptureFixture) -> None:
    a, b = FAIL.format("a:9092"), FAIL.format("b:9092")
    coordinator = "FAIL [c] [thrd:GroupCoordinator]: GroupCoordinator: a:9092: Disconnected"
    told = [(0.0, a), (0.1, b), (0.2, coordinator), (0.3, f"Kafka: {a}"), (0.4, DOWN), (1.0, a), (1.05, DOWN), (1.1, b)]
    assert written(caplog, told) == [
        a,
        b,
        f"{a} (2 more lines about it were left out)",
        f"{b} (1 more lines about it were left out)",
    ]


def test_a_line_that_names_no_broker_is_never_left_out(caplog: pytest.LogCaptureFixture) -> None:
    told = [(0.0, "the group is full"), (0.1, "the group is full"), (0.2, DOWN)]
    assert written(caplog, told) == [text for _, text in told]


def test_debugging_is_never_left_out(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "test")
    log = BrokerLog(logging.getLogger("test"))
    for _ in range(3):
        log.write(logging.DEBUG, "a:9092 sent")
    assert len(caplog.messages) == 3


def test_brokers_without_end_are_not_remembered_without_end(caplog: pytest.LogCaptureFixture) -> None:
    told = [(0.0, f"b{number}:9092 failed") for number in range(MAX_BROKERS + 1)]
    assert written(caplog, [*told, (0.5, "b0:9092 failed"), (0.5, f"b{MAX_BROKERS}:9092 failed")])[-1] == "b0:9092 failed"


def test_real_clients_of_a_broker_that_is_not_there_log_a_line_a_second_together(caplog: pytest.LogCaptureFixture) -> None:
    address = f"127.0.0.1:{free_port()}"
    errors: list[ck.KafkaError] = []
    own = {"bootstrap.servers": address, "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 50}
    clients = [make_client(ck.Producer, own, on_error=errors.append) for _ in range(3)]
    until = time.monotonic() + 3.2
    while time.monotonic() < until:
        for client in clients:
            client.poll(0.02)
    about = [record for record in caplog.records if address in record.getMessage() or "brokers are down" in record.getMessage()]
    assert errors, "who watches the client still hears of each"
    assert 2 <= len(about) <= 4
