"""Makes the reader of the input topic and the writer of the output topic that the settings ask for."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from consumer.errors import ConfigError
from consumer.event_json import Write, write_json_event
from consumer.feeds.reading import Read, read_json
from consumer.formats.avro import AvroDecoder, AvroWriter
from consumer.formats.json_schema import JsonDecoder, JsonSchemaWriter
from consumer.formats.properties import RegistryProperties, sort_properties
from consumer.formats.protobuf import ProtobufDecoder, ProtobufWriter
from consumer.formats.reader import Decoder, FramedReader
from consumer.formats.schema_registry import SchemaRegistry, connect
from consumer.formats.writer import EventWriter, FramedWriter
from consumer.settings import Settings
from consumer.settings_loading import Properties

Made = TypeVar("Made")
CHECK_WAIT_S = 2.0
"""How long `check-config` waits for a registry that does not answer."""


class Formats:
    """A schema registry, and the readers and writers of formats that use it. Makes connections only when they are needed.

    Raises ConfigError for properties that nobody takes.
    """

    def __init__(self, properties: Properties, *, wait_s: float) -> None:
        self._properties = sort_properties(properties)
        self.registry = connect(self._properties.client, wait_s=wait_s)

    @property
    def registers(self) -> bool:
        """Whether a writer registers the schema of its events unasked."""
        return bool(self._properties.writer["auto.register.schemas"])

    def make_reader(self, format: str) -> FramedReader:  # noqa: A002
        """Return the reader of a format."""
        make = partial(_DECODERS[format], self.registry, self._properties)
        return _explain(lambda: FramedReader(self.registry, make, subject_per_topic=self._properties.subject_strategy == "TOPIC"))

    def make_writer(self, format: str, *, topic: str, register: bool = False) -> FramedWriter:  # noqa: A002
        """Return the writer of a format. With `register`, it registers its schema with the first event."""
        conf = {**self._properties.writer, **({"auto.register.schemas": True, "use.latest.version": False} if register else {})}
        writer = _explain(lambda: _WRITERS[format](self.registry, conf, self._properties))
        return FramedWriter(self.registry, writer, topic=topic)


_DECODERS: dict[str, Callable[[SchemaRegistry, RegistryProperties], Decoder]] = {
    "avro": lambda registry, given: AvroDecoder(registry, given.reader),
    "protobuf": lambda registry, given: ProtobufDecoder(registry, given.reader),
    "json-schema": lambda registry, given: JsonDecoder(registry, given.reader, validate=given.validate),
}
_WRITERS: dict[str, Callable[[SchemaRegistry, dict[str, Any], RegistryProperties], EventWriter]] = {
    "avro": lambda registry, conf, _given: AvroWriter(registry, conf),
    "protobuf": lambda registry, conf, _given: ProtobufWriter(registry, conf),
    "json-schema": lambda registry, conf, given: JsonSchemaWriter(registry, conf, validate=given.validate),
}


def _explain(make: Callable[[], Made]) -> Made:
    """Return what was made. Raises ConfigError where a serde refuses its properties."""
    try:
        return make()
    except (ValueError, TypeError) as error:
        raise ConfigError(f"schema_registry: {error}") from error


@dataclass(frozen=True, slots=True)
class Serdes:
    """The reader and the writer that the settings ask for. Both may raise SchemaRegistryUnavailable, too."""

    read: Read
    write: Write
    check: Callable[[], None]
    """Raises SchemaRegistryUnavailable or ConfigError where the registry does not answer, or lacks the schema of the output."""


def make_formats(settings: Settings) -> Serdes:
    """Return the reader and the writer of the settings; asks nobody. Raises ConfigError."""
    formats, written = Formats(settings.schema_registry, wait_s=settings.longest_wait_s), settings.output_format
    reader: Read = read_json if settings.input_format == "json" else formats.make_reader(settings.input_format)
    writer = None if written == "json" else formats.make_writer(written, topic=settings.output_topic)
    return Serdes(reader, writer or write_json_event, partial(_check, formats, writer))


def check_registry(settings: Settings) -> None:
    """Ask the registry what `run` asks it at the start, but register nothing.

    Raises SchemaRegistryUnavailable or ConfigError where it does not answer, or lacks the schema of the output.
    """
    formats, written = Formats(settings.schema_registry, wait_s=CHECK_WAIT_S), settings.output_format
    is_written = written != "json" and not formats.registers
    _check(formats, formats.make_writer(written, topic=settings.output_topic) if is_written else None)


def _check(formats: Formats, writer: FramedWriter | None) -> None:
    formats.registry.check()
    if writer is not None:
        writer.check()
