"""Reads and writes Protobuf."""

from collections.abc import Mapping
from typing import Any

from confluent_kafka.schema_registry import Schema
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer, ProtobufSerializer
from confluent_kafka.schema_registry.serde import SchemaId
from confluent_kafka.serialization import SerializationContext
from google.protobuf import timestamp_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from consumer.formats.event_values import to_values
from consumer.formats.message_classes import SERIALIZED, make_message_class
from consumer.formats.message_values import message_to_plain
from consumer.formats.schema_registry import SchemaRegistry, describe_id
from schemas.events import EnrichedPosting
from schemas.protobuf_schema import PACKAGE, make_proto_file


class ProtobufDecoder:
    """A `Decoder` of Protobuf. Each message of a schema has a serde of its own, which knows its class."""

    schema_type = "PROTOBUF"
    schema_format = SERIALIZED

    def __init__(self, registry: SchemaRegistry, conf: Mapping[str, Any]) -> None:
        self._registry = registry
        self._conf = conf
        self._deserializers: dict[tuple[str, tuple[int, ...]], ProtobufDeserializer] = {}

    def decode(self, value: bytes, context: SerializationContext, schema: Schema, schema_id: SchemaId) -> Any:  # noqa: ANN401
        """See `Decoder`."""
        key = (describe_id(schema_id), tuple(schema_id.message_indexes or [0]))
        if key not in self._deserializers:
            self._deserializers[key] = self._make(schema, key[1])
        return message_to_plain(self._deserializers[key](value, context))

    def _make(self, schema: Schema, indexes: tuple[int, ...]) -> ProtobufDeserializer:
        references = [(name, of.schema_str or "") for name, of in self._registry.references(schema, format=SERIALIZED)]
        # Without a registry the serde takes the class as it is: it would read only descriptors, not the text of a .proto file.
        message_class = make_message_class(schema.schema_str or "", references, indexes)
        deserializer: ProtobufDeserializer = ProtobufDeserializer(message_class, dict(self._conf))
        return deserializer


class ProtobufWriter:
    """Writes enriched postings as Protobuf."""

    def __init__(self, registry: SchemaRegistry, conf: Mapping[str, Any]) -> None:
        self._message_class = make_event_class()
        self._serialize = ProtobufSerializer(self._message_class, registry.client, dict(conf))

    def serialize(self, enriched: EnrichedPosting, context: SerializationContext) -> bytes:
        """Return the framed value. May raise anything."""
        return bytes(self._serialize(self._message_class(**to_values(enriched)), context) or b"")


def make_event_class() -> Any:  # noqa: ANN401 - a class that exists only at run time
    """Return the class of the enriched posting."""
    pool = DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(make_proto_file(EnrichedPosting).SerializeToString())
    return GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{EnrichedPosting.__name__}"))
