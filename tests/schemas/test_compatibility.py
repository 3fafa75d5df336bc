"""The next schemas of the enriched posting against those of the last release, judged by a real schema registry.

`released/` holds what the last release wrote. It changes with a release, not with the models. JSON Schema is judged for
readers of the last release only: the reverse refuses every new field, since earlier events may hold
anything under its name.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from pydantic import BaseModel, create_model

from schemas.avro_schema import make_avro_schema
from schemas.events import EnrichedPosting
from schemas.protobuf_schema import make_proto_text
from tests.support.schemas import unique_subject

pytestmark = pytest.mark.registry

DRAFT_2020, DRAFT_7 = "https://json-schema.org/draft/2020-12/schema", "http://json-schema.org/draft-07/schema#"
RELEASED = Path(__file__).parent / "released"


class Kind(NamedTuple):
    """A format: the registry's name of it, its released schema, how the next one is made, and the level that is promised."""

    schema_type: str
    released: str
    make: Callable[[type[BaseModel]], str]
    level: str


def make_json(model: type[BaseModel]) -> str:
    return json.dumps({"$schema": DRAFT_2020, **model.model_json_schema(by_alias=False, mode="serialization")})


KINDS = {
    "avro": Kind("AVRO", "EnrichedPosting.avsc", lambda model: json.dumps(make_avro_schema(model)), "FULL_TRANSITIVE"),
    "protobuf": Kind("PROTOBUF", "EnrichedPosting.proto", make_proto_text, "FULL_TRANSITIVE"),
    "json-schema": Kind("JSON", "EnrichedPosting.schema.json", make_json, "FORWARD"),
}
each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def fits(url: str, kind: Kind, model: type[BaseModel]) -> bool:
    """Return whether the registry takes the schema of `model` after the released one."""
    client, subject = SchemaRegistryClient({"url": url}), unique_subject()
    released = (RELEASED / kind.released).read_text(encoding="utf-8")
    client.register_schema(subject, Schema(in_draft_7(released), kind.schema_type))
    client.set_compatibility(subject, kind.level)
    return client.test_compatibility(subject, Schema(in_draft_7(kind.make(model)), kind.schema_type))


def in_draft_7(schema: str) -> str:
    """Return a JSON Schema as one of draft 7, which holds all that ours use; other schemas as they are.

    Apicurio Registry stores later drafts, and fails (status 500) when it is to compare them.
    """
    return schema.replace(DRAFT_2020, DRAFT_7)


def changed(**fields: Any) -> type[BaseModel]:
    """Return the enriched posting with other or more fields, under its own name."""
    return create_model("EnrichedPosting", __base__=EnrichedPosting, __doc__=EnrichedPosting.__doc__, **fields)


@each_kind
def test_the_schemas_fit_those_of_the_last_release(kind: Kind, registry_url: str) -> None:
    assert fits(registry_url, kind, EnrichedPosting), "readers of the last release could not read the next, or the reverse"


@pytest.mark.parametrize("kind", [KINDS["avro"], KINDS["protobuf"]], ids=["avro", "protobuf"])
def test_a_field_that_may_be_missing_can_be_added(kind: Kind, registry_url: str) -> None:
    assert fits(registry_url, kind, changed(added_later=(str | None, None)))


@pytest.mark.parametrize(
    ("kind", "model"),
    [
        (KINDS["avro"], changed(needed=(str, ...))),
        (KINDS["avro"], changed(decision=(int, ...))),
        (KINDS["protobuf"], changed(decision=(int, ...))),
        (KINDS["json-schema"], changed(decision=(int, ...))),
    ],
)
def test_a_change_that_breaks_readers_is_found(kind: Kind, model: type[BaseModel], registry_url: str) -> None:
    assert not fits(registry_url, kind, model)
