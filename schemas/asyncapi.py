"""The AsyncAPI 3 document of the consumer: topics, messages, headers and schemas, made of the models. See `export.py`."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from schemas.events import SCHEMA_VERSION, EnrichedPosting, JobPosting

TOPICS = {"postings": "postings.raw", "enriched": "postings.enriched", "deadLetters": "postings.dead-letters"}
"""The address of each channel: the topics that the consumer uses unless it is told otherwise."""
TITLES = {"postings": "Postings to enrich", "enriched": "Enriched postings", "deadLetters": "Messages that could not be enriched"}
MESSAGES = {"postings": ("posting",), "enriched": ("enrichedPosting", "deletedPosting"), "deadLetters": ("deadLetter",)}
"""The messages of each channel."""
ACTIONS = {"postings": "receive", "enriched": "send", "deadLetters": "send"}
JSON = "application/json"

EVENT_HEADERS = {"occustream.event-id": "`topic:partition:offset` of the input message: the same at every delivery."}
MODEL_HEADERS = {"occustream.model-version": "The model version that made the record."}
ORIGIN_HEADERS = {
    "occustream.timestamp-ms": "The time of the input message, in milliseconds since 1970; not if it has none.",
    "occustream.key-schema-id": "The input message's `__key_schema_id`, if it has one: it holds for the key of the record.",
}
ABRIDGED_HEADERS = {
    "dead-letter.left-out": "Only if the whole letter is larger than its topic takes: `value` or `value,key,headers`. "
    "That is missing here, and lies at the place that topic, partition and offset name.",
    "dead-letter.value-sha256": "Then: the SHA-256 of the message's value, in hexadecimal digits.",
}
CLOUD_HEADERS = {
    "ce_specversion": "1.0. All ce_ headers: only with the setting `cloudevents`.",
    "ce_id": "The event id.",
    "ce_source": "The setting `cloudevents_source`.",
    "ce_type": f"`occustream.posting.enriched.v{SCHEMA_VERSION}`, or `occustream.posting.deleted.v{SCHEMA_VERSION}`.",
    "ce_time": "When the posting was enriched; of a delete, the time of its message. RFC 3339, UTC.",
}
POSTING_CLOUD_HEADERS = {"ce_subject": "The posting's id.", "content-type": f"`{JSON}`, unless another format is set."}
DEAD_LETTER_HEADERS = {
    "dead-letter.reason": "Why, as one word.",
    "dead-letter.error": "Why, in words: at most 1,000 characters.",
    "dead-letter.error-class": "The class of the error.",
    "dead-letter.stage": "Where: decode, score, encode or deliver.",
    "dead-letter.attempt": "How many times the message has been a dead letter.",
    "dead-letter.topic": "The topic that the message came from.",
    "dead-letter.partition": "Its partition.",
    "dead-letter.offset": "Its offset.",
    "dead-letter.timestamp-ms": "Its time, in milliseconds since 1970; may be empty.",
    "dead-letter.app-version": "The version of the program.",
    "dead-letter.model-version": "The model version in service.",
}


def make_asyncapi(examples: Mapping[str, BaseModel]) -> dict[str, Any]:
    """Return the document. `examples` holds one JobPosting and one EnrichedPosting, by the names of their models."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "occustream",
            "version": f"{SCHEMA_VERSION}.0.0",
            "description": "Adds O*NET-SOC occupations to job postings. The headers of a message are passed on with its record.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": JSON,
        "channels": {name: _channel(name) for name in TOPICS},
        "operations": {f"{ACTIONS[name]}{name[0].upper()}{name[1:]}": _operation(name) for name in TOPICS},
        "components": {"messages": _messages(examples), "schemas": _schemas()},
    }


def _channel(name: str) -> dict[str, Any]:
    return {
        "address": TOPICS[name],
        "title": TITLES[name],
        "messages": {message: {"$ref": f"#/components/messages/{message}"} for message in MESSAGES[name]},
        "bindings": {"kafka": {"topic": TOPICS[name], "bindingVersion": "0.5.0"}},
    }


def _operation(name: str) -> dict[str, Any]:
    channel = f"#/channels/{name}"
    return {
        "action": ACTIONS[name],
        "channel": {"$ref": channel},
        "messages": [{"$ref": f"{channel}/messages/{message}"} for message in MESSAGES[name]],
    }


def _messages(examples: Mapping[str, BaseModel]) -> dict[str, Any]:
    enriched, posting = (_dump(examples[name]) for name in ("EnrichedPosting", "JobPosting"))
    event_id = {"occustream.event-id": str(enriched["event_id"])}
    return {
        "posting": {
            "title": "A posting to enrich",
            "payload": {"$ref": "#/components/schemas/JobPosting"},
            "examples": [{"name": "nurse", "payload": posting}],
            **_kafka_key("Any bytes, or none. The record has the same key."),
        },
        "enrichedPosting": {
            "title": "A posting with its occupations",
            "headers": _headers({**EVENT_HEADERS, **MODEL_HEADERS}, {**ORIGIN_HEADERS, **CLOUD_HEADERS, **POSTING_CLOUD_HEADERS}),
            "payload": {"$ref": "#/components/schemas/EnrichedPosting"},
            "examples": [
                {
                    "name": "nurse",
                    "headers": {**event_id, "occustream.model-version": enriched["model"]["version"]},
                    "payload": enriched,
                }
            ],
            **_kafka_key("The key of the posting's message."),
        },
        "deletedPosting": {
            "title": "A posting of this key is gone",
            "description": "A record without a value, which a compacted topic takes for a delete.",
            "headers": _headers(EVENT_HEADERS, {**ORIGIN_HEADERS, **CLOUD_HEADERS}),
            "payload": {"type": "null"},
            "examples": [{"name": "gone", "headers": event_id, "payload": None}],
            **_kafka_key("The key of the message."),
        },
        "deadLetter": {
            "title": "A message that could not be enriched, with its bytes unchanged",
            "contentType": "application/octet-stream",
            "headers": _headers(DEAD_LETTER_HEADERS, ABRIDGED_HEADERS),
            "payload": {"description": "The bytes of the message, whatever they are; or none: see `dead-letter.left-out`."},
            **_kafka_key("The key of the message."),
        },
    }


def _kafka_key(description: str) -> dict[str, Any]:
    return {"bindings": {"kafka": {"key": {"type": ["string", "null"], "description": description}, "bindingVersion": "0.5.0"}}}


def _headers(always: Mapping[str, str], sometimes: Mapping[str, str]) -> dict[str, Any]:
    """Return the schema of headers. Others may stand beside them: those of the message."""
    described = {name: {"type": "string", "description": text} for name, text in {**always, **sometimes}.items()}
    return {"type": "object", "properties": described, "required": list(always)}


def _schemas() -> dict[str, Any]:
    """Return the schemas of both events and of their parts, by name."""
    models: list[tuple[type[BaseModel], Any]] = [(JobPosting, "validation"), (EnrichedPosting, "serialization")]
    _, made = models_json_schema(models, by_alias=False, ref_template="#/components/schemas/{model}")
    return dict(made["$defs"])


def _dump(example: BaseModel) -> dict[str, Any]:
    return example.model_dump(mode="json")
