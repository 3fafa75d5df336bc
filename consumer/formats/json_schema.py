"""Reads and writes framed JSON, whose schema the registry holds. Numbers keep their digits, as in plain JSON."""

import json
from collections.abc import Mapping
from typing import Any

import orjson
from confluent_kafka.schema_registry import Schema
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.schema_registry.serde import SchemaId
from confluent_kafka.serialization import SerializationContext

from consumer.event_json import write_json_event
from consumer.feeds.json_values import parse_json
from consumer.formats.properties import VALIDATE
from consumer.formats.schema_registry import SchemaRegistry
from schemas.events import EnrichedPosting
from schemas.export import make_documents


class JsonDecoder:
    """A `Decoder` of framed JSON. It is validated against its schema only with the property `validate`."""

    schema_type = "JSON"
    schema_format = None

    def __init__(self, registry: SchemaRegistry, conf: Mapping[str, Any], *, validate: bool) -> None:
        self._validate = validate
        self._payload = b""
        self._deserialize = JSONDeserializer(
            None,
            schema_registry_client=registry.client,
            conf={**conf, VALIDATE: validate},
            json_decode=self._take,
        )

    def decode(self, value: bytes, context: SerializationContext, _schema: Schema, _schema_id: SchemaId) -> Any:  # noqa: ANN401
        """See `Decoder`."""
        self._deserialize(value, context)
        return parse_json(self._payload)

    def _take(self, payload: bytes) -> Any:  # noqa: ANN401
        """Keep the text for our own parser, which keeps digits; validation needs Python's numbers."""
        self._payload = payload
        return orjson.loads(payload) if self._validate else None


class JsonSchemaWriter:
    """Writes enriched postings as framed JSON."""

    def __init__(self, registry: SchemaRegistry, conf: Mapping[str, Any], *, validate: bool) -> None:
        self._validate = validate
        self._text = b""
        document = make_documents()["EnrichedPosting.schema.json"]
        self._serialize = JSONSerializer(
            json.dumps(document), registry.client, conf={**conf, VALIDATE: validate}, json_encode=lambda _value: self._text
        )

    def serialize(self, enriched: EnrichedPosting, context: SerializationContext) -> bytes:
        """Return the framed value. May raise anything."""
        self._text, _headers = write_json_event(enriched)
        value = orjson.loads(self._text) if self._validate else {}
        return bytes(self._serialize(value, context) or b"")
