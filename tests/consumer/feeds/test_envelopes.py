"""What is in an envelope is the posting, a delete is told from a broken message, and what only looks so stays a posting."""

import base64
import json
from typing import Any

import pytest

from consumer.errors import InvalidMessage
from consumer.feeds.kinds import ENVELOPES, Delete, Envelope
from consumer.messages import Headers
from schemas.events import JobPosting
from tests.support.messages import make_codec, make_message

ROW = {"id": 5, "title": "Barista", "body": "Makes coffee.", "op": "evening", "payload": 2, "data": {"shift": "late"}}
SOURCE = {"connector": "postgresql", "db": "board", "table": "posting"}


def decode(value: Any, *, headers: Headers = (), **options: Any) -> JobPosting | Delete:
    return make_codec(**options).decode(make_message(json.dumps(value).encode(), key=b"k", headers=headers))


def connect(payload: Any) -> dict[str, Any]:
    return {"schema": {"type": "struct", "optional": False, "fields": []}, "payload": payload}


def debezium(**fields: Any) -> dict[str, Any]:
    return {"before": None, "after": None, "source": SOURCE, "op": "u", "ts_ms": 1, "transaction": None, **fields}


def cloudevent(**fields: Any) -> dict[str, Any]:
    given = {"specversion": "1.0", "id": "event-1", "source": "/board", "type": "org.example.posting.changed.v1"}
    return {**given, **fields}


def mongodb(operation: str, **fields: Any) -> dict[str, Any]:
    return {"_id": {"_data": "82"}, "operationType": operation, "ns": {"db": "board", "coll": "posting"}, **fields}


ENVELOPED: dict[str, tuple[Any, tuple[Envelope, ...]]] = {
    "debezium, update": (debezium(before={"title": "Old"}, after=ROW), ("debezium",)),
    "debezium, without source": ({"before": None, "after": ROW, "op": "c", "ts_ms": 1}, ("debezium",)),
    "debezium, row as text": (debezium(after=json.dumps(ROW), op="r"), ("debezium",)),
    "connect": (connect(ROW), ("connect",)),
    "connect, without schema": ({"schema": None, "payload": ROW}, ("connect",)),
    "connect, of text": ({"schema": {"type": "string"}, "payload": json.dumps(ROW)}, ("connect",)),
    "debezium in connect": (connect(debezium(after=ROW)), ("connect", "debezium")),
    "cloudevents": (cloudevent(data=ROW), ("cloudevents",)),
    "cloudevents, data as text": (cloudevent(data=json.dumps(ROW)), ("cloudevents",)),
    "cloudevents, base64": (cloudevent(data_base64=base64.b64encode(json.dumps(ROW).encode()).decode()), ("cloudevents",)),
    "cloudevents 0.3, base64": (
        cloudevent(specversion="0.3", datacontentencoding="base64", data=base64.b64encode(json.dumps(ROW).encode()).decode()),
        ("cloudevents",),
    ),
    "debezium's cloudevents": (
        cloudevent(iodebeziumop="u", data={"before": {"title": "Old"}, "after": ROW}),
        ("cloudevents", "debezium"),
    ),
    "debezium's cloudevents, with schema": (
        cloudevent(iodebeziumop="c", data=connect({"before": None, "after": ROW})),
        ("cloudevents", "debezium"),
    ),
    "wrapper": ({"job": ROW}, ("wrapper",)),
    "wrapper in wrapper": ({"data": {"jobPosting": ROW}}, ("wrapper",)),
    "wrapper in cloudevents": (cloudevent(data={"posting": ROW}), ("cloudevents", "wrapper")),
    "payload alone": ({"payload": ROW}, ("wrapper",)),
    "a posting as text": (json.dumps(ROW), ()),
    "debezium as text": (json.dumps(debezium(after=ROW)), ("debezium",)),
    "debezium in cloudevents": (cloudevent(data=debezium(after=ROW)), ("cloudevents", "debezium")),
    "debezium in connect in cloudevents": (
        cloudevent(data=connect(debezium(after=ROW))),
        ("cloudevents", "connect", "debezium"),
    ),
}


@pytest.mark.parametrize("kind", ENVELOPED)
def test_what_an_envelope_holds_is_the_posting(kind: str) -> None:
    value, expected = ENVELOPED[kind]
    seen: list[Envelope] = []
    posting = decode(value, on_envelope=seen.append)
    assert isinstance(posting, JobPosting)
    assert (posting.posting_id, posting.title, posting.body) == ("5", "Barista", "Makes coffee.")
    assert {name: value for name, value in posting if name in ROW and name not in ("title", "body")} == {
        name: value for name, value in ROW.items() if name not in ("id", "title", "body")
    }
    assert tuple(seen) == expected


@pytest.mark.parametrize("operation", ["insert", "update", "replace"])
@pytest.mark.parametrize(
    ("key", "posting_id"),
    [
        ({"$oid": "65f0"}, "65f0"),
        ({"$numberLong": "12345678901"}, "12345678901"),
        ({"$date": "2026-01-01"}, "2026-01-01"),
        ("k7", "k7"),
    ],
)
def test_a_mongodb_document_has_the_key_of_its_event(operation: str, key: Any, posting_id: str) -> None:
    posting = decode(mongodb(operation, documentKey={"_id": key}, fullDocument={"title": "Barista", "pay": 3}))
    assert isinstance(posting, JobPosting)
    assert (posting.posting_id, posting.title, posting.model_extra) == (posting_id, "Barista", {"pay": 3})


def test_a_mongodb_document_as_text_keeps_an_identifier_of_its_own() -> None:
    event = mongodb("insert", documentKey={"_id": {"$oid": "65f0"}}, fullDocument='{"title": "Barista", "job_id": "j-1"}')
    posting = decode(connect(json.dumps(event)))
    assert isinstance(posting, JobPosting)
    assert posting.posting_id == "j-1"


DELETES: dict[str, tuple[Any, str]] = {
    "debezium, op d": (debezium(before={"id": 5, "title": "Barista"}, op="d"), "debezium"),
    "debezium, truncate": ({"source": SOURCE, "op": "t", "ts_ms": 1}, "debezium"),
    "debezium, flattened": ({**ROW, "__deleted": "true"}, "debezium"),
    "debezium, flattened op": ({**ROW, "__op": "d"}, "debezium"),
    "debezium in connect": (connect(debezium(before=ROW, op="d")), "debezium"),
    "connect": (connect(None), "connect"),
    "mongodb": (mongodb("delete", documentKey={"_id": {"$oid": "65f0"}}), "mongodb"),
    "mongodb, drop": (mongodb("drop"), "mongodb"),
    "cloudevents": (cloudevent(type="org.example.posting.deleted.v2", data=ROW), "cloudevents"),
    "cloudevents, of debezium": (cloudevent(iodebeziumop="d", data={"before": ROW, "after": None}), "debezium"),
    "cloudevents, an event": (cloudevent(type="PostingDeletedEvent"), "cloudevents"),
    "cloudevents, an event with a version": (cloudevent(type="posting.removed-event.v1"), "cloudevents"),
    "cloudevents, no data": (cloudevent(type="PostingRemoved"), "cloudevents"),
    "removed": ({"id": "9", "removed": True, "removed_date": "2026-11-21"}, "removed"),
    "removed, wrapped": ({"data": {"id": "9", "removed": True}}, "removed"),
    "removed, as Python writes it": ({"id": "9", "removed": "True"}, "removed"),
    "removed, as text": ({"id": "9", "removed": "true", "headline": None}, "removed"),
}


@pytest.mark.parametrize("kind", DELETES)
def test_a_delete_is_no_broken_message(kind: str) -> None:
    value, expected = DELETES[kind]
    assert isinstance(found := decode(value), Delete)
    assert found.kind == expected


def test_headers_of_a_binary_event_can_say_that_it_is_a_delete() -> None:
    headers: Headers = (("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_type", b"org.example.posting.deleted"))
    assert isinstance(decode({"id": 5}, headers=headers), Delete)
    assert isinstance(decode(ROW, headers=headers, envelopes=frozenset()), JobPosting)
    assert isinstance(decode(ROW, headers=(headers[0], ("ce_type", b"org.example.posting.created"))), JobPosting)
    assert isinstance(decode(ROW, headers=headers[1:]), JobPosting), "no event without ce_specversion"


@pytest.mark.parametrize(
    "fields",
    [
        {"op": "d", "before": 5, "after": 6},
        {"op": "c", "after": {"title": "Chef"}, "source": {"site": "north"}},
        {"payload": {"title": "Chef"}},
        {"schema": "v1", "payload": {"title": "Chef"}},
        {"schema": {"type": "struct"}, "payload": {"title": "Chef"}},
        {"data": {"title": "Chef"}, "type": "full-time", "source": "north"},
        {"specversion": 1, "type": "a.deleted", "source": "north"},
        {"operationType": "delete"},
        {"removed": True},
        {"removed": False},
        {"__deleted": "false", "__op": "u"},
        {"fullDocument": {"title": "Chef"}},
        {"job": {"title": "Chef"}},
    ],
)
def test_a_posting_that_only_looks_a_bit_like_an_envelope_stays_a_posting(fields: dict[str, Any]) -> None:
    posting = decode({"id": 1, "title": "Barista", **fields})
    assert isinstance(posting, JobPosting)
    assert (posting.title, posting.model_extra) == ("Barista", fields)


@pytest.mark.parametrize(
    ("value", "envelope"),
    [
        (debezium(after=ROW), "debezium"),
        (connect(ROW), "connect"),
        (cloudevent(data=ROW), "cloudevents"),
        (mongodb("insert", documentKey={"_id": 1}, fullDocument=ROW), "mongodb"),
        ({"id": 9, "removed": True}, "removed"),
        ({"job": ROW}, "wrapper"),
    ],
)
def test_an_envelope_can_be_switched_off(value: Any, envelope: Envelope) -> None:
    decode(value, envelopes=frozenset({envelope}))
    with pytest.raises(InvalidMessage, match="no_title"):
        decode(value, envelopes=frozenset(ENVELOPES) - {envelope})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (debezium(op="u"), "the Debezium change (op u) has no row in its field 'after'"),
        (cloudevent(), "has no data"),
        (mongodb("update", documentKey={"_id": 1}, fullDocument=None), "updateLookup"),
        (mongodb("rename"), "rename"),
    ],
)
def test_an_envelope_without_a_posting_says_so(value: Any, text: str) -> None:
    with pytest.raises(InvalidMessage, match="no_title") as refused:
        decode(value)
    assert text in refused.value.detail


def test_text_that_is_no_json_object_is_no_posting_in_a_string() -> None:
    for value in ("Barista", '"{}"', "5", ""):
        with pytest.raises(InvalidMessage, match="not_an_object"):
            decode(value)
    with pytest.raises(InvalidMessage, match="not_json"):
        decode("{Barista")


@pytest.mark.parametrize("event_type", ["posting.prevented", "DeletedEvents", "undeleted", "posting.deleted.seen"])
def test_an_event_whose_type_only_has_the_letters_of_a_delete_is_none(event_type: str) -> None:
    assert isinstance(decode(cloudevent(type=event_type, data=ROW)), JobPosting)


@pytest.mark.parametrize("data", ["%%%", "AAA", base64.b64encode(b"\xff").decode()])
def test_base64_that_holds_no_json_is_refused(data: str) -> None:
    with pytest.raises(InvalidMessage):
        decode(cloudevent(data_base64=data))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"event": "created", "job": ROW}, "if 'job' is the posting, set a mapping: --mapping title=job.title"),
        ({"page": 1, "hits": [ROW, ROW]}, "if 'hits' is a batch of postings, let the producer send each"),
        ({"data": {"page": 1, "hits": [ROW]}}, "if 'hits' is a batch of postings"),
        ({"data": [ROW]}, "if 'data' is a batch of postings"),
        ({"a b": ROW, "n": 1}, "others is there"),
        ({"event": "created", "job": {"code": 7}}, "others is there"),
    ],
)
def test_a_posting_that_may_lie_elsewhere_is_pointed_at(value: Any, text: str) -> None:
    with pytest.raises(InvalidMessage, match="no_title") as refused:
        decode(value)
    assert text in refused.value.detail[:1_000]


def test_envelopes_are_taken_off_to_a_bounded_depth() -> None:
    value: Any = ROW
    for _ in range(4):
        value = connect(value)
    assert isinstance(decode(value), JobPosting)
    with pytest.raises(InvalidMessage, match="no_title"):
        decode(connect(value))


@pytest.mark.parametrize("wrap", [lambda rows: rows, connect, lambda rows: cloudevent(data=rows)])
def test_a_batch_is_refused_with_its_size_and_the_way_out(wrap: Any) -> None:
    with pytest.raises(InvalidMessage, match=r"not_an_object: a batch of 2 postings in one message.*as a message of its own"):
        decode(wrap([ROW, ROW]))
