"""Which headers of a message its records have: one trace, none that look like ours, none that describe the message's bytes."""

import re

from consumer.messages import Headers, Message

OUR_PREFIX = "occustream."
"""How the headers begin that occustream gives to an enriched record. Those that a message came with are left out: forgeries."""
KEY_SCHEMA_HEADER = "__key_schema_id"
"""Names the schema of a key in Confluent's serializers. The key stays as it is, so this one is kept under a name of ours."""
TRACE_HEADER = "traceparent"
_TRACE = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
_OF_BYTES = frozenset(
    {
        "__contenttypeid__",  # this one and the next three are of Spring's serializers
        "__keytypeid__",
        "__typeid__",
        "spring_json_header_types",
        "contenttype",
        "content-disposition",
        "content-encoding",
        "content-length",
        "content-md5",
        "content-type",
        "datacontenttype",
        "dataschema",
        "digest",
    }
)
_OF_BYTES_PREFIXES = (
    "__key_schema",  # Confluent's ids of schemas
    "__value_schema",
    "__key_typeid",  # Spring's types of keys
    "__key_contenttypeid",
    "apicurio.",
    "ce_",
    "ce-",
    "cloudevents",
)


def passed_headers(headers: Headers) -> Headers:
    """Return the headers that an enriched record, or a delete that is forwarded, has of its message."""
    return keep_one_trace(tuple(header for header in headers if _is_passed(header[0].lower())))


def origin_headers(message: Message) -> Headers:
    """Return our headers that say which message a record was made of, and of which time that is."""
    key_schema = next((value for name, value in message.headers if name.lower() == KEY_SCHEMA_HEADER), None)
    return (
        (f"{OUR_PREFIX}event-id", message.event_id.encode()),
        *(((f"{OUR_PREFIX}timestamp-ms", b"%d" % message.timestamp_ms),) if message.timestamp_ms is not None else ()),
        *(((f"{OUR_PREFIX}key-schema-id", key_schema),) if key_schema is not None else ()),
    )


def keep_one_trace(headers: Headers) -> Headers:
    """Return the headers with one `traceparent` at most: the last one that is valid, or else the last one.

    Readers would take different ones for the trace of the posting.
    """
    traces = [place for place, (name, _value) in enumerate(headers) if name.lower() == TRACE_HEADER]
    if len(traces) <= 1:
        return headers
    chosen = next((place for place in reversed(traces) if _is_trace(headers[place][1])), traces[-1])
    return tuple(header for place, header in enumerate(headers) if place == chosen or place not in traces)


def trace_headers(headers: Headers) -> Headers:
    """Return the valid `traceparent` alone; nothing if there is none."""
    return tuple(header for header in keep_one_trace(headers) if header[0].lower() == TRACE_HEADER and _is_trace(header[1]))


def _is_passed(name: str) -> bool:
    return not name.startswith((OUR_PREFIX, *_OF_BYTES_PREFIXES)) and name not in _OF_BYTES


def _is_trace(value: bytes | None) -> bool:
    return value is not None and len(value) <= 512 and _TRACE.fullmatch(value) is not None  # noqa: PLR2004
