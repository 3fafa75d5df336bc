"""Framed values against a real schema registry: what is read, and what becomes of values that cannot be."""

import json
import random
import struct
from collections import Counter
from typing import Any

import pytest
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.serde import SchemaId

from consumer.errors import InvalidMessage
from consumer.formats import reader, schema_registry
from consumer.formats.choose import Formats
from consumer.messages import Message
from tests.consumer.formats.conftest import Read
from tests.support.pipeline import Clock
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
    unique_subject,
)

pytestmark = pytest.mark.registry

WELDER = {"id": "w-1", "title": "Welder"}
AVRO_WELDER = {**WELDER, "body": None}

VERSIONS = {
    "avro": (
        "AVRO",
        (json.dumps(AVRO_1), avro_bytes(AVRO_1, AVRO_WELDER), AVRO_WELDER),
        (json.dumps(AVRO_2), avro_bytes(AVRO_2, {**AVRO_WELDER, "shift": "night"}), {**AVRO_WELDER, "shift": "night"}),
    ),
    "protobuf": (
        "PROTOBUF",
        (PROTO_1, proto_bytes(PROTO_1, **WELDER), WELDER),
        (PROTO_2, proto_bytes(PROTO_2, **WELDER, shift="night"), {**WELDER, "shift": "night"}),
    ),
    "json-schema": (
        "JSON",
        (JSON_1, json.dumps(WELDER).encode(), WELDER),
        (JSON_2, json.dumps({**WELDER, "shift": "night"}).encode(), {**WELDER, "shift": "night"}),
    ),
}
each_format = pytest.mark.parametrize("kind", VERSIONS)


@each_format
def test_a_value_is_read_by_the_schema_that_it_names_and_a_later_one_by_its_own(
    kind: str, registry_url: str, formats: Formats
) -> None:
    schema_type, *versions = VERSIONS[kind]
    subject, read = unique_subject(), formats.make_reader(kind)
    for schema, payload, expected in (*versions, versions[0]):
        schema_id = register(registry_url, schema, schema_type, subject=subject)
        assert read(Message("feed", 0, 0, None, prefix(schema_id) + payload)) == expected


@each_format
def test_a_schema_is_named_by_a_header_too(kind: str, registry_url: str, read: Read) -> None:
    schema_type, (schema, payload, expected), _later = VERSIONS[kind]
    header = prefix(register(registry_url, schema, schema_type))
    if kind == "protobuf":
        header, payload = header + payload[:1], payload[1:]
    assert read(kind, payload, (("trace", b"1"), ("__value_schema_id", header))) == expected


@each_format
def test_an_id_that_the_registry_does_not_know_is_told(kind: str, read: Read) -> None:
    payload = VERSIONS[kind][1][1]
    with pytest.raises(InvalidMessage, match=r"unknown_schema.* id 987654321:"):
        read(kind, prefix(987_654_321) + payload)


@each_format
def test_a_guid_that_the_registry_does_not_know_is_told(kind: str, read: Read) -> None:
    header = b"\x01" + bytes(range(16)) + (b"\x00" if kind == "protobuf" else b"")
    with pytest.raises(InvalidMessage, match=r"unknown_schema.* GUID 00010203-0405-"):
        read(kind, b"0123456789", (("__value_schema_id", header),))


@each_format
@pytest.mark.parametrize("value", [b"", b"\x00", b"\x00\x00\x00", b'{"title": "Welder"}', b"\x07\x00\x00\x00\x01abc"])
def test_a_value_that_names_no_schema_is_told(kind: str, value: bytes, read: Read) -> None:
    with pytest.raises(InvalidMessage, match="not_decoded: the value names no schema"):
        read(kind, value)


@each_format
def test_a_schema_of_another_format_is_told(kind: str, registry_url: str, read: Read) -> None:
    other = "json-schema" if kind == "avro" else "avro"
    schema_type, (schema, payload, _), _later = VERSIONS[other]
    schema_id = register(registry_url, schema, schema_type)
    with pytest.raises(
        InvalidMessage, match=rf"not_decoded: the schema id {schema_id} is of type {schema_type}, not .*--input-format"
    ):
        read(kind, prefix(schema_id) + (b"\x00" if kind == "protobuf" else b"") + payload)


@each_format
def test_any_bytes_are_read_or_refused_and_nothing_else(kind: str, registry_url: str, formats: Formats) -> None:
    schema_type, (schema, payload, _), _later = VERSIONS[kind]
    framing, rng = prefix(register(registry_url, schema, schema_type)), random.Random(7)
    read, reasons = formats.make_reader(kind), Counter[str]()
    for _ in range(3_000):
        poison = bytearray(payload)
        for _ in range(rng.randrange(1, 4)):
            poison[rng.randrange(len(poison))] = rng.randrange(256)
        try:
            read(Message("feed", 0, 0, None, framing + bytes(poison[: rng.randrange(1, len(poison) + 1)])))
        except InvalidMessage as error:
            reasons[error.reason] += 1
    assert reasons.total() > 300
    assert reasons.keys() <= {"not_decoded", "not_json", "not_utf8", "invalid_text"}


def test_a_schema_that_becomes_known_is_found_after_some_seconds(registry_url: str, formats: Formats) -> None:
    clock = Clock()
    registry = schema_registry.SchemaRegistry(formats.registry.client, wait_s=1.0, clock=clock, sleep=lambda _seconds: None)
    asked: list[int] = []
    genuine = registry.client.get_schema

    def get_schema(schema_id: int, *rest: Any) -> Any:
        asked.append(schema_id)
        return genuine(schema_id if len(asked) > 1 else 987_654_321, *rest)

    registry.client.get_schema = get_schema
    wanted = SchemaId("AVRO", register(registry_url, json.dumps(AVRO_1), "AVRO"))
    for _ in range(2):
        with pytest.raises(InvalidMessage, match="unknown_schema"):
            registry.find(wanted, subject=None)
    assert len(asked) == 1, "an id that was unknown a moment ago is not asked for again"
    clock.now_s += schema_registry.UNKNOWN_FOR_S
    assert "Vacancy" in str(registry.find(wanted, subject=None).schema_str)


def test_schemas_in_memory_are_bounded(registry_url: str, formats: Formats, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_SCHEMAS", 2)
    read, made = formats.make_reader("avro"), 0
    genuine = read._make_decoder

    def make() -> Any:
        nonlocal made
        made += 1
        return genuine()

    read._make_decoder = make
    for number in range(5):
        schema = {**AVRO_1, "name": f"Vacancy{number}"}
        framing = prefix(register(registry_url, json.dumps(schema), "AVRO"))
        assert read(Message("feed", 0, 0, None, framing + avro_bytes(schema, AVRO_WELDER))) == AVRO_WELDER
    assert made == 2


def test_avro_that_refers_to_another_schema_is_read(registry_url: str, read: Read) -> None:
    client, subject = SchemaRegistryClient({"url": registry_url}), unique_subject()
    place = {"type": "record", "name": "Place", "namespace": "jobs.example", "fields": [{"name": "city", "type": "string"}]}
    client.register_schema(subject, Schema(json.dumps(place), "AVRO"))
    whole = {**AVRO_1, "fields": [*AVRO_1["fields"], {"name": "place", "type": "jobs.example.Place"}]}
    reference = SchemaReference("jobs.example.Place", subject, 1)
    schema_id = client.register_schema(unique_subject(), Schema(json.dumps(whole), "AVRO", [reference]))
    inlined = {**whole, "fields": [*AVRO_1["fields"], {"name": "place", "type": place}]}
    value = {**AVRO_WELDER, "place": {"city": "Boise"}}
    assert read("avro", prefix(schema_id) + avro_bytes(inlined, value)) == value


def test_protobuf_that_imports_another_file_is_read(registry_url: str, read: Read) -> None:
    client, subject = SchemaRegistryClient({"url": registry_url}), unique_subject()
    client.register_schema(subject, Schema('syntax = "proto3"; message Place { string city = 1; }', "PROTOBUF"))
    whole = 'syntax = "proto3"; import "place.proto"; message Vacancy { string title = 1; Place place = 2; }'
    schema_id = client.register_schema(unique_subject(), Schema(whole, "PROTOBUF", [SchemaReference("place.proto", subject, 1)]))
    payload = b"\x00\x0a\x06Welder\x12\x07\x0a\x05Boise"
    assert read("protobuf", prefix(schema_id) + payload) == {"title": "Welder", "place": {"city": "Boise"}}


def test_the_message_of_a_protobuf_file_is_the_one_that_the_value_names(registry_url: str, read: Read) -> None:
    schema = (
        'syntax = "proto3"; message Other { int32 n = 1; message Inner { string title = 1; } } message Last { string id = 1; }'
    )
    framing = prefix(register(registry_url, schema, "PROTOBUF"))
    assert read("protobuf", framing + b"\x02\x02\x0a\x01x") == {"id": "x"}  # [1]
    assert read("protobuf", framing + b"\x04\x00\x00\x0a\x01y") == {"title": "y"}  # [0, 0]
    with pytest.raises(InvalidMessage, match="not_decoded"):
        read("protobuf", framing + b"\x02\x08\x0a\x01x")  # [4]


def test_json_keeps_its_digits_and_is_validated_only_on_request(registry_url: str, formats: Formats) -> None:
    framing = prefix(register(registry_url, JSON_1, "JSON"))
    value = framing + b'{"title": 7, "pay": 1.10, "big": 12345678901234567890123}'
    found = formats.make_reader("json-schema")(Message("feed", 0, 0, None, value))
    assert (found["title"], str(found["pay"]), found["big"]) == (7, "1.10", 12345678901234567890123)
    strict = Formats({"url": registry_url, "validate": "true"}, wait_s=5.0).make_reader("json-schema")
    with pytest.raises(InvalidMessage, match=r"not_decoded.*7 is not of type 'string'"):
        strict(Message("feed", 0, 0, None, value))


@pytest.mark.parametrize(
    ("next_type", "payload"),
    [
        (["null", "Node"], b"\x02" * 900_000 + b"\x00"),
        ({"type": "array", "items": "null"}, struct.pack("10s", b"\xfe" * 8 + b"\x7f")),
    ],
)
def test_a_schema_by_which_few_bytes_stand_for_an_endless_value_is_refused(
    next_type: Any, payload: bytes, registry_url: str, read: Read
) -> None:
    schema = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": next_type}]}
    framing = prefix(register(registry_url, json.dumps(schema), "AVRO"))
    with pytest.raises(InvalidMessage, match=r"not_decoded: the schema id .* cannot be used"):
        read("avro", framing + payload)
