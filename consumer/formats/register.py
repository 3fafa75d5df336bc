"""`occustream-consumer schemas register`: gives the registry the schema of enriched postings, which no run does unasked."""

from consumer.errors import ConfigError
from consumer.formats.choose import Formats
from consumer.settings import Settings


def register(settings: Settings) -> str:
    """Register the schema of the output; returns what was done, in a line.

    Raises ConfigError where the registry refuses it, SchemaRegistryUnavailable.
    """
    if settings.output_format == "json":
        raise ConfigError("plain JSON has no schema in a registry; give --output-format avro, protobuf or json-schema")
    formats = Formats(settings.schema_registry, wait_s=settings.longest_wait_s)
    formats.registry.check()
    writer = formats.make_writer(settings.output_format, topic=settings.output_topic, register=True)
    name = writer.check()
    return f"the schema registry has the {settings.output_format} schema of {settings.output_topic}: {name}"
