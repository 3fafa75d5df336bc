"""Reads framed values: finds the schema that a value names, and lets the serde of its format decode the value."""

from collections.abc import Callable
from typing import Any, Protocol

from confluent_kafka.schema_registry import Schema, SchemaRegistryError, dual_schema_id_deserializer
from confluent_kafka.schema_registry.serde import SchemaId
from confluent_kafka.serialization import MessageField, SerializationContext

from consumer.errors import InvalidMessage, SchemaRegistryUnavailable
from consumer.formats.schema_registry import SchemaRegistry, describe_id
from consumer.messages import Message

MAX_SCHEMAS = 1_000
"""From so many schemas on, those in memory are dropped and fetched again."""


class Decoder(Protocol):
    """Decodes the values of one format, with schemas that are known."""

    @property
    def schema_type(self) -> str:
        """The registry's name of the format."""
        ...

    @property
    def schema_format(self) -> str | None:
        """How the registry should write the schema, if it has several ways."""
        ...

    def decode(self, value: bytes, context: SerializationContext, schema: Schema, schema_id: SchemaId) -> Any:  # noqa: ANN401
        """Return what a value, with its framing, stands for, as JSON has it. May raise anything."""
        ...


class FramedReader:
    """Reads the values of messages by the schemas that they name, in the value or in a header."""

    def __init__(self, registry: SchemaRegistry, make_decoder: Callable[[], Decoder], *, subject_per_topic: bool) -> None:
        self._registry = registry
        self._make_decoder = make_decoder
        self._decoder = make_decoder()
        self._subject_per_topic = subject_per_topic
        self._known: set[str] = set()

    def __call__(self, message: Message) -> Any:  # noqa: ANN401 - any JSON value
        """Return what the value stands for. Raises InvalidMessage, SchemaRegistryUnavailable."""
        value = message.value or b""
        context = SerializationContext(message.topic, MessageField.VALUE, list(message.headers))
        schema_id = self._parse_id(value, context)
        subject = f"{message.topic}-value" if self._subject_per_topic else None
        schema = self._registry.find(schema_id, subject=subject, format=self._decoder.schema_format)
        self._check_type(schema, schema_id)
        self._bound_memory(describe_id(schema_id))
        return self._decode(value, context, schema, schema_id)

    def _parse_id(self, value: bytes, context: SerializationContext) -> SchemaId:
        schema_id = SchemaId(self._decoder.schema_type)
        try:
            dual_schema_id_deserializer(value, context, schema_id)
        except Exception as error:  # noqa: BLE001 - what few bytes raise is not documented
            text = f"the value names no schema: it begins with {value[:6].hex(' ') or 'nothing'}, and no header names one"
            raise InvalidMessage("not_decoded", text, cause=error) from None
        return schema_id

    def _check_type(self, schema: Schema, schema_id: SchemaId) -> None:
        found, wanted = schema.schema_type or "AVRO", self._decoder.schema_type
        if found != wanted:
            text = f"the schema {describe_id(schema_id)} is of type {found}, not {wanted}: see --input-format"
            raise InvalidMessage("not_decoded", text)

    def _decode(self, value: bytes, context: SerializationContext, schema: Schema, schema_id: SchemaId) -> Any:  # noqa: ANN401
        try:
            return self._registry.ask(lambda: self._decoder.decode(value, context, schema, schema_id))
        except (InvalidMessage, SchemaRegistryUnavailable):
            raise
        except SchemaRegistryError as error:
            raise InvalidMessage("unknown_schema", f"the schema {describe_id(schema_id)}: {error}", cause=error) from None
        except Exception as error:  # noqa: BLE001 - a decoder raises whatever the bytes make it raise
            text = f"the value does not fit the schema {describe_id(schema_id)}: {type(error).__name__}: {error}"
            raise InvalidMessage("not_decoded", text, cause=error) from None

    def _bound_memory(self, name: str) -> None:
        if name not in self._known and len(self._known) >= MAX_SCHEMAS:
            self._known.clear()
            self._registry.forget()
            self._decoder = self._make_decoder()
        self._known.add(name)
