"""Reads and writes Avro."""

import json
from collections.abc import Mapping
from typing import Any

from confluent_kafka.schema_registry import Schema
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.serde import SchemaId
from confluent_kafka.serialization import SerializationContext

from consumer.errors import InvalidMessage
from consumer.formats.event_values import to_values
from consumer.formats.plain_values import to_plain
from consumer.formats.schema_registry import SchemaRegistry, describe_id
from schemas.avro_schema import make_avro_schema
from schemas.events import EnrichedPosting


class AvroDecoder:
    """A `Decoder` of Avro."""

    schema_type = "AVRO"
    schema_format = None

    def __init__(self, registry: SchemaRegistry, conf: Mapping[str, Any]) -> None:
        self._registry = registry
        self._deserialize = AvroDeserializer(registry.client, conf=dict(conf))
        self._safe: set[str] = set()

    def decode(self, value: bytes, context: SerializationContext, schema: Schema, schema_id: SchemaId) -> Any:  # noqa: ANN401
        """See `Decoder`."""
        name = describe_id(schema_id)
        if name not in self._safe:
            self._check(schema, name)
            self._safe.add(name)
        return to_plain(self._deserialize(value, context))

    def _check(self, schema: Schema, name: str) -> None:
        """Refuse a schema by which few bytes stand for a value without end.

        fastavro follows a record that holds itself until the process crashes, and a list of items without bytes as far as told.
        """
        for text in (schema.schema_str, *(of.schema_str for _name, of in self._registry.references(schema))):
            if problem := find_problem(json.loads(text or "null")):
                raise InvalidMessage("not_decoded", f"the schema {name} cannot be used: {problem}")


class AvroWriter:
    """Writes enriched postings as Avro."""

    def __init__(self, registry: SchemaRegistry, conf: Mapping[str, Any]) -> None:
        schema = json.dumps(make_avro_schema(EnrichedPosting))
        self._serialize = AvroSerializer(registry.client, schema, conf=dict(conf))

    def serialize(self, enriched: EnrichedPosting, context: SerializationContext) -> bytes:
        """Return the framed value. May raise anything."""
        return bytes(self._serialize(to_values(enriched), context) or b"")


def find_problem(schema: Any) -> str | None:  # noqa: ANN401 - a schema as JSON
    """Return why a schema lets few bytes stand for a value without end; None for all others."""
    return _find_problem(schema, (), {})


def _find_problem(schema: Any, inside: tuple[str, ...], named: dict[str, Any]) -> str | None:  # noqa: ANN401
    if isinstance(schema, str):
        return f"the record {schema} holds itself" if schema.rpartition(".")[2] in inside else None
    if isinstance(schema, list):
        return _first(_find_problem(choice, inside, named) for choice in schema)
    if not isinstance(schema, dict):
        return None
    if "name" in schema:
        named[str(schema["name"]).rpartition(".")[2]] = schema
    kind = schema.get("type")
    if kind == "array" and _is_empty(schema.get("items"), named):
        return "it has an array whose items take no bytes"
    if kind in ("record", "error"):
        within = (*inside, str(schema.get("name")).rpartition(".")[2])
        return _first(_find_problem(field.get("type"), within, named) for field in schema.get("fields", ()))
    inner = schema.get("items" if kind == "array" else "values" if kind == "map" else "type")
    return None if kind in ("enum", "fixed") else _find_problem(inner, inside, named)


def _is_empty(schema: Any, named: Mapping[str, Any]) -> bool:  # noqa: ANN401
    """Return whether values of a schema take no bytes."""
    if isinstance(schema, str):
        known = named.get(schema.rpartition(".")[2])
        return schema == "null" or (known is not None and _is_empty(known, {}))
    if not isinstance(schema, dict):
        return False
    if schema.get("type") == "fixed":
        return schema.get("size") == 0
    if schema.get("type") == "record":
        return all(_is_empty(field.get("type"), named) for field in schema.get("fields", ()))
    return _is_empty(schema.get("type"), named)


def _first(problems: Any) -> str | None:  # noqa: ANN401 - an iterable of them
    return next((problem for problem in problems if problem), None)
