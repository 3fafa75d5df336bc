"""The headers that make a record a CloudEvent (version 1.0, Kafka binding, binary mode). The event itself is the value."""

from dataclasses import dataclass
from datetime import UTC, datetime

from consumer.messages import Headers, Message
from schemas.events import SCHEMA_VERSION, EnrichedPosting

ENRICHED_TYPE = f"occustream.posting.enriched.v{SCHEMA_VERSION}"
DELETED_TYPE = f"occustream.posting.deleted.v{SCHEMA_VERSION}"
CONTENT_TYPE = "content-type"
CONTENT_TYPES = {
    "json": "application/json",
    "avro": "application/vnd.confluent.avro",
    "protobuf": "application/vnd.confluent.protobuf",
    "json-schema": "application/vnd.confluent.json",
}
"""The media type of a value in each output format. Behind a schema registry there is no plain JSON: the value is framed."""


@dataclass(frozen=True, slots=True)
class CloudEvents:
    """Makes CloudEvents of records. `source` is the `ce_source` of all of them: with the event id it names an event uniquely."""

    source: str
    content_type: str = "application/json"

    def enriched_headers(self, enriched: EnrichedPosting) -> Headers:
        """Return the headers of an enriched posting."""
        subject = enriched.posting.posting_id
        return (
            *self._attributes(ENRICHED_TYPE, enriched.event_id),
            ("ce_time", _format_time(enriched.enriched_at)),
            *((("ce_subject", subject.encode()),) if subject else ()),
            (CONTENT_TYPE, self.content_type.encode()),
        )

    def delete_headers(self, message: Message) -> Headers:
        """Return the headers of a delete that is forwarded. Its time is that of the message; it has no content."""
        return (*self._attributes(DELETED_TYPE, message.event_id), *_time_headers(message.timestamp_ms))

    def _attributes(self, kind: str, event_id: str) -> Headers:
        return (
            ("ce_specversion", b"1.0"),
            ("ce_id", event_id.encode()),
            ("ce_source", self.source.encode()),
            ("ce_type", kind.encode()),
        )


def _time_headers(time_ms: int | None) -> Headers:
    """Return the time of a message; nothing where it has none, or one that no calendar has."""
    try:
        return () if time_ms is None else (("ce_time", _format_time(datetime.fromtimestamp(time_ms / 1_000, UTC))),)
    except (ValueError, OverflowError, OSError):
        return ()


def _format_time(moment: datetime) -> bytes:
    """Return a time as RFC 3339 writes it, in UTC."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z").encode()
