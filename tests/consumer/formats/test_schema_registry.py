"""A schema registry that cannot be reached is nobody's fault but its own: no message pays for it."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from threading import Thread
from typing import Any
from urllib.parse import urlparse

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient

from consumer.errors import ConfigError, SchemaRegistryUnavailable
from consumer.formats.choose import Formats, check_registry
from consumer.messages import Message
from consumer.settings import Settings
from deploy.kafka.ports import free_port
from faults.proxy import Proxy
from tests.support.schemas import AVRO_1, avro_bytes, prefix, register

FAST = {"max.retries": "0", "timeout": "2"}
WELDER = {"id": "w-1", "title": "Welder", "body": None}


def nobody() -> str:
    return f"http://127.0.0.1:{free_port()}"


@contextmanager
def web_server(answer: Callable[[], bytes]) -> Iterator[str]:
    """Yield the address of a server that gives the same kind of answer to all requests."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer())

        do_POST = do_GET  # noqa: N815 - the library's name

        def log_message(self, *_args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("answer", [b"<html>Welcome</html>", b"", b"\xff\xfe", b'{"welcome": true}'])
def test_another_server_at_the_address_is_told_and_costs_no_message(answer: bytes) -> None:
    with web_server(lambda: answer) as url:
        formats = Formats({"url": url, **FAST}, wait_s=0.1)
        with pytest.raises((ConfigError, SchemaRegistryUnavailable), match="no schema registry"):
            formats.registry.check()
        with pytest.raises(SchemaRegistryUnavailable, match=r"no schema registry.*; check url and credentials"):
            formats.make_reader("avro")(Message("feed", 0, 0, None, prefix(7) + b"\x00abc"))


def test_a_proxy_before_a_registry_that_starts_is_not_taken_for_a_schema() -> None:
    """confluent-kafka 2.16.1 keeps an answer without a schema: see findings/confluent-kafka-keeps-an-empty-schema.sh."""
    answers = [b'{"status": "starting"}', json.dumps({"schema": json.dumps(AVRO_1)}).encode()]
    with web_server(lambda: answers.pop(0) if len(answers) > 1 else answers[0]) as url:
        read = Formats({"url": url, **FAST}, wait_s=10.0).make_reader("avro")
        assert read(Message("feed", 0, 0, None, prefix(7) + avro_bytes(AVRO_1, WELDER))) == WELDER


@pytest.mark.registry
def test_check_config_registers_nothing_and_tells_what_run_would_miss(registry_url: str) -> None:
    given: dict[str, Any] = {"output_format": "avro", "output_topic": "checked.only", "schema_registry": {"url": registry_url}}
    with pytest.raises(ConfigError, match="run occustream-consumer schemas register"):
        check_registry(Settings(**given))
    given["schema_registry"]["auto.register.schemas"] = "true"
    check_registry(Settings(**given))
    assert "checked.only-value" not in SchemaRegistryClient({"url": registry_url}).get_subjects()


@pytest.mark.parametrize("kind", ["avro", "protobuf", "json-schema"])
def test_a_registry_that_is_down_costs_no_message(kind: str) -> None:
    read = Formats({"url": nobody(), **FAST}, wait_s=0.1).make_reader(kind)
    with pytest.raises(SchemaRegistryUnavailable, match=r"has not answered for .* s: "):
        read(Message("feed", 0, 0, None, prefix(7) + b"\x00abc"))


def test_an_output_without_a_registry_is_told_at_the_start() -> None:
    with pytest.raises(SchemaRegistryUnavailable):
        Formats({"url": nobody(), **FAST}, wait_s=0.1).make_writer("avro", topic="out").check()


@pytest.mark.registry
def test_the_next_message_is_read_once_the_registry_is_back(registry_url: str) -> None:
    address = urlparse(registry_url)
    port = free_port()
    framing = prefix(register(registry_url, json.dumps(AVRO_1), "AVRO"))
    with Proxy({port: address.port or 0}, rng=Random(1)) as proxy:
        formats = Formats({"url": f"http://127.0.0.1:{port}{address.path}", **FAST}, wait_s=10.0)
        read, waited = formats.make_reader("avro"), []
        proxy.set_condition("cut")

        def mend(seconds: float) -> None:
            waited.append(seconds)
            proxy.set_condition("normal")

        formats.registry._sleep = mend
        assert read(Message("feed", 0, 0, None, framing + avro_bytes(AVRO_1, WELDER))) == WELDER
        assert waited, "the registry could not be reached at first"


@pytest.mark.registry
def test_an_address_at_which_no_registry_is_is_told_at_the_start(registry_url: str) -> None:
    formats = Formats({"url": registry_url.rpartition("/apis")[0] + "/elsewhere", **FAST}, wait_s=0.1)
    with pytest.raises((ConfigError, SchemaRegistryUnavailable), match="registry"):
        formats.registry.check()


@pytest.mark.registry
def test_a_wrong_address_does_not_make_dead_letters_of_all_messages(registry_url: str) -> None:
    read = Formats({"url": registry_url.rpartition("/apis")[0] + "/elsewhere", **FAST}, wait_s=0.1).make_reader("avro")
    with pytest.raises(SchemaRegistryUnavailable):
        read(Message("feed", 0, 0, None, prefix(7) + b"\x00abc"))
