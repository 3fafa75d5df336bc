"""Takes a posting out of the envelopes that connectors and event buses put around it, and tells deletes from postings.

An envelope is known by several fields that only it has, so that a posting with a field `payload`, `data` or `op` stays a posting.
docs/feeds.md lists these signatures.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from consumer.errors import InvalidMessage
from consumer.feeds.json_values import parse_json
from consumer.feeds.kinds import ENVELOPES, Delete, Envelope

MAX_ENVELOPES = 4
"""How many envelopes may lie around each other."""
_FIRST_SIGNS = frozenset({"op", "__op", "__deleted", "payload", "specversion", "operationType"})
_DEBEZIUM_OPS = frozenset("crudtm")
_DEBEZIUM_FIELDS = frozenset({"before", "after", "op", "source", "ts_ms", "ts_us", "ts_ns", "transaction"})
_MONGODB_CHANGES = frozenset({"insert", "update", "replace"})
_MONGODB_DELETES = frozenset({"delete", "drop", "dropDatabase"})
_VERSION = re.compile(r"[._/-]v?[0-9]+(?:\.[0-9]+)*$")
_DELETE_WORD = re.compile(
    r"(?:(?:^|[^A-Za-z])(?:deleted|removed|delete|remove)|(?:Deleted|Removed|Delete|Remove))(?:[._-]?[Ee]vent)?$"
)
_TRUE = (True, "true", "True")

Opener = Callable[[dict[str, Any]], "Opened | None"]


@dataclass(frozen=True, slots=True)
class Opened:
    """What an envelope holds: any JSON value, or a Delete."""

    content: Any


class Unwrapped(NamedTuple):
    """What all envelopes of a message hold, a value or a Delete, and the envelopes, outermost first."""

    content: Any
    envelopes: tuple[Envelope, ...] = ()


def unwrap(value: Any, known: frozenset[Envelope]) -> Unwrapped:  # noqa: ANN401 - any JSON value
    """Return what lies in the envelopes of a value, of the `known` kinds only. JSON in a string is read once more.

    Raises InvalidMessage where an envelope holds no posting and is no delete.
    """
    if isinstance(value, str):
        value = _parse_text(value)
    if not isinstance(value, dict) or value.keys().isdisjoint(_FIRST_SIGNS):
        return Unwrapped(value)
    names: tuple[Envelope, ...] = ()
    while isinstance(value, dict) and not value.keys().isdisjoint(_FIRST_SIGNS) and len(names) < MAX_ENVELOPES:
        opened = ((name, _OPENERS[name](value)) for name in ENVELOPES if name in known and name in _OPENERS)
        name, content = next(((name, held.content) for name, held in opened if held is not None), (None, None))
        if name is None:
            break
        names, value = (*names, name), content
    return Unwrapped(value, names)


def find_binary_delete(headers: Iterable[tuple[str, bytes | None]]) -> Delete | None:
    """Return the delete that the headers of a CloudEvents event in binary mode announce; None where they announce none."""
    attributes = {name: value for name, value in headers if name in ("ce_specversion", "ce_type") and value is not None}
    if len(attributes) < 2:  # noqa: PLR2004 - both
        return None
    return _delete_by_type(attributes["ce_type"].decode("utf-8", "replace"))


def find_removed(fields: Mapping[str, Any]) -> Delete | None:
    """Return the delete that an advertisement without a title is, if it is marked as removed."""
    return Delete("removed", "an advertisement that was removed") if fields.get("removed") in _TRUE else None


def find_wrapped(fields: dict[str, Any]) -> dict[str, Any] | None:
    """Return the object that is the only field of a message, as in `{"job": {...}}`; None where there are others."""
    inner = fields
    for _ in range(MAX_ENVELOPES):
        only = next(iter(inner.values())) if len(inner) == 1 else None
        if not isinstance(only, dict):
            break
        inner = only
    return None if inner is fields else inner


def _open_debezium(value: dict[str, Any]) -> Opened | None:
    if value.get("__op") == "d" or value.get("__deleted") in _TRUE:  # ExtractNewRecordState has flattened it
        return Opened(Delete("debezium", "a Debezium change that deletes a row"))
    if not _is_debezium(value):
        return None
    op, row = value["op"], value.get("after")
    if op in ("d", "t"):
        return Opened(Delete("debezium", f"a Debezium change that deletes {'a row' if op == 'd' else 'all rows'} (op {op})"))
    if row is None:
        raise InvalidMessage("no_title", f"the Debezium change (op {op}) has no row in its field 'after'")
    return Opened(_parse_text(row))


def _is_debezium(value: dict[str, Any]) -> bool:
    op, source = value.get("op"), value.get("source")
    if not isinstance(op, str) or op not in _DEBEZIUM_OPS:
        return False
    from_connector = isinstance(source, dict) and "connector" in source
    if "before" not in value and "after" not in value:
        return from_connector
    rows = (value.get("before"), value.get("after"))
    return (from_connector or value.keys() <= _DEBEZIUM_FIELDS) and all(isinstance(row, dict | str | None) for row in rows)


def _open_connect(value: dict[str, Any]) -> Opened | None:
    schema = value.get("schema")
    if value.keys() != {"schema", "payload"} or not (
        schema is None or (isinstance(schema, dict) and isinstance(schema.get("type"), str))
    ):
        return None
    payload = value["payload"]
    return Opened(Delete("connect", "a Kafka Connect message without a payload") if payload is None else _parse_text(payload))


def _open_cloudevents(value: dict[str, Any]) -> Opened | None:
    if not all(isinstance(value.get(name), str) for name in ("specversion", "type", "source")):
        return None
    if (gone := _delete_by_type(value["type"])) is not None:
        return Opened(gone)
    return Opened(_add_debezium_op(_read_data(value), value.get("iodebeziumop")))


def _read_data(value: dict[str, Any]) -> Any:  # noqa: ANN401 - any JSON value
    data = value.get("data")
    is_encoded = value.get("datacontentencoding") == "base64"  # version 0.3
    if isinstance(encoded := data if is_encoded else value.get("data_base64"), str):
        return _decode_base64(encoded)
    if data is None:
        raise InvalidMessage("no_title", f"the CloudEvents event of type {value['type'][:100]!r} has no data")
    return _parse_text(data)


def _add_debezium_op(data: Any, op: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return the data of an event. Debezium has the letter of the change beside the data, which is then a whole change."""
    if not isinstance(op, str) or not isinstance(data, dict):
        return data
    change = data["payload"] if data.keys() == {"schema", "payload"} else data
    return {**change, "op": op} if isinstance(change, dict) and ("before" in change or "after" in change) else data


def _delete_by_type(event_type: str) -> Delete | None:
    if _DELETE_WORD.search(_VERSION.sub("", event_type)) is None:
        return None
    return Delete("cloudevents", f"a CloudEvents event of type {event_type[:100]!r}")


def _decode_base64(encoded: str) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return parse_json(base64.b64decode(encoded, validate=True))
    except (binascii.Error, ValueError) as error:
        raise InvalidMessage("invalid_field", f"data_base64: {error}", cause=error) from None


def _open_mongodb(value: dict[str, Any]) -> Opened | None:
    operation = value.get("operationType")
    if not isinstance(operation, str) or not ("documentKey" in value or "ns" in value or "clusterTime" in value):
        return None
    if operation in _MONGODB_DELETES:
        return Opened(Delete("mongodb", f"a MongoDB change event ({operation})"))
    document = _parse_text(value.get("fullDocument"))
    if operation not in _MONGODB_CHANGES or not isinstance(document, dict):
        raise InvalidMessage(
            "no_title",
            f"the MongoDB change event ({operation[:40]}) has no document in its field 'fullDocument'; "
            "for updates the connector must look documents up (updateLookup)",
        )
    key = value.get("documentKey")
    return Opened({**document, "_id": key["_id"]} if isinstance(key, dict) and "_id" in key else document)


def _parse_text(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a value, read once more where it is JSON in a string, as some connectors write rows."""
    return parse_json(value.encode()) if isinstance(value, str) and value.lstrip()[:1] in ("{", "[") else value


_OPENERS: Mapping[Envelope, Opener] = {
    "debezium": _open_debezium,
    "connect": _open_connect,
    "cloudevents": _open_cloudevents,
    "mongodb": _open_mongodb,
}
