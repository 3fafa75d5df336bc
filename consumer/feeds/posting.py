"""Makes a posting of the fields that were found: title, body and identifier are read, everything else passes through."""

from collections.abc import Mapping
from typing import Any

from consumer.errors import InvalidMessage
from consumer.feeds.fields import FoundFields
from consumer.feeds.values import is_missing, read_body, read_id, read_title
from schemas.events import JobPosting
from schemas.text import plain_body, plain_title

FIELDS = frozenset(JobPosting.model_fields)
ORIGINAL = "original_"
"""Stands before the name of a field that has the name of a posting's own field and was not chosen for it."""


def make_posting(fields: Mapping[str, Any], found: FoundFields, *, fallback_id: str) -> JobPosting:
    """Return the posting of a message's fields. Raises InvalidMessage (`empty_title`, `invalid_field`).

    A title must have been found. Title and body are plain text: entities decoded, tags and Markdown removed.
    """
    values, consumed = found.values, found.consumed
    body = _read_body(values.get("body"))
    posting: dict[str, Any] = {
        "posting_id": _read_id(values, fallback_id),
        "title": _read_title(values["title"]),
        "body": body,
        "company": values.get("company"),
        "location": values.get("location"),
        "posted_at": values.get("posted_at"),
        "language": values.get("language"),
        "allowed_codes": values.get("allowed_codes"),
    }
    for name, value in fields.items():
        if name in consumed:
            continue
        if name not in FIELDS:
            posting[name] = value
        elif not is_missing(value):
            posting[_free_name(name, fields)] = value
    if body is None and "body" in values:
        posting[_free_name("body", fields)] = values["body"]
    return JobPosting.model_validate(posting)


def _read_title(value: Any) -> str:  # noqa: ANN401 - any JSON value
    title = read_title(value)
    if title is None:
        raise InvalidMessage("invalid_field", f"title: text is expected, not {_name_kind(value)}")
    if is_missing(title):
        raise InvalidMessage(
            "empty_title", f"the title is {title.strip()!r}, a word for nothing" if title.strip() else "the title is empty"
        )
    return plain_title(title) or title


def _read_body(value: Any) -> str | None:  # noqa: ANN401 - any JSON value
    body = read_body(value)
    return None if body is None else plain_body(body)


def _read_id(values: Mapping[str, Any], fallback_id: str) -> str:
    if "posting_id" not in values:
        return fallback_id
    posting_id = read_id(values["posting_id"])
    if posting_id is None:
        kind = _name_kind(values["posting_id"])
        raise InvalidMessage("invalid_field", f"posting_id: text or a number is expected, not {kind}")
    return posting_id


def _name_kind(value: object) -> str:
    """Return what a JSON value is called."""
    kinds: tuple[tuple[type, str], ...] = ((bool, "true or false"), (str, "text"), (dict, "an object"), (list, "a list"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "a number")


def _free_name(name: str, fields: Mapping[str, Any]) -> str:
    """Return the name with `original_` before it, as often as it takes to meet no other field."""
    name = ORIGINAL + name
    while name in fields:
        name = ORIGINAL + name
    return name
