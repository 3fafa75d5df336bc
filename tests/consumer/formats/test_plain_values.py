"""What decoded types become in JSON. docs/schema-registry.md has the same table."""

import io
import struct
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import fastavro
import pytest

from consumer.formats.avro import find_problem
from consumer.formats.message_classes import make_message_class
from consumer.formats.message_values import message_to_plain
from consumer.formats.plain_values import to_plain
from tests.support.schemas import avro_bytes


def logical(base: str, name: str, **more: Any) -> dict[str, Any]:
    return {"type": base, "logicalType": name, **more}


NOON = datetime(2026, 5, 1, 12, 0, 0, 125_000, tzinfo=UTC)

AVRO = [
    ("null", None, None),
    ("boolean", True, True),
    ("int", -7, -7),
    ("long", 2**62 + 1, 2**62 + 1),
    ("double", 1.25, 1.25),
    ("double", float("nan"), None),
    ("float", float("inf"), None),
    ("string", "Schweißer", "Schweißer"),
    ("bytes", b"\x00\xffA", "AP9B"),
    ({"type": "fixed", "name": "Two", "size": 2}, b"\x01\x02", "AQI="),
    ({"type": "enum", "name": "Shift", "symbols": ["DAY", "NIGHT"]}, "NIGHT", "NIGHT"),
    ({"type": "array", "items": "int"}, [1, 2], [1, 2]),
    ({"type": "map", "values": "string"}, {"city": "Boise"}, {"city": "Boise"}),
    (["null", "string"], "Boise", "Boise"),
    (["null", "string"], None, None),
    (logical("bytes", "decimal", precision=9, scale=2), Decimal("85000.50"), Decimal("85000.50")),
    (logical("int", "date"), date(2026, 5, 1), "2026-05-01"),
    (logical("int", "time-millis"), time(8, 30), "08:30:00"),
    (logical("long", "timestamp-millis"), NOON, "2026-05-01T12:00:00.125000Z"),
    (logical("long", "timestamp-micros"), NOON.astimezone(timezone(timedelta(hours=2))), "2026-05-01T12:00:00.125000Z"),
    (logical("long", "local-timestamp-millis"), datetime(2026, 5, 1, 12, 0), "2026-05-01T12:00:00"),  # noqa: DTZ001 - has no zone
    (logical("string", "uuid"), UUID(int=7), "00000000-0000-0000-0000-000000000007"),
]


@pytest.mark.parametrize(("schema", "value", "expected"), AVRO)
def test_avro_becomes_json(schema: Any, value: Any, expected: Any) -> None:
    record = {"type": "record", "name": "R", "fields": [{"name": "v", "type": schema}]}
    out = avro_bytes(record, {"v": value})
    read = fastavro.schemaless_reader(io.BytesIO(out), fastavro.parse_schema(record), None)
    assert to_plain(read) == {"v": expected}


PROTO = """
syntax = "proto3";
package jobs.example;  // made up
import "google/protobuf/timestamp.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/wrappers.proto";
option java_package = "example.jobs";
/* All
   kinds. */
message All {
  option (jobs.example.note) = { text: "{" };
  reserved 90 to 99, 120;
  reserved "gone";
  int64 id = 1;
  uint64 big = 2 [deprecated = true, json_name = "BIG"];
  float pay = 3;
  double rate = 4;
  bytes raw = 5;
  enum Shift { option allow_alias = true; DAY = 0; NIGHT = 1; LATE = 1 [deprecated = true]; }
  Shift shift = 6;
  repeated string tags = 7;
  map<int32, Inner> places = 8;
  oneof body { string text = 9; Inner inner = 10; }
  optional string note = 11;
  google.protobuf.Timestamp at = 12;
  google.protobuf.Duration lasts = 13;
  google.protobuf.Struct any = 14;
  google.protobuf.Int64Value wrapped = 15;
  message Inner { string city = 1; All whole = 2; }
  bool remote = 16;
  map<bool, string> flags = 17;
}
service Feed { rpc Get (All) returns (stream All) { option idempotency_level = IDEMPOTENT; } }
extend google.protobuf.FieldOptions { string note = 50001; }
"""


def plain(**fields: Any) -> Any:
    return message_to_plain(make_message_class(PROTO, [], [0])(**fields))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {}),
        ({"id": 0, "note": ""}, {"note": ""}),
        ({"id": -(2**62), "big": 2**64 - 1}, {"id": -(2**62), "big": 2**64 - 1}),
        ({"pay": 1.1, "rate": 1.1}, {"pay": 1.1, "rate": 1.1}),
        ({"rate": float("nan"), "pay": float("-inf")}, {"rate": None, "pay": None}),
        ({"raw": b"\x00\xffA"}, {"raw": "AP9B"}),
        ({"shift": 1}, {"shift": "NIGHT"}),
        ({"shift": 7}, {"shift": 7}),
        ({"tags": ["a", "b"]}, {"tags": ["a", "b"]}),
        ({"places": {3: {"city": "Boise"}}}, {"places": {"3": {"city": "Boise"}}}),
        ({"flags": {True: "x"}}, {"flags": {"true": "x"}}),
        ({"text": "hello"}, {"text": "hello"}),
        ({"inner": {"whole": {"id": 5}}}, {"inner": {"whole": {"id": 5}}}),
        ({"at": NOON}, {"at": "2026-05-01T12:00:00.125Z"}),
        ({"lasts": timedelta(seconds=1.5)}, {"lasts": "1.500s"}),
        ({"any": {"a": [1, 1.5, None, {"b": True}]}}, {"any": {"a": [1, 1.5, None, {"b": True}]}}),
        ({"wrapped": {"value": 0}}, {"wrapped": 0}),
        ({"remote": True}, {"remote": True}),
    ],
)
def test_protobuf_becomes_json(fields: Any, expected: Any) -> None:
    assert plain(**fields) == expected


def test_proto2_is_read_too() -> None:
    schema = "message Old { required string title = 1; optional int32 n = 2 [default = 5]; repeated int32 m = 3 [packed=true]; }"
    made = make_message_class(schema, [], [0])
    assert message_to_plain(made.FromString(b"\x0a\x01x\x1a\x02\x01\x02")) == {"title": "x", "m": [1, 2]}


@pytest.mark.parametrize(
    "schema", ["", "message", "message A {", 'syntax = "proto3"; message A { string = 1; }', "not a schema {{"]
)
def test_text_that_is_no_proto_file_is_refused(schema: str) -> None:
    with pytest.raises((ValueError, TypeError, IndexError, KeyError)):
        make_message_class(schema, [], [0])


def test_a_message_that_holds_itself_too_deep_is_refused() -> None:
    made = make_message_class(PROTO, [], [0])
    payload = b""
    for _ in range(2_000):
        inner = b"\x12" + _length(payload) + payload
        payload = b"\x52" + _length(inner) + inner
    with pytest.raises(Exception, match=r"(?i)pars|depth|recursion"):
        made.FromString(payload)


def _length(payload: bytes) -> bytes:
    number, out = len(payload), b""
    while number > 127:
        out += struct.pack("B", number & 127 | 128)
        number >>= 7
    return out + struct.pack("B", number)


ONE = {"type": "record", "name": "One", "fields": [{"name": "a", "type": "int"}]}
EMPTY = {"type": "record", "name": "Empty", "fields": []}


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        (ONE, None),
        ({"type": "array", "items": ONE}, None),
        ({"type": "record", "name": "Two", "fields": [{"name": "a", "type": ONE}, {"name": "b", "type": "One"}]}, None),
        ({"type": "map", "values": ["null", "string"]}, None),
        ({"type": "array", "items": {"type": "array", "items": "null"}}, "an array whose items take no bytes"),
        ({"type": "array", "items": EMPTY}, "an array whose items take no bytes"),
        ({"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}}, "an array whose items take no bytes"),
        ({"type": "record", "name": "n.Node", "fields": [{"name": "a", "type": ["null", "n.Node"]}]}, "holds itself"),
        ({"type": "record", "name": "T", "fields": [{"name": "a", "type": {"type": "array", "items": "T"}}]}, "holds itself"),
        ({"type": "record", "name": "T", "fields": [{"name": "a", "type": {"type": "map", "values": "T"}}]}, "holds itself"),
    ],
)
def test_a_schema_of_endless_values_is_told_from_others(schema: Any, problem: str | None) -> None:
    found = find_problem(schema)
    assert found is None if problem is None else problem in (found or "")
