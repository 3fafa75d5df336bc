"""Writes the values of enriched postings by a schema that the registry holds under the subject of the output topic."""

from typing import Any, Protocol

from confluent_kafka.schema_registry import SchemaRegistryError, dual_schema_id_deserializer
from confluent_kafka.schema_registry.serde import SchemaId
from confluent_kafka.serialization import MessageField, SerializationContext

from consumer.errors import ConfigError, InvalidMessage, SchemaRegistryUnavailable
from consumer.formats.schema_registry import SchemaRegistry, describe_id, is_unknown
from consumer.messages import Headers
from schemas.events import EnrichedPosting
from schemas.export import ENRICHED_POSTING


class EventWriter(Protocol):
    """Writes the enriched postings of one format."""

    def serialize(self, enriched: EnrichedPosting, context: SerializationContext) -> bytes:
        """Return the framed value. May raise anything."""
        ...


class FramedWriter:
    """Writes the values of one topic."""

    def __init__(self, registry: SchemaRegistry, writer: EventWriter, *, topic: str) -> None:
        self._registry = registry
        self._writer = writer
        self._topic = topic

    def __call__(self, enriched: EnrichedPosting) -> tuple[bytes, Headers]:
        """Return the value and the headers that belong to it. Raises InvalidMessage, SchemaRegistryUnavailable."""
        try:
            return self._write(enriched)
        except SchemaRegistryUnavailable:
            raise
        except SchemaRegistryError as error:
            raise SchemaRegistryUnavailable(f"the schema registry no longer has the output's schema: {error}") from error
        except Exception as error:  # noqa: BLE001 - a serde raises whatever the values make it raise
            text = f"cannot be written: {type(error).__name__}: {error}"
            raise InvalidMessage("invalid_field", text, cause=error) from None

    def check(self) -> str:
        """Write an example; returns how it names its schema.

        Raises ConfigError where the registry does not have the schema or does not take it, SchemaRegistryUnavailable.
        """
        try:
            value, headers = self._write(ENRICHED_POSTING)
        except SchemaRegistryError as error:
            way_out = "; run occustream-consumer schemas register" if is_unknown(error) else ""
            text = f"the schema registry does not have the schema that we write to {self._topic!r}: {error}{way_out}"
            raise ConfigError(text) from error
        except SchemaRegistryUnavailable:
            raise
        except Exception as error:
            raise ConfigError(f"schema_registry: {type(error).__name__}: {error}") from error
        schema_id = SchemaId("")
        dual_schema_id_deserializer(value, SerializationContext(self._topic, MessageField.VALUE, list(headers)), schema_id)
        return describe_id(schema_id)

    def _write(self, enriched: EnrichedPosting) -> tuple[bytes, Headers]:
        added: list[tuple[str, Any]] = []
        context = SerializationContext(self._topic, MessageField.VALUE, added)
        value = self._registry.ask(lambda: self._writer.serialize(enriched, context))
        return value, tuple(added)
