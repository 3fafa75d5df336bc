"""A dead letter is the message, untouched, with the whole story of how it came to that in headers of its own."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.dead_letter_record import HEADER_NAMES, HEADER_PREFIX, DeadLetter, app_version
from consumer.enrich import enrich
from consumer.errors import InvalidMessage
from consumer.messages import Headers, Message, Record
from consumer.metrics import Metrics
from consumer.model.scorer import Scorer
from tests.support.messages import make_codec, make_message, posting_bytes
from tests.support.tiny_model import LetterEncoder, tiny_scorer

some_headers = st.lists(st.tuples(st.text(max_size=9), st.none() | st.binary(max_size=9)), max_size=3).map(tuple)
anything = st.text(st.characters())  # lone surrogates too


def made(source: Message, error: InvalidMessage | None = None) -> Record:
    return make_codec().dead_letter(source, error or InvalidMessage("not_json", "no"), stage="decode", model_version="v1")


def read(record: Record, *, offset: int = 7) -> DeadLetter:
    """What a reader of the dead-letter topic makes of a record."""
    letter = DeadLetter.parse(Message(record.topic, record.input_partition, offset, record.key, record.value, record.headers, 99))
    assert letter is not None
    return letter


@given(st.none() | st.binary(), st.none() | st.binary(), some_headers, anything)
def test_a_dead_letter_keeps_the_original_untouched(key: bytes | None, value: bytes | None, headers: Any, detail: str) -> None:
    source = Message("postings.raw", 3, 14, key, value, headers, 1_735_689_600_000)
    record = made(source, InvalidMessage("not_json", detail))
    assert (record.topic, record.key, record.value, record.input_partition) == ("postings.dead-letters", key, value, 3)
    assert record.headers[: len(headers)] == headers
    assert [name for name, _ in record.headers[len(headers) :]] == [HEADER_PREFIX + name for name in HEADER_NAMES]
    assert read(record).headers == headers


def test_the_story_is_read_back_as_it_was_written() -> None:
    letter = read(
        made(Message("in", 3, 14, b"k", b"v", (), 1_735_689_600_000), InvalidMessage("not_json", "x", cause=ValueError()))
    )
    assert (letter.reason, letter.error, letter.error_class, letter.stage) == ("not_json", "x", "ValueError", "decode")
    assert (letter.topic, letter.partition, letter.offset, letter.timestamp_ms) == ("in", 3, 14, 1_735_689_600_000)
    assert (letter.attempt, letter.app_version, letter.model_version) == (1, app_version(), "v1")
    assert (letter.event_id, letter.position) == ("in:3:14", "postings.dead-letters:3:7")


def failing_scorer() -> Scorer:
    class Failing(LetterEncoder):
        def encode(self, texts: Any) -> Any:
            if "poison" in texts:
                raise ArithmeticError("no")
            return super().encode(texts)

    return tiny_scorer("v7", encoder=Failing())


@pytest.mark.parametrize(
    ("value", "stage", "error_class"),
    [
        (None, "decode", "InvalidMessage"),
        (b"\xff", "decode", "UnicodeDecodeError"),
        (b"{", "decode", "ValueError"),
        (b"{}", "decode", "InvalidMessage"),
        (posting_bytes("poison"), "score", "ArithmeticError"),
        (posting_bytes("Cook", body="x" * 900), "encode", "InvalidMessage"),
    ],
)
def test_a_letter_tells_where_it_failed_on_what_and_by_which_model(value: bytes | None, stage: str, error_class: str) -> None:
    (outcome,) = enrich(
        [make_message(value)], failing_scorer(), make_codec(max_message_bytes=1_000, on_delete="dead-letter"), Metrics()
    )
    letter = read(outcome.record)
    assert (letter.stage, letter.error_class, letter.model_version) == (stage, error_class, "v7")


def test_of_a_replayed_message_the_attempt_is_counted_up_and_the_old_story_replaced() -> None:
    headers: Headers = (("trace", b"1"), ("dead-letter.of-others", b"kept"), ("trace", b"2"))
    record = made(Message("in", 3, 14, None, b"v", headers, 1))
    for attempt in (2, 3):
        record = made(Message("in", 3, 20 + attempt, None, b"v", record.headers, 2))
        assert len(record.headers) == len(headers) + len(HEADER_NAMES)
        letter = read(record)
        assert (letter.attempt, letter.event_id, letter.headers) == (attempt, f"in:3:{20 + attempt}", headers)


@pytest.mark.parametrize("nonsense", [None, b"", b"-1", b"many", b"\xff", b"1" * 40])
def test_an_attempt_that_is_no_number_counts_as_none(nonsense: bytes | None) -> None:
    assert read(made(make_message(b"{", headers=(("dead-letter.attempt", nonsense),)))).attempt == 1


def without(name: str) -> Callable[[Headers], Headers]:
    return lambda headers: tuple(pair for pair in headers if pair[0] != HEADER_PREFIX + name)


@pytest.mark.parametrize("name", ["reason", "topic", "partition", "offset"])
def test_what_does_not_say_where_it_came_from_and_why_is_no_dead_letter(name: str) -> None:
    record = made(make_message(b"{"))
    assert DeadLetter.parse(Message("dead", 0, 0, None, b"{", without(name)(record.headers))) is None


def test_a_letter_of_an_older_version_is_read() -> None:
    record = made(make_message(b"{"))
    old = record.headers
    for name in ("error-class", "stage", "attempt", "app-version", "model-version"):
        old = without(name)(old)
    letter = DeadLetter.parse(Message("dead", 0, 0, None, b"{", old))
    assert letter is not None
    assert (letter.reason, letter.stage, letter.attempt, letter.model_version) == ("not_json", "", 1, "")
