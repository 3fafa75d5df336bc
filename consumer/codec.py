"""Decodes messages into postings and encodes records. A message that is no posting becomes a dead letter.

The steps of decoding are in `feeds/`: read the value, unwrap envelopes, find the fields, make the posting.
"""

from collections.abc import Callable, Mapping
from typing import Any

from consumer.cloud_events import CloudEvents
from consumer.dead_letter_record import Stage, make_dead_letter
from consumer.errors import MAX_QUOTED_CHARS, InvalidMessage
from consumer.event_json import Write, write_json_event
from consumer.feeds.envelopes import find_binary_delete, find_removed, find_wrapped, unwrap
from consumer.feeds.fields import ByNames, FieldFinder
from consumer.feeds.kinds import ENVELOPES, Delete, Envelope, OnDelete
from consumer.feeds.posting import make_posting
from consumer.feeds.reading import Read, read_json
from consumer.messages import Message, Record
from consumer.passed_headers import origin_headers, passed_headers
from schemas.events import Decision, EnrichedPosting, JobPosting
from schemas.text import plain_text

MAX_NAMES_TOLD = 20
"""So many names are told where none is found."""


class Codec:
    """Decodes messages and encodes records. `max_message_bytes` bounds the value read and the value written.

    `read` reads a message's value, `write` writes an enriched posting's, `finder` finds the fields of a posting. `on_envelope` is
    called with each envelope that is taken off, outermost first. `on_delete` says what the record of a delete is.
    `decision_topics` are instead of the output topic, `cloud_events` makes more headers.
    """

    def __init__(
        self,
        *,
        output_topic: str,
        dead_letter_topic: str,
        max_message_bytes: int,
        max_title_chars: int,
        envelopes: frozenset[Envelope] = frozenset(ENVELOPES),
        on_delete: OnDelete = "forward",
        read: Read = read_json,
        write: Write = write_json_event,
        finder: FieldFinder | None = None,
        on_envelope: Callable[[Envelope], None] = lambda _envelope: None,
        decision_topics: Mapping[Decision, str] | None = None,
        cloud_events: CloudEvents | None = None,
    ) -> None:
        self._output_topic = output_topic
        self._decision_topics = decision_topics or {}
        self._cloud_events = cloud_events
        self._dead_letter_topic = dead_letter_topic
        self._max_message_bytes = max_message_bytes
        self._max_title_chars = max_title_chars
        self._envelopes = envelopes
        self._on_delete = on_delete
        self._read = read
        self._write = write
        self._finder = finder or ByNames()
        self._on_envelope = on_envelope

    @property
    def title_names(self) -> tuple[str, ...]:
        """Where a title is looked for, for people."""
        return self._finder.title_names

    def decode(self, message: Message) -> JobPosting | Delete:
        """Return the posting of a message, or the delete. Raises InvalidMessage and nothing else, whatever the bytes are."""
        if message.flaw is not None:
            raise InvalidMessage("invalid_headers", message.flaw)
        if message.value is None:
            return Delete("tombstone", "the message has no value (a tombstone)")
        self._check_size(message.value, "the message")
        if message.headers and "cloudevents" in self._envelopes and (gone := find_binary_delete(message.headers)) is not None:
            return gone
        unwrapped = unwrap(self._read(message), self._envelopes)
        for envelope in unwrapped.envelopes:
            self._on_envelope(envelope)
        content = unwrapped.content
        return content if isinstance(content, Delete) else self._make_posting(message, content)

    def encode(self, message: Message, enriched: EnrichedPosting) -> Record:
        """Return the record of an enriched posting. Raises InvalidMessage when it outgrows the size limit."""
        value, added = self._write(enriched)
        self._check_size(value, "the enriched posting")
        headers = (
            *passed_headers(message.headers),
            *added,
            *origin_headers(message),
            ("occustream.model-version", enriched.model.version.encode()),
            *(self._cloud_events.enriched_headers(enriched) if self._cloud_events else ()),
        )
        topic = self._decision_topics.get(enriched.decision, self._output_topic)
        return Record(topic, message.key, value, headers, message.partition)

    def dead_letter(self, message: Message, error: InvalidMessage, *, stage: Stage, model_version: str) -> Record:
        """Return the dead letter of a message: key, value and headers unchanged, and more headers that say why it failed."""
        return make_dead_letter(message, error, topic=self._dead_letter_topic, stage=stage, model_version=model_version)

    def refuse_delete(self, delete: Delete) -> InvalidMessage | None:
        """Return the error that makes a dead letter of a delete; None where deletes are no dead letters."""
        if self._on_delete != "dead-letter":
            return None
        return InvalidMessage("null_value" if delete.kind == "tombstone" else "deleted", delete.detail)

    def encode_delete(self, message: Message) -> Record | None:
        """Return the record that tells readers of a compacted topic of a delete; None where it is skipped.

        A delete without a key is skipped: it names nothing that such a reader could drop, and compacted topics refuse it.
        """
        if self._on_delete == "skip" or message.key is None:
            return None
        headers = (
            *passed_headers(message.headers),
            *origin_headers(message),
            *(self._cloud_events.delete_headers(message) if self._cloud_events else ()),
        )
        return Record(self._output_topic, message.key, None, headers, message.partition)

    def _make_posting(self, message: Message, fields: Any) -> JobPosting | Delete:  # noqa: ANN401 - any JSON value
        if not isinstance(fields, dict):
            raise _explain_no_object(fields)
        found = self._finder.find(fields)
        if "title" not in found.values and "wrapper" in self._envelopes and (inner := find_wrapped(fields)) is not None:
            self._on_envelope("wrapper")
            fields, found = inner, self._finder.find(inner)
        title = found.values.get("title")
        if not title:
            if "removed" in self._envelopes and (gone := find_removed(fields)) is not None:
                return gone
            if title is None:
                raise _explain_no_title(fields, self.title_names)
        posting = make_posting(fields, found, fallback_id=_fallback_id(message))
        self._check_title(posting.title)
        return posting

    def _check_size(self, value: bytes, what: str) -> None:
        if len(value) > self._max_message_bytes:
            limit = self._max_message_bytes
            raise InvalidMessage("too_large", f"{what} has {len(value):,} bytes; the limit (max_message_bytes) is {limit:,}")

    def _check_title(self, title: str) -> None:
        if not plain_text(title):  # later cleaning never empties a title that is not empty here
            raise InvalidMessage("empty_title", "the title is empty or white space")
        if len(title) > self._max_title_chars:
            limit = self._max_title_chars
            raise InvalidMessage(
                "title_too_long", f"the title has {len(title):,} characters; the limit (max_title_chars) is {limit:,}"
            )


def _explain_no_title(fields: Mapping[str, Any], title_names: tuple[str, ...]) -> InvalidMessage:
    told, others = title_names[:MAX_NAMES_TOLD], len(title_names) - MAX_NAMES_TOLD
    names = ", ".join(told) + (f" and {others} others" if others > 0 else "")
    return InvalidMessage("no_title", f"none of the fields {names} is there{_hint(fields, title_names)}")


def _hint(fields: Mapping[str, Any], title_names: tuple[str, ...]) -> str:
    """Return where the posting may be instead: in an object, or in a list of several."""
    for name, held in fields.items():
        titles = (
            [each for each in title_names if each.isidentifier() and isinstance(held.get(each), str)]
            if isinstance(held, dict)
            else []
        )
        if titles and name.isidentifier() and name.isascii() and len(name) <= MAX_QUOTED_CHARS:
            return f"; if {name!r} is the posting, set a mapping: --mapping title={name}.{titles[0]}"
        if isinstance(held, list) and held and isinstance(held[0], dict):
            return f"; if {name[:MAX_QUOTED_CHARS]!r} is a batch of postings, let the producer send each as a message of its own"
    return ""


def _explain_no_object(value: object) -> InvalidMessage:
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return InvalidMessage(
            "not_an_object",
            f"a batch of {len(value):,} posting{'' if len(value) == 1 else 's'} in one message, "
            "which this consumer does not split; let the producer send each posting as a message of its own",
        )
    return InvalidMessage("not_an_object", f"a JSON object is expected, not {type(value).__name__}")


def _fallback_id(message: Message) -> str:
    """Return the identifier of a posting that has none: the message key where it is text, else the event id."""
    try:
        return (message.key or b"").decode() or message.event_id
    except UnicodeDecodeError:
        return message.event_id
