"""Whatever the bytes, a message is a posting or a dead letter: nothing is lost, changed or made up on the way."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consumer.enrich import enrich
from consumer.errors import DEAD_LETTER_REASONS, MAX_DETAIL_CHARS, MAX_QUOTED_CHARS, InvalidMessage
from consumer.feeds.json_values import MAX_DEPTH
from consumer.feeds.kinds import Delete
from consumer.metrics import Metrics
from schemas.events import EnrichedPosting, JobPosting, ModelInfo
from tests.support.fuzzing import exact_json, is_known_name
from tests.support.messages import make_codec, make_message, posting_bytes
from tests.support.tiny_model import tiny_scorer

MODEL = ModelInfo(version="v1", encoder_id="e", taxonomy_version="t", trained_at=datetime(2025, 1, 1, tzinfo=UTC))
anything = st.text(st.characters())  # lone surrogates too
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | anything,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(anything, inner, max_size=4),
    max_leaves=12,
)


def outcome(value: bytes | None) -> JobPosting | str:
    """The posting, or the reason why there is none; any other exception fails the test."""
    codec = make_codec(max_message_bytes=1_000_000, on_delete="dead-letter")
    try:
        decoded = codec.decode(make_message(value))
        if isinstance(decoded, Delete):
            raise codec.refuse_delete(decoded) or AssertionError("a delete must be a dead letter here")
        return decoded  # noqa: TRY300 - the error above is one of the outcomes
    except InvalidMessage as error:
        return DEAD_LETTER_REASONS[DEAD_LETTER_REASONS.index(error.reason)]


def enriched(posting: JobPosting) -> EnrichedPosting:
    return EnrichedPosting(
        event_id="postings.raw:0:0", posting=posting, occupations=(), decision="review", model=MODEL, enriched_at=MODEL.trained_at
    )


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "null_value"),
        (b'{"id": 7, "removed": true}', "deleted"),
        (b'\x00\x00\x00\x00\x07{"title": "Cook"}', "schema_framing"),
        (b"x" * 1_000_001, "too_large"),
        (b'{"title": "Caf\xe9"}', "not_utf8"),
        (b'{"title": "\xed\xa0\x80"}', "not_utf8"),  # a surrogate encoded as if it were a character
        (b"", "not_json"),
        (b'{"title": "Cook"', "not_json"),
        (b'{"title": "Cook"} {}', "not_json"),
        (b'{"title": "Cook", "pay": nan}', "not_json"),
        (b'{"title": "Cook", "title": "Chef"}', "not_json"),
        (b'{"title": "Cook", "n": ' + b"9" * 5_000 + b"}", "not_json"),
        (b"[" * 100_000, "not_json"),
        (b'["Cook"]', "not_an_object"),
        (b"null", "not_an_object"),
        (b"{}", "no_title"),
        (posting_bytes(None), "no_title"),
        (posting_bytes(""), "empty_title"),
        (posting_bytes(" \u00a0\n"), "empty_title"),
        (posting_bytes("x" * 1_001), "title_too_long"),
        (posting_bytes(7), "invalid_field"),
        (posting_bytes({"de": "Koch"}), "invalid_field"),
        (posting_bytes("Cook", ID={"board": "north"}), "invalid_field"),
        (b'{"title": "Cook \\ud800"}', "invalid_text"),
        (b'{"title": "Cook", "\\udfff": 1}', "invalid_text"),
    ],
)
def test_each_kind_of_bad_message_is_refused_for_its_reason(value: bytes | None, reason: str) -> None:
    assert outcome(value) == reason


def test_unreadable_headers_make_a_dead_letter_that_keeps_key_and_value() -> None:
    flawed = replace(make_message(posting_bytes("Cook"), key=b"k"), flaw="the name of a header is not UTF-8")
    with pytest.raises(InvalidMessage, match="invalid_headers: the name of a header") as refused:
        make_codec().decode(flawed)
    letter = make_codec().dead_letter(flawed, refused.value, stage="decode", model_version="v1")
    assert (letter.key, letter.value) == (b"k", flawed.value)
    assert ("dead-letter.reason", b"invalid_headers") in letter.headers


def test_a_header_that_names_the_schema_of_the_input_never_stands_on_the_output() -> None:
    named = replace(make_message(posting_bytes("Cook")), headers=(("a", b"1"), ("__value_schema_id", b"\0\0\0\0\7"), ("b", b"2")))
    names = [name for name, _value in make_codec().encode(named, enriched(make_codec().decode(named))).headers]
    assert names == ["a", "b", "occustream.event-id", "occustream.model-version"]
    letter = make_codec().dead_letter(named, InvalidMessage("not_decoded", ""), stage="decode", model_version="v1")
    assert letter.headers[:3] == named.headers


@pytest.mark.parametrize(
    "value",
    [
        b'{"%s": 1, "%s": 2}' % (b"k" * 9_000, b"k" * 9_000),
        b'{"id": 7, "%s": {"title": "Cook"}}' % (b"k" * 9_000),
        b'{"%s": [{"title": "Cook"}]}' % (b"k" * 9_000),
        b'{"type": "%s", "specversion": "1.0", "id": "1", "source": "s"}' % (b"k" * 9_000),
    ],
)
def test_an_error_holds_no_more_of_a_messages_keys_than_a_bound(value: bytes) -> None:
    with pytest.raises(InvalidMessage) as refused:
        make_codec().decode(make_message(value))
    assert str(refused.value).count("k") < 100 + MAX_QUOTED_CHARS


def test_whatever_an_error_quotes_it_is_cut() -> None:
    error = InvalidMessage("not_scored", "x" * 10_000)
    assert (len(error.detail), len(str(error))) == (MAX_DETAIL_CHARS, MAX_DETAIL_CHARS + len("not_scored: "))


def test_every_reason_is_one_that_the_table_above_proves() -> None:
    table = test_each_kind_of_bad_message_is_refused_for_its_reason.pytestmark[0].args[1]  # type: ignore[attr-defined] # pytest's own
    assert {reason for _value, reason in table} == set(DEAD_LETTER_REASONS) - {
        "not_scored",
        "invalid_headers",
        "unknown_schema",
        "not_decoded",
    }, "the model, the client, the schema registry"


@pytest.mark.parametrize(
    "value",
    [
        posting_bytes("x" * 1_000),
        b"\xef\xbb\xbf" + posting_bytes(),
        posting_bytes("Cook 👩‍🍳", body=None, ID=None),
        b'{"title": "Cook \\ud83d\\ude00"}',
        posting_bytes("Cook", body="x" * 900_000),
    ],
)
def test_a_message_at_the_edge_of_the_rules_is_a_posting(value: bytes) -> None:
    assert isinstance(outcome(value), JobPosting)


@pytest.mark.parametrize(
    ("key", "fields", "posting_id"),
    [
        (b"k", {"ID": 7}, "7"),
        (b"k", {}, "k"),
        (b"k", {"ID": None}, "k"),
        (None, {}, "postings.raw:2:9"),
        (b"\xff", {}, "postings.raw:2:9"),
    ],
)
def test_a_posting_without_identifier_gets_its_key_else_its_place(
    key: bytes | None, fields: dict[str, Any], posting_id: str
) -> None:
    posting = make_codec().decode(make_message(posting_bytes(**fields), partition=2, offset=9, key=key))
    assert isinstance(posting, JobPosting)
    assert posting.posting_id == posting_id


@given(st.binary())
def test_any_bytes_are_a_posting_or_an_invalid_message(value: bytes) -> None:
    outcome(value)


@given(json_values)
def test_any_json_is_a_posting_or_an_invalid_message(value: Any) -> None:
    outcome(json.dumps(value).encode())


@given(st.dictionaries(anything, json_values, max_size=5), st.text(min_size=1, max_size=30), st.booleans())
@example({"n": 10**4_000, "x": [-0.0, 5e-324, 2**64, True, 1.0, "\x00"], "": None, "model_fields": 1}, "Cook", True)
def test_whatever_decodes_encodes_with_all_unknown_fields_unchanged(fields: dict[str, Any], title: str, ascii_only: bool) -> None:
    given_fields = {**fields, "title": title}
    source = make_message(
        json.dumps(given_fields, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass"), key=b"\xff", headers=(("a", None),)
    )
    try:
        posting = make_codec().decode(source)
    except InvalidMessage:
        return
    if isinstance(posting, Delete):
        return
    record = make_codec().encode(source, enriched(posting))
    sent, written = exact_json(source.value or b""), exact_json(record.value or b"")["posting"]
    unknown = {name: value for name, value in sent.items() if not is_known_name(name)}
    assert {name: written[name] for name in unknown} == unknown
    assert (record.key, record.input_partition) == (source.key, source.partition)
    assert record.headers == (("a", None), ("occustream.event-id", b"postings.raw:0:0"), ("occustream.model-version", b"v1"))


@pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ('{"a": ', "}"), ('[{"a": ', "}]")])
def test_what_nests_deeper_than_its_readers_go_is_no_posting(opened: str, closed: str) -> None:
    def nested(depth: int) -> bytes:
        times = (depth - 1) // len(closed)  # the posting itself is one
        return f'{{"title": "Cook {{[", "x": {opened * times}1{closed * times}}}'.encode()

    source = make_message(nested(MAX_DEPTH))
    posting = make_codec().decode(source)
    assert isinstance(posting, JobPosting)
    written = make_codec().encode(source, enriched(posting)).value or b""
    assert EnrichedPosting.model_validate_json(written).posting == posting
    assert outcome(nested(MAX_DEPTH + 2)) == "not_json"


@pytest.mark.parametrize("depth", [100, 250, 300, 900])
def test_a_deeply_nested_posting_is_enriched_or_a_dead_letter(depth: int) -> None:
    bad = make_message(b'{"title": "Cook", "x": ' + b"[" * depth + b"]" * depth + b"}")
    assert len(enrich([bad], tiny_scorer(), make_codec(), Metrics())) == 1


def test_a_posting_that_outgrows_the_limit_once_enriched_is_a_dead_letter() -> None:
    value = posting_bytes("Cook", body="x" * 900)
    done = enrich([make_message(value)], tiny_scorer(), make_codec(max_message_bytes=1_000), Metrics())[0]
    assert (done.error and done.error.reason, done.record and done.record.value) == ("too_large", value)


@given(st.lists(st.booleans(), max_size=12))
def test_one_bad_message_leaves_its_batch_neighbours_unharmed(good: list[bool]) -> None:
    titles = [f"Cook {offset}" for offset in range(len(good))]
    batch = [
        make_message(posting_bytes(t) if ok else b"\xff", offset=i) for i, (t, ok) in enumerate(zip(titles, good, strict=True))
    ]
    outcomes = enrich(batch, tiny_scorer(), make_codec(), Metrics())
    assert [done.message for done in outcomes] == batch
    assert [done.error is None for done in outcomes] == good
    for done, title in zip(outcomes, titles, strict=True):
        if done.error is None:
            written = EnrichedPosting.model_validate_json((done.record and done.record.value) or b"")
            assert (written.posting.title, written.event_id) == (title, done.message.event_id)
            assert (len(written.occupations), written.model.version) == (3, "v1")
