"""Avro, Protobuf and framed JSON in and out: a real consumer, a real Kafka, a real schema registry."""

import json
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.schema_registry.json_schema import JSONDeserializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from consumer.dead_letter_record import DeadLetter
from consumer.formats.message_classes import make_message_class
from consumer.formats.message_values import message_to_plain
from consumer.formats.schema_registry import UNKNOWN_FOR_S
from consumer.messages import Headers, Message
from deploy.schema_registry.server import LocalRegistry, missing_registry_tools
from faults.tiny_model import VersionPublisher
from schemas import export
from tests.kafka.workers import BOOT_S, Worker, Workers
from tests.support.brokers import Kafka, unique
from tests.support.command_line import Cli
from tests.support.schemas import (
    AVRO_1,
    AVRO_2,
    JSON_1,
    JSON_2,
    PROTO_1,
    PROTO_2,
    avro_bytes,
    prefix,
    proto_bytes,
    register,
)
from tests.support.topic_reading import committed, end_offsets
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.registry]

COUNT = 20


class Feed(NamedTuple):
    """A format as producers and readers have it: two versions of a schema, and how values are written and read."""

    schema_type: str
    versions: tuple[str, str]
    write: Callable[[int, dict[str, Any]], bytes]
    """Takes the version and a posting."""
    read: Callable[[SchemaRegistryClient, bytes, SerializationContext], Any]
    delivery: str


def write_avro(version: int, posting: dict[str, Any]) -> bytes:
    return avro_bytes((AVRO_1, AVRO_2)[version], {"body": None, "shift": None, **posting})


def write_proto(version: int, posting: dict[str, Any]) -> bytes:
    return proto_bytes((PROTO_1, PROTO_2)[version], **posting)


def read_proto(_client: SchemaRegistryClient, value: bytes, context: SerializationContext) -> Any:
    text = (export.PROTOBUF_FOLDER / "EnrichedPosting.proto").read_text(encoding="utf-8")
    deserialize = ProtobufDeserializer(make_message_class(text, [], [0]), {"subject.name.strategy.type": "TOPIC"})
    return message_to_plain(deserialize(value, context))


FEEDS = {
    "avro": Feed(
        "AVRO",
        (json.dumps(AVRO_1), json.dumps(AVRO_2)),
        write_avro,
        lambda client, value, context: AvroDeserializer(client)(value, context),
        "at-least-once",
    ),
    "protobuf": Feed("PROTOBUF", (PROTO_1, PROTO_2), write_proto, read_proto, "exactly-once"),
    "json-schema": Feed(
        "JSON",
        (JSON_1, JSON_2),
        lambda _version, posting: json.dumps(posting).encode(),
        lambda client, value, context: JSONDeserializer(None, schema_registry_client=client)(value, context),
        "at-least-once",
    ),
}


@pytest.fixture(scope="module")
def own_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry that nobody else registers in, so that its next id is known."""
    if missing := missing_registry_tools():
        pytest.skip(f"no real schema registry: missing {', '.join(missing)}")
    with LocalRegistry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry.url


@pytest.fixture(scope="module")
def tiny_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "registry"
    VersionPublisher(folder).publish()
    return folder


class Stream:
    """Three topics with one partition each, and a consumer of them."""

    def __init__(self, kafka: Kafka, url: str, kind: str) -> None:
        self.kafka, self.url, self.kind, self.feed = kafka, url, kind, FEEDS[kind]
        self.input, self.output, self.dead = (kafka.create_topic(1) for _ in range(3))
        self.servers, self.group = kafka.servers, unique("group")
        self.client = SchemaRegistryClient({"url": url})

    def register(self, version: int) -> int:
        return register(self.url, self.feed.versions[version], self.feed.schema_type, subject=f"{self.input}-value")

    def send(self, value: bytes | None, headers: Headers = ()) -> None:
        self.kafka.append(Message(self.input, 0, -1, b"key", value, headers))

    def send_postings(self, version: int, schema_id: int, **more: Any) -> None:
        for number in range(COUNT):
            posting = {"id": f"{version}-{number}", "title": f"Registered Nurse {number}", **more}
            self.send(prefix(schema_id) + self.feed.write(version, posting))

    def wait_done(self) -> None:
        self.kafka.flush()
        ends = {p: end for p, end in end_offsets(self.servers, self.input).items() if end}
        wait_until(lambda: committed(self.servers, self.group, self.input) == ends, "all is committed", 60.0)

    def enriched(self) -> list[dict[str, Any]]:
        """Return what a reader with the serde of the format reads in the output topic."""
        found = []
        for record in self.kafka.messages(self.output):
            context = SerializationContext(self.output, MessageField.VALUE, list(record.headers))
            found.append(self.feed.read(self.client, record.value or b"", context))
        return found

    def letters(self) -> list[DeadLetter]:
        return [letter for letter in map(DeadLetter.parse, self.kafka.messages(self.dead)) if letter is not None]

    def start(self, workers: Workers, models: Path, *flags: str) -> Worker:
        return workers.start(
            self,  # type: ignore[arg-type]
            models,
            f"--schema-registry=url={self.url}",
            f"--input-format={self.kind}",
            "--bad-share-limit=1",
            f"--delivery={self.feed.delivery}",
            *flags,
        )


def fields_of(event: dict[str, Any]) -> tuple[str, Any]:
    """Return the id and the shift of the posting in an event; Avro and Protobuf hold what is additional as JSON text."""
    posting = event["posting"]
    additional = {name: json.loads(text) for name, text in posting.get("additional", {}).items()}
    return posting["posting_id"], (posting | additional).get("shift")


@pytest.mark.parametrize("kind", FEEDS)
def test_evolved_schemas_poison_and_unknown_ids_in_each_format(
    kind: str, kafka: Kafka, own_registry: str, tiny_registry: Path, workers: Workers, cli: Cli
) -> None:
    stream = Stream(kafka, own_registry, kind)
    registering = cli("consumer", "schemas", "register", "--output-topic", stream.output, "--output-format", kind,
                      "--schema-registry", f"url={own_registry}")  # fmt: skip
    assert registering.returncode == 0, registering.stderr
    worker = stream.start(workers, tiny_registry, f"--output-format={kind}").wait_ready()

    first = stream.register(0)
    stream.send_postings(0, first)
    poison = prefix(first) + b"\xff" * 7
    stream.send(poison)
    unframed = b'{"title": "Registered Nurse"}'
    stream.send(unframed, (("trace", b"1"),))
    payload, header = stream.feed.write(0, {"id": "header", "title": "Line Cook"}), prefix(first)
    if kind == "protobuf":
        payload, header = payload[1:], header + payload[:1]
    stream.send(payload, (("trace", b"2"), ("__value_schema_id", header)))
    second = stream.register(1)
    stream.send_postings(1, second, shift="night")
    unknown = prefix(second + 1) + stream.feed.write(0, {"id": "later", "title": "Electrician"})
    stream.send(unknown, (("trace", b"3"),))
    stream.wait_done()

    expected: list[tuple[str, Any]] = [(f"0-{n}", None) for n in range(COUNT)]
    expected += [("header", None), *((f"1-{n}", "night") for n in range(COUNT))]
    events = stream.enriched()
    assert [fields_of(event) for event in events] == expected
    assert {len(event["occupations"]) for event in events} == {5}
    with_header = kafka.messages(stream.output)[COUNT]
    ours = ["occustream.event-id", "occustream.timestamp-ms", "occustream.model-version"]
    assert [name for name, _ in with_header.headers] == ["trace", *ours]

    letters = stream.letters()
    assert [(letter.reason, letter.message.value) for letter in letters] == [
        ("not_utf8" if kind == "json-schema" else "not_decoded", poison),
        ("not_decoded", unframed),
        ("unknown_schema", unknown),
    ]
    assert f"id {second + 1}" in letters[2].error
    assert letters[2].message.headers[0] == ("trace", b"3")

    changed = stream.feed.versions[0].replace("Vacancy", "Opening")
    assert register(own_registry, changed, stream.feed.schema_type) == second + 1
    time.sleep(UNKNOWN_FOR_S)
    place = ("--bootstrap-servers", stream.servers, "--dead-letter-topic", stream.dead)
    replayed = cli("consumer", "dead-letters", "replay", *place, "--filter", "reason=unknown_schema")
    assert replayed.returncode == 0, replayed.stderr
    wait_until(lambda: len(stream.enriched()) == len(expected) + 1, "the replayed message is enriched")
    assert stream.enriched()[-1]["posting"]["title"] == "Electrician"
    assert worker.stop() == 0


def test_avro_of_debezium_comes_out_as_json_and_a_delete_is_told(
    kafka: Kafka, own_registry: str, tiny_registry: Path, workers: Workers
) -> None:
    row = {"type": "record", "name": "Value", "fields": [
        {"name": "id", "type": "long"}, {"name": "title", "type": "string"},
        {"name": "pay", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
    ]}  # fmt: skip
    schema = {"type": "record", "name": "Envelope", "namespace": "db.public.jobs", "fields": [
        {"name": "before", "type": ["null", row], "default": None}, {"name": "after", "type": ["null", "Value"], "default": None},
        {"name": "op", "type": "string"}, {"name": "ts_ms", "type": ["null", "long"], "default": None},
        {"name": "source", "type": {"type": "map", "values": "string"}},
    ]}  # fmt: skip
    stream = Stream(kafka, own_registry, "avro")
    framing = prefix(register(own_registry, json.dumps(schema), "AVRO", subject=f"{stream.input}-value"))
    job = {"id": 7, "title": "Truck Driver", "pay": Decimal("61250.50")}
    for operation, before, after in (("c", None, job), ("d", job, None)):
        change = {"before": before, "after": after, "op": operation, "ts_ms": 1, "source": {"connector": "postgresql"}}
        stream.send(framing + avro_bytes(schema, change))
    worker = stream.start(workers, tiny_registry).wait_ready()
    stream.wait_done()
    created, deleted = kafka.messages(stream.output)
    posting = json.loads(created.value or b"", parse_float=str)["posting"]
    assert (posting["posting_id"], posting["title"], posting["pay"]) == ("7", "Truck Driver", "61250.50")
    assert deleted.value is None
    assert worker.stop() == 0


def test_a_consumer_does_not_start_without_the_schema_of_its_output(
    kafka: Kafka, own_registry: str, tiny_registry: Path, workers: Workers
) -> None:
    stream = Stream(kafka, own_registry, "avro")
    worker = stream.start(workers, tiny_registry, "--output-format=avro")
    assert worker.wait_ended(BOOT_S) == 2
    assert "occustream-consumer schemas register" in worker.log()
    assert f"{stream.output}-value" not in SchemaRegistryClient({"url": own_registry}).get_subjects(), (
        "nothing is registered unasked"
    )


def test_a_registry_that_goes_away_ends_the_consumer_and_no_message_is_lost(
    kafka: Kafka, tiny_registry: Path, workers: Workers, tmp_path: Path
) -> None:
    if missing := missing_registry_tools():
        pytest.skip(f"no real schema registry: missing {', '.join(missing)}")
    registry = LocalRegistry(tmp_path / "registry")
    with registry:
        stream = Stream(kafka, registry.url, "avro")
        first = stream.register(0)
        short = ("--kafka=max.poll.interval.ms=8000", "--drain-timeout-s=5")
        worker = stream.start(workers, tiny_registry, *short).wait_ready()
        stream.send_postings(0, first)
        stream.wait_done()
    stream.send(prefix(first + 1) + stream.feed.write(1, {"id": "late", "title": "Line Cook"}))
    kafka.flush()
    assert worker.wait_ended(60.0) == 1
    assert "the schema registry has not answered" in worker.log()
    assert not stream.letters()
    with registry:
        assert [stream.register(0), stream.register(1)] == [first, first + 1]
        stream.start(workers, tiny_registry, *short).wait_ready()
        stream.wait_done()
    titles = [json.loads(record.value or b"")["posting"]["posting_id"] for record in kafka.messages(stream.output)]
    assert titles == [*(f"0-{n}" for n in range(COUNT)), "late"]
