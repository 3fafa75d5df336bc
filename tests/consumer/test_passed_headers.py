"""A record has its message's headers, but one trace, no forgery of ours, and nothing that describes other bytes than its own."""

from datetime import UTC, datetime

import pytest

from consumer.errors import InvalidMessage
from consumer.messages import Headers, Message
from schemas.events import EnrichedPosting, JobPosting, ModelInfo
from tests.support.messages import IN, make_codec, posting_bytes

MODEL = ModelInfo(version="v1", encoder_id="e", taxonomy_version="t", trained_at=datetime(2025, 1, 1, tzinfo=UTC))
OLD, NEW = (b"00-%s-b7ad6b716920333%d-01" % (b"0af7651916cd43dd8448eb211c80319c", n) for n in (1, 2))
OURS = (
    ("occustream.event-id", b"postings.raw:3:14"),
    ("occustream.timestamp-ms", b"1735689600000"),
    ("occustream.model-version", b"v1"),
)


def message(
    headers: Headers, *, value: bytes | None = posting_bytes("Cook"), timestamp_ms: int | None = 1_735_689_600_000
) -> Message:
    return Message(IN, 3, 14, b"k", value, headers, timestamp_ms)


def enriched_headers(source: Message) -> Headers:
    posting = JobPosting(posting_id="p", title="Cook")
    event = EnrichedPosting(
        event_id=source.event_id,
        posting=posting,
        occupations=(),
        decision="review",
        model=MODEL,
        enriched_at=datetime(2025, 6, 2, tzinfo=UTC),
    )
    return make_codec().encode(source, event).headers


def letter_headers(source: Message) -> Headers:
    return make_codec().dead_letter(source, InvalidMessage("not_json", "no"), stage="decode", model_version="v1").headers


def test_the_time_of_the_message_travels_with_its_record() -> None:
    assert enriched_headers(message(())) == OURS
    assert "occustream.timestamp-ms" not in dict(enriched_headers(message((), timestamp_ms=None)))
    deleted = make_codec().encode_delete(message((("n", b"1"),), value=None))
    assert deleted is not None
    assert deleted.headers == (("n", b"1"), *OURS[:2])


def test_a_forged_header_of_ours_does_not_stand_before_ours() -> None:
    forged = tuple((name, b"forged") for name in ("occustream.event-id", "Occustream.Model-Version", "occustream.x"))
    assert enriched_headers(message((*forged, ("n", b"1")))) == (("n", b"1"), *OURS)
    deleted = make_codec().encode_delete(message(forged, value=None))
    assert deleted is not None
    assert deleted.headers == OURS[:2]


@pytest.mark.parametrize(
    "name",
    [
        "__value_schema_id", "__key_schema_id", "ce_id", "ce_datacontenttype", "CE_Type", "cloudEvents:type", "Content-Type",
        "content-encoding", "contentType", "__TypeId__", "apicurio.value.globalId", "dataschema",
    ],
)  # fmt: skip
def test_a_header_that_describes_the_messages_bytes_is_not_on_its_record(name: str) -> None:
    source = message(((name, b"7"), ("n", b"1")))
    assert name not in dict(enriched_headers(source))
    assert enriched_headers(source)[0] == ("n", b"1")
    assert letter_headers(source)[:2] == source.headers, "the dead letter has the bytes that it describes"


def test_the_schema_of_a_key_is_kept_under_a_name_of_ours() -> None:
    assert dict(enriched_headers(message((("__key_schema_id", b"\1\2"),))))["occustream.key-schema-id"] == b"\1\2"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ([OLD], [OLD]),
        ([OLD, NEW], [NEW]),
        ([NEW, OLD, b"nonsense", None], [OLD]),
        ([b"nonsense", b"more"], [b"more"]),
        ([], []),
    ],
)
def test_a_posting_has_one_trace_and_its_dead_letter_has_the_same(given: list[bytes | None], kept: list[bytes]) -> None:
    names = ("traceparent", "Traceparent")
    source = message((("a", b"1"), *((names[n % 2], value) for n, value in enumerate(given)), ("tracestate", b"x=1")))
    for headers in (enriched_headers(source), letter_headers(source)):
        assert [value for name, value in headers if name.lower() == "traceparent"] == kept
        assert {name: value for name, value in headers if name in ("a", "tracestate")} == {"a": b"1", "tracestate": b"x=1"}
