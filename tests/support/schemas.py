"""Schemas of made-up feeds for the tests of formats, in several versions, and values framed as producers frame them."""

import io
import struct
import uuid
from collections.abc import Mapping
from typing import Any

import fastavro
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from consumer.formats.message_classes import make_message_class

AVRO_1: Mapping[str, Any] = {
    "type": "record",
    "name": "Vacancy",
    "namespace": "jobs.example",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "title", "type": "string"},
        {"name": "body", "type": ["null", "string"], "default": None},
    ],
}
AVRO_2: Mapping[str, Any] = {
    **AVRO_1,
    "fields": [*AVRO_1["fields"], {"name": "shift", "type": ["null", "string"], "default": None}],
}
PROTO_1 = """syntax = "proto3";
package jobs.example;
message Vacancy {
  string id = 1;
  string title = 2;
  optional string body = 3;
}
"""
PROTO_2 = PROTO_1.replace("  optional string body = 3;\n", "  optional string body = 3;\n  optional string shift = 4;\n")
JSON_1 = """{"$schema": "http://json-schema.org/draft-07/schema#", "title": "Vacancy", "type": "object",
 "properties": {"id": {"type": "string"}, "title": {"type": "string"}}, "required": ["title"]}"""
JSON_2 = JSON_1.replace('"title": {"type": "string"}}', '"title": {"type": "string"}, "shift": {"type": "string"}}')


def unique_subject() -> str:
    """Return the subject of a topic that no other test uses."""
    return f"feed-{uuid.uuid4().hex[:10]}-value"


def register(url: str, schema: str, schema_type: str, *, subject: str | None = None) -> int:
    """Register a schema as a producer would; returns its id."""
    client = SchemaRegistryClient({"url": url})
    return int(client.register_schema(subject or unique_subject(), Schema(schema, schema_type)))


def prefix(schema_id: int) -> bytes:
    """Return the five bytes that a framed value begins with."""
    return struct.pack(">bI", 0, schema_id)


def avro_bytes(schema: Mapping[str, Any], value: Any) -> bytes:
    """Return a value in Avro, without framing."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(dict(schema)), value)
    return out.getvalue()


def proto_bytes(schema: str, **fields: Any) -> bytes:
    """Return the first message of a .proto file in Protobuf, without framing, but with the place of the message in the file."""
    return b"\x00" + bytes(make_message_class(schema, [], [0])(**fields).SerializeToString())
