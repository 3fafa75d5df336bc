"""Enriched postings against a real schema registry: written by our schemas, and read again as any reader would."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka.schema_registry import Schema

from consumer.errors import ConfigError
from consumer.feeds.json_values import parse_json
from consumer.formats.choose import Formats
from consumer.formats.writer import FramedWriter
from consumer.messages import Message
from schemas.events import EnrichedPosting, JobPosting
from schemas.export import ENRICHED_POSTING
from tests.support.brokers import unique

pytestmark = pytest.mark.registry

each_kind = pytest.mark.parametrize("kind", ["avro", "protobuf", "json-schema"])

ODD = (
    b'{"company": {"name": "Tallow & Wick"}, "location": [1.10, null], "posted_at": 20260501,'
    b' "pay": 1e22, "big": 123456789012345678901}'
)


@dataclass
class Posted:
    """A topic whose schema is registered."""

    formats: Formats
    kind: str
    topic: str

    def write(self, enriched: EnrichedPosting) -> Any:
        value, headers = self.formats.make_writer(self.kind, topic=self.topic)(enriched)
        return self.formats.make_reader(self.kind)(Message(self.topic, 0, 0, None, value, headers))


@pytest.fixture
def posted(kind: str, formats: Formats) -> Posted:
    topic = unique("out")
    formats.make_writer(kind, topic=topic, register=True).check()
    return Posted(formats, kind, topic)


def with_posting(**fields: Any) -> EnrichedPosting:
    return ENRICHED_POSTING.model_copy(update={"posting": JobPosting(posting_id="p-1", title="Schweißer", **fields)})


def without_nulls(value: Any) -> Any:
    """Return a JSON value without the fields that are null: Protobuf leaves them out."""
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return {name: without_nulls(v) for name, v in value.items() if v is not None} if isinstance(value, dict) else value


@each_kind
def test_an_event_comes_back_as_it_was_meant(posted: Posted) -> None:
    read = posted.write(ENRICHED_POSTING)
    expected = ENRICHED_POSTING.model_dump(mode="json")
    for name in ("event_id", "decision", "backoff", "occupations", "groups"):
        assert without_nulls(json.loads(json.dumps(read[name], default=float))) == without_nulls(expected[name])
    assert read["posting"]["title"] == expected["posting"]["title"]
    assert read["enriched_at"] == "2025-06-02T08:30:00Z"


@each_kind
def test_what_is_passed_through_keeps_its_shape_and_its_digits(posted: Posted) -> None:
    posting = posted.write(with_posting(**parse_json(ODD)))["posting"]
    if posted.kind == "json-schema":
        assert (str(posting["location"][0]), str(posting["pay"]), posting["big"]) == ("1.10", "1e22", 123456789012345678901)
        assert posting["company"] == {"name": "Tallow & Wick"}
        return
    assert json.loads(posting["company"]) == {"name": "Tallow & Wick"}
    assert (posting["location"], posting["posted_at"]) == ("[1.10,null]", "20260501")
    assert posting["additional"] == {"pay": "1e22", "big": "123456789012345678901"}


@each_kind
def test_what_is_missing_stays_missing(posted: Posted) -> None:
    event = posted.write(with_posting().model_copy(update={"evidence": None, "backoff": None}))
    assert event["posting"].get("body") is None
    assert (event.get("evidence"), event.get("backoff")) == (None, None)


@each_kind
def test_a_schema_that_was_never_registered_is_told_with_the_way_out(kind: str, formats: Formats) -> None:
    writer: FramedWriter = formats.make_writer(kind, topic=unique("out"))
    with pytest.raises(ConfigError, match="occustream-consumer schemas register"):
        writer.check()


def test_a_header_cannot_name_the_schema_where_the_registry_has_no_guids(registry_url: str) -> None:
    formats = Formats({"url": registry_url, "schema.id.serializer": "header"}, wait_s=1.0)
    with pytest.raises(ConfigError, match="GUID"):
        formats.make_writer("avro", topic=unique("out"), register=True).check()


def test_a_schema_that_the_registry_refuses_is_told_at_once(registry_url: str, formats: Formats) -> None:
    topic = unique("out")
    client = formats.registry.client
    other = {
        "type": "record",
        "name": "EnrichedPosting",
        "namespace": "occustream.v1",
        "fields": [{"name": "event_id", "type": "int"}],
    }
    client.register_schema(f"{topic}-value", Schema(json.dumps(other), "AVRO"))
    client.set_compatibility(f"{topic}-value", "FULL")
    with pytest.raises(ConfigError, match="409"):
        formats.make_writer("avro", topic=topic, register=True).check()
