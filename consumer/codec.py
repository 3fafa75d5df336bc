"""Decodes messages into postings and encodes records. A message that is no posting becomes a dead letter."""

import json
from collections import Counter
from itertools import chain
from typing import Any, NoReturn

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError

from consumer.dead_letter_record import Stage, make_dead_letter
from consumer.errors import InvalidMessage
from consumer.messages import Message, Record
from schemas.events import EnrichedPosting, JobPosting
from schemas.text import plain_text

MAX_DEPTH = 100
"""How deep a posting's objects and lists may nest; the posting itself is the first level."""


class Codec:
    """Decodes messages and encodes records. `max_message_bytes` bounds the value read and the value written."""

    def __init__(self, *, output_topic: str, dead_letter_topic: str, max_message_bytes: int, max_title_chars: int) -> None:
        self._output_topic = output_topic
        self._dead_letter_topic = dead_letter_topic
        self._max_message_bytes = max_message_bytes
        self._max_title_chars = max_title_chars

    def decode(self, message: Message) -> JobPosting:
        """Return the posting of a message. Raises InvalidMessage and nothing else, whatever the bytes are."""
        if message.flaw is not None:
            raise InvalidMessage("invalid_headers", message.flaw)
        if message.value is None:
            raise InvalidMessage("null_value", "the message has no value (a tombstone)")
        self._check_size(message.value, "the message")
        posting = self._validate(message, _parse_json_object(message.value))
        self._check_title(posting.title)
        return posting

    def encode(self, message: Message, enriched: EnrichedPosting) -> Record:
        """Return the record of an enriched posting. Raises InvalidMessage when it outgrows the size limit."""
        try:
            value = enriched.model_dump_json().encode()
        except PydanticSerializationError as error:  # pydantic writes less deeply nested values than it reads
            raise InvalidMessage("not_json", f"cannot be written again: {error}", cause=error) from None
        self._check_size(value, "the enriched posting")
        headers = (
            *message.headers,
            ("occustream.event-id", enriched.event_id.encode()),
            ("occustream.model-version", enriched.model.version.encode()),
        )
        return Record(self._output_topic, message.key, value, headers, message.partition)

    def dead_letter(self, message: Message, error: InvalidMessage, *, stage: Stage, model_version: str) -> Record:
        """Return the dead letter of a message: key, value and headers unchanged, and more headers that say why it failed."""
        return make_dead_letter(message, error, topic=self._dead_letter_topic, stage=stage, model_version=model_version)

    def _validate(self, message: Message, fields: dict[str, Any]) -> JobPosting:
        known = {name: value for name, value in fields.items() if value is not None or name not in INPUT_NAMES}
        if not any(name in known for name in POSTING_ID_NAMES):
            known["posting_id"] = _fallback_id(message)
        try:
            return JobPosting.model_validate(known)
        except ValidationError as error:
            raise _explain_invalid(error) from None

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


def _parse_json_object(value: bytes) -> dict[str, Any]:
    try:
        text = value.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidMessage("not_utf8", f"byte {error.start} is not UTF-8: {error.reason}", cause=error) from None
    try:
        parsed = json.loads(text, object_pairs_hook=_refuse_repeats, parse_constant=_refuse_constant, parse_float=_parse_finite)
    except RecursionError as error:
        raise InvalidMessage("not_json", "nested too deeply", cause=error) from None
    except ValueError as error:  # JSONDecodeError, and an integer of more digits than Python converts
        raise InvalidMessage("not_json", str(error), cause=error) from None
    if not isinstance(parsed, dict):
        raise InvalidMessage("not_an_object", f"a JSON object is expected, not {type(parsed).__name__}")
    if text.count("[") + text.count("{") > MAX_DEPTH:
        _check_depth(parsed)
    if "\\u" in text:  # only an escape can stand for a lone surrogate, which UTF-8 cannot hold
        _check_encodable(parsed)
    return parsed


def _check_depth(parsed: dict[str, Any]) -> None:
    """Refuse an object that many parsers could not read again: they go no deeper than 128."""
    level: list[Any] = [parsed]
    for _ in range(MAX_DEPTH):
        inner = (value.values() if isinstance(value, dict) else value for value in level if isinstance(value, dict | list))
        level = list(chain.from_iterable(inner))
    if any(isinstance(value, dict | list) for value in level):
        raise InvalidMessage("not_json", f"nested too deeply: the limit is {MAX_DEPTH}")


def _refuse_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        twice, _count = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {twice[:80]!r} appears twice in one object")
    return fields


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _parse_finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"the number {digits[:40]} is out of range")
    return number


def _check_encodable(parsed: dict[str, Any]) -> None:
    try:
        json.dumps(parsed, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise InvalidMessage("invalid_text", "a lone surrogate: text that is no Unicode", cause=error) from None


def _fallback_id(message: Message) -> str:
    """Return the identifier of a posting that has none: the message key where it is text, else the event id."""
    try:
        return (message.key or b"").decode() or message.event_id
    except UnicodeDecodeError:
        return message.event_id


def _explain_invalid(error: ValidationError) -> InvalidMessage:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    field, kind = str(first["loc"][0]), first["type"]
    if field in TITLE_NAMES:
        if kind == "missing":
            return InvalidMessage("no_title", f"none of the fields {', '.join(TITLE_NAMES)} is there", cause=error)
        if kind == "string_too_short":
            return InvalidMessage("empty_title", "the title is empty", cause=error)
    if kind == "string_unicode":
        return InvalidMessage("invalid_text", f"{field}: {first['msg']}", cause=error)
    return InvalidMessage("invalid_field", f"{field}: {first['msg']}", cause=error)


def _input_names(field: str) -> tuple[str, ...]:
    alias = JobPosting.model_fields[field].validation_alias
    return tuple(str(choice) for choice in getattr(alias, "choices", (field,)))


TITLE_NAMES = _input_names("title")
POSTING_ID_NAMES = _input_names("posting_id")
INPUT_NAMES = frozenset(name for field in JobPosting.model_fields for name in _input_names(field))
