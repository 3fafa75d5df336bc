"""Records as CloudEvents: the attributes that the specification requires, and no second event in the same headers."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from consumer.cloud_events import CloudEvents
from consumer.errors import InvalidMessage
from schemas.events import EnrichedPosting, JobPosting, ModelInfo
from tests.support.messages import make_codec, make_message

MODEL = ModelInfo(version="v1", encoder_id="e", taxonomy_version="t", trained_at=datetime(2025, 1, 1, tzinfo=UTC))
EVENTS = CloudEvents("/boards/north")
INPUT = (("trace", b"1"), ("ce_id", b"theirs"), ("CE_Type", b"theirs"), ("Content-Type", b"text/plain"), ("ce", b"kept"))


def enriched(posting_id: str = "p-7", at: datetime = datetime(2025, 6, 2, 8, 30, tzinfo=UTC)) -> EnrichedPosting:
    posting = JobPosting(posting_id=posting_id, title="Nurse")
    return EnrichedPosting(
        event_id="postings.raw:3:7", posting=posting, occupations=(), decision="review", model=MODEL, enriched_at=at
    )


def test_an_enriched_posting_is_a_cloud_event_in_binary_mode() -> None:
    record = make_codec(cloud_events=EVENTS).encode(make_message(headers=INPUT, partition=3, offset=7), enriched())
    assert record.headers == (
        ("trace", b"1"),
        ("ce", b"kept"),
        ("occustream.event-id", b"postings.raw:3:7"),
        ("occustream.model-version", b"v1"),
        ("ce_specversion", b"1.0"),
        ("ce_id", b"postings.raw:3:7"),
        ("ce_source", b"/boards/north"),
        ("ce_type", b"occustream.posting.enriched.v1"),
        ("ce_time", b"2025-06-02T08:30:00Z"),
        ("ce_subject", b"p-7"),
        ("content-type", b"application/json"),
    )


def test_without_the_setting_a_record_is_no_cloud_event_even_if_its_message_was_one() -> None:
    record = make_codec().encode(make_message(headers=INPUT), enriched())
    assert [name for name, _value in record.headers] == ["trace", "ce", "occustream.event-id", "occustream.model-version"]


def test_an_attribute_is_never_empty_and_its_time_is_utc() -> None:
    at = datetime(2025, 6, 2, 10, 30, 0, 250_000, tzinfo=timezone(timedelta(hours=2)))
    headers = dict(EVENTS.enriched_headers(enriched(posting_id="", at=at)))
    assert "ce_subject" not in headers
    assert headers["ce_time"] == b"2025-06-02T08:30:00.250000Z"


@pytest.mark.parametrize(
    ("timestamp_ms", "time"), [(1_748_853_000_000, b"2025-06-02T08:30:00Z"), (None, None), (10**17, None), (-(10**17), None)]
)
def test_a_delete_that_is_forwarded_is_an_event_without_content(timestamp_ms: int | None, time: bytes | None) -> None:
    message = make_message(None, key=b"k", headers=INPUT, timestamp_ms=timestamp_ms)
    record = make_codec(cloud_events=EVENTS).encode_delete(message)
    assert record is not None
    headers = dict(record.headers)
    assert (headers["ce_type"], headers["ce_id"]) == (b"occustream.posting.deleted.v1", b"postings.raw:0:0")
    assert headers.get("ce_time") == time
    assert "content-type" not in {name.lower() for name in headers}


def test_a_dead_letter_keeps_the_headers_of_its_message() -> None:
    codec = make_codec(cloud_events=EVENTS)
    message = make_message(b"", headers=INPUT)
    letter = codec.dead_letter(message, InvalidMessage("not_json", "no"), stage="decode", model_version="v1")
    assert letter.headers[: len(INPUT)] == INPUT
