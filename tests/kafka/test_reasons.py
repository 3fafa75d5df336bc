"""What is said when brokers refuse something, on a real Kafka: the cause, and the name of what is at fault."""

import logging
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import confluent_kafka as ck
import pytest

from consumer.errors import BrokerError, DeliveryFailed
from consumer.kafka.sink import KafkaSink
from consumer.kafka.source import KafkaSource
from consumer.kafka.transactions import KafkaTransactions
from consumer.messages import Message, Record
from tests.support.brokers import Kafka, unique
from tests.support.messages import posting_bytes
from tests.support.pipeline import HeldSink, make_pipeline
from tests.support.waiting import wait_until

pytestmark = pytest.mark.kafka


@pytest.fixture
def untrusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server whose certificate nobody knows."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    subprocess.run(["openssl", *made, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    monkeypatch.setattr("consumer.kafka.client.METADATA_TIMEOUT_S", 2.0)
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        threading.Thread(target=_shake_hands, args=(server, context), daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"


def _shake_hands(server: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        try:
            connection, _address = server.accept()
        except OSError:
            return
        try:
            context.wrap_socket(connection, server_side=True).close()
        except OSError:
            connection.close()


Start = Callable[[dict[str, Any]], None]
STARTS: Mapping[str, Start] = {
    "source": lambda given: KafkaSource(given, topic="t").start(lambda _partitions, _lost: None),
    "sink": lambda given: KafkaSink(given, topics=["t"]).start(),
    "transactions": lambda given: KafkaTransactions(given, topics=["t"], transactional_id="id").start(),
}


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_a_certificate_that_is_not_trusted_is_said_at_the_start(untrusted: str, start: Start) -> None:
    given = {"bootstrap.servers": untrusted, "security.protocol": "SSL", "group.id": "g", "log_level": 0}
    with pytest.raises(BrokerError, match=r"no Kafka broker answers at .*certificate verify failed"):
        start(given)


def test_exactly_once_names_the_topic_that_is_gone_and_not_what_went_with_it(kafka: Kafka) -> None:
    gone, there = kafka.create_topic(1), kafka.create_topic(1)
    given = {"bootstrap.servers": kafka.servers, "transaction.timeout.ms": 5_000}
    sink = KafkaTransactions(given, topics=[there, gone], transactional_id=unique("id"))
    sink.start()
    kafka.delete_topic(gone)
    records = [Record(topic, None, b"x", (), 0) for topic in (there, gone, there)]
    told = []
    for _ in range(3):
        with pytest.raises(DeliveryFailed) as failed:
            sink.transact(records, {}, None)
        told.append(str(failed.value))
    assert any(gone in text and "nknown topic" in text for text in told), told
    assert not any("Purged" in text for text in told), told


def test_an_eager_member_of_the_group_is_named(kafka: Kafka, caplog: pytest.LogCaptureFixture) -> None:
    topic, group = kafka.create_topic(2), unique("group")
    given = {"bootstrap.servers": kafka.servers, "group.id": group, "client.id": "old-reader", "enable.auto.commit": False}
    eager = ck.Consumer({**given, "partition.assignment.strategy": "range"})
    eager.subscribe([topic])
    wait_until(lambda: eager.poll(0.1) is None and bool(eager.assignment()), "it has partitions")
    source = kafka.source(topic, group)
    source.start(lambda _partitions, _lost: None)

    def is_named() -> bool:
        eager.poll(0.0)
        source.poll(1, 0.1)
        return "old-reader at 127.0.0.1 shares partitions by range" in caplog.text

    wait_until(is_named, "the member is named")
    eager.close()
    wait_until(lambda: not source.poll(1, 0.1) and len(source.assigned) == 2, "ours takes over")
    source.close()


def test_at_least_once_says_once_that_it_is_blocked_and_once_that_it_goes_on(
    kafka: Kafka, caplog: pytest.LogCaptureFixture
) -> None:
    topic, sink = kafka.create_topic(1), HeldSink()
    source = kafka.source(topic, unique("group"))
    pipeline = make_pipeline(source, sink)
    source.start(pipeline.on_revoke)
    kafka.append(Message(topic, 0, -1, None, posting_bytes("Nurse")))
    kafka.flush()
    sink.let_through(error=lambda _record: "the disk is full")
    with caplog.at_level(logging.WARNING, logger="consumer.trouble_log"):
        wait_until(lambda: pipeline.turn() or len(sink.taken) > 3, "it was refused again and again")  # type: ignore[func-returns-value]
        sink.let_through()
        wait_until(lambda: pipeline.turn() or not pipeline.ready(), "it goes on")  # type: ignore[func-returns-value]
        pipeline.turn()
    source.close()
    told = [record.message for record in caplog.records if record.name == "consumer.trouble_log"]
    assert len(told) == 2, told
    assert "the disk is full" in told[0]
    assert told[1].startswith("records get through again, after ")
