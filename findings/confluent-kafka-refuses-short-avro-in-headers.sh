#!/usr/bin/env bash
# confluent-kafka 2.16.1 refuses Avro values of up to 5 bytes that its own serializer wrote with the schema id in a header.
#
# The serializer can put the id of a schema into the header __value_schema_id instead of into the value. The value is then bare Avro,
# which may be short: a record of a two-letter string takes 3 bytes. AvroDeserializer takes the id from the header as it should, but
# first refuses every value that could not hold the other framing (one byte and four of an id), with the advice that the message was
# not produced with a schema registry's serializer. So events such as {"id": "a7"} are written and never read back.
# The way out: the framing in the value, or a schema whose shortest record takes 6 bytes.
#
# Seen on 2026-11-28 with Python 3.11.7 and confluent-kafka 2.16.1, on the client's own mock of a registry:
#   "a7"     written as 3 bytes   SerializationError: Expecting data framing of length 6 bytes or more but total data size is 3 bytes.
#   "abcd"   written as 5 bytes   SerializationError, the same
#   "abcde"  written as 6 bytes   {'id': 'abcde'}
#
# Exit status: 0 as described, 1 if the behaviour has changed.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'confluent-kafka[avro,schemaregistry]==2.16.1'

"$work/venv/bin/python" - <<'PYTHON'
import sys

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, header_schema_id_serializer
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext, SerializationError

SCHEMA = '{"type": "record", "name": "Closed", "fields": [{"name": "id", "type": "string"}]}'
registry = SchemaRegistryClient.new_client({"url": "mock://"})
registry.register_schema("jobs-value", Schema(SCHEMA, "AVRO"))
write = AvroSerializer(registry, SCHEMA, conf={"schema.id.serializer": header_schema_id_serializer, "auto.register.schemas": False})
read = AvroDeserializer(registry)


def there_and_back(text):
    headers = {}
    value = write({"id": text}, SerializationContext("jobs", MessageField.VALUE, headers))
    try:
        came = read(value, SerializationContext("jobs", MessageField.VALUE, list(headers.items())))
    except SerializationError as error:
        came = f"SerializationError: {error}"
    print(f"{text!r} written as {len(value)} bytes: {came}")
    return came


refused = [str(there_and_back(text)).startswith("SerializationError: Expecting data framing") for text in ("a7", "abcd")]
sys.exit(0 if all(refused) and there_and_back("abcde") == {"id": "abcde"} else 1)
PYTHON
