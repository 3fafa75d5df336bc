"""Properties of the setting schema_registry: each goes to whoever takes it, in its own type."""

import pytest
from confluent_kafka.schema_registry import header_schema_id_serializer, prefix_schema_id_serializer

from consumer.errors import ConfigError
from consumer.formats.choose import Formats
from consumer.formats.properties import sort_properties


def test_text_becomes_the_type_that_a_property_has() -> None:
    found = sort_properties(
        {
            "url": "http://r",
            "timeout": "2.5",
            "auto.register.schemas": "True",
            "schema.id.serializer": "header",
            "validate": "true",
        }
    )
    assert found.client == {"url": "http://r", "timeout": 2.5, "max.retries": 1, "retries.wait.ms": 200}
    assert found.writer["auto.register.schemas"] is True
    assert found.writer["schema.id.serializer"] is header_schema_id_serializer
    assert found.validate is True


def test_nothing_is_registered_unless_asked() -> None:
    assert sort_properties({"url": "http://r"}).writer["auto.register.schemas"] is False


def test_names_as_java_clients_have_them_are_understood() -> None:
    found = sort_properties({"schema.registry.url": "http://r", "schema.registry.basic.auth.user.info": "a:b"})
    assert found.client["url"] == "http://r"
    assert found.client["basic.auth.user.info"] == "a:b"


def test_the_subject_strategy_is_that_of_readers_and_writers() -> None:
    found = sort_properties({"subject.name.strategy.type": "record", "schema.id.serializer": "prefix"})
    assert found.reader == {"subject.name.strategy.type": "RECORD"}
    assert found.writer["subject.name.strategy.type"] == "RECORD"
    assert found.writer["schema.id.serializer"] is prefix_schema_id_serializer


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timeout", "soon"),
        ("validate", "perhaps"),
        ("schema.id.serializer", "footer"),
        ("no.such.property", "1"),
        ("subject.name.strategy.type", "NONE"),
        ("url", "ftp://r"),
        ("ssl.ca.location", "/no/such/file.pem"),
    ],
)
def test_a_property_that_nobody_takes_is_refused(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match="schema_registry: "):
        Formats({"url": "http://r", name: value}, wait_s=1.0).make_reader("avro")
