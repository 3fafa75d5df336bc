"""Messages as no publisher should send them, and the laws that the codec keeps for each; for tests and benchmarks."""

import json
import math
import random
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import filterfalse
from typing import Any, NoReturn

from consumer.codec import Codec
from consumer.errors import DEAD_LETTER_REASONS, InvalidMessage
from consumer.feeds.envelopes import find_wrapped, unwrap
from consumer.feeds.json_values import parse_json
from consumer.feeds.kinds import ENVELOPES, Delete
from consumer.feeds.names import NAMES as FIELD_NAMES
from consumer.messages import Message
from schemas.events import EnrichedPosting, ModelInfo
from schemas.tables import column_key

MODEL = ModelInfo(version="v1", encoder_id="e", taxonomy_version="t", trained_at=datetime(2025, 1, 1, tzinfo=UTC))
INPUT_NAMES = frozenset(name for names in FIELD_NAMES.values() for name in names)
OTHER_SPELLINGS = frozenset(column_key(name) for field in ("title", "body", "posting_id") for name in FIELD_NAMES[field])
NAMES = (
    *sorted(INPUT_NAMES),
    "original_title",
    "_fields_set",
    "",
    "pay",
    "title ",
    "Titel",
    "model_fields",
    "__class__",
    "schema_version",
    "\x00",
    "é",
    "\ud800",
)
TEXTS = (
    "",
    " ",
    "Cook",
    "Registered Nurse",
    "護士",
    "👩\u200d🍳",
    "e\u0301",
    "\ufeff",
    "\u202e",
    "\x00",
    "\x1f",
    "\ud800",
    "\udfff\ud800",
)
NUMBERS = ("0", "-0", "-0.0", "1e-400", "1e308", "1e309", "-1e999", "9" * 400, "9" * 4_301, "0.1", "2e2", "18446744073709551616")
NO_JSON = ("NaN", "-Infinity", "01", "+1", ".5", "1.", "nul", "True", "'x'", "undefined", "\\u0041", "{,}", "[1,]", "\ufeff1")
PIECES = (
    *(
        b'"',
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b",",
        b"\x00",
        b"NaN",
        b"1e999",
        b'"title":',
        b"null",
        b"[" * 300,
        b'{"a":' * 300,
    ),
    *(b"\xff", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"\xe2\x82", b"\xef\xbb\xbf", b"\\ud800", b"\\u"),
)
GOOD = b'{"ID": "7", "TITLE_RAW": "Registered Nurse \xe2\x80\x93 ICU", "BODY": "Cares.", "pay": [31.5, null, {"per": "hour"}]}'


def random_message(rng: random.Random) -> Message:
    """Return a message of any kind; the same for the same state of `rng`."""
    key = rng.choice((None, b"", b"k", b"\xff\x00", rng.randbytes(rng.randrange(20))))
    names = ("", "a", "dead-letter.reason", "é", "ce_specversion", "ce_type")
    values = (None, b"", b"\xff", b"1.0", b"posting.deleted")
    headers = tuple((rng.choice(names), rng.choice(values)) for _ in range(rng.randrange(3)))
    value = None if rng.random() < 0.01 else rng.choice(KINDS)(rng)
    return Message("postings.raw", rng.randrange(8), rng.randrange(2**40), key, value, headers, rng.choice((None, 0, 2**41)))


def check_codec_laws(codec: Codec, source: Message, *, mapped: bool = False) -> str:
    """Return `enriched`, `delete`, or the reason of the dead letter. Whatever it raises is a broken law.

    `mapped`: the codec finds fields by a mapping, which may take them from anywhere.
    """
    try:
        posting = codec.decode(source)
        if isinstance(posting, Delete):
            return _check_delete(codec, source, posting)
        enriched = EnrichedPosting(
            event_id=source.event_id,
            posting=posting,
            occupations=(),
            decision="review",
            model=MODEL,
            enriched_at=MODEL.trained_at,
        )
        record = codec.encode(source, enriched)
    except InvalidMessage as error:
        return _check_letter(codec, source, error)
    written = (record.value or b"").decode("utf-8")  # lone surrogates fail here
    json.loads(written, parse_constant=_refuse, object_pairs_hook=_unique)
    read, rest = EnrichedPosting.model_validate_json(written), {"posting"}
    assert read.model_dump(exclude=rest) == enriched.model_dump(exclude=rest), "what was written is not what was meant"
    for field in ("posting_id", "title", "body"):
        assert getattr(read.posting, field) == getattr(posting, field), f"{field} is not what was meant"
    if not mapped and _is_bare(parse_json(source.value or b"")):
        sent, came = exact_json(source.value or b""), exact_json(record.value or b"")["posting"]
        for name in filterfalse(is_known_name, sent):
            assert came[name] == sent[name], f"the field {name!r} has changed"
    assert record.key == source.key, "the key has changed"
    return "enriched"


def _is_bare(value: Any) -> bool:
    """Return whether a posting lies in no envelope."""
    return isinstance(value, dict) and find_wrapped(value) is None and not unwrap(value, frozenset(ENVELOPES)).envelopes


def is_known_name(name: str) -> bool:
    """Return whether a field of this name may be taken for one of the posting's own."""
    return name in INPUT_NAMES or column_key(name) in OTHER_SPELLINGS


def exact_json(value: bytes) -> Any:
    """Return JSON with each number that has a point or an exponent as its own text; NaN and what no double holds as None."""

    def digits(text: str) -> tuple[str] | None:
        return (text,) if math.isfinite(float(text)) else None

    return json.loads(value.decode("utf-8-sig"), parse_float=digits, parse_constant=lambda _name: None)


def _check_delete(codec: Codec, source: Message, delete: Delete) -> str:
    record = codec.encode_delete(source)
    assert (record is None) == (source.key is None), "only a delete without a key is skipped"
    assert record is None or (record.key, record.value) == (source.key, None), "a delete has changed"
    assert codec.refuse_delete(delete) is None, "a delete is no dead letter unless asked for"
    return "delete"


def _check_letter(codec: Codec, source: Message, error: InvalidMessage) -> str:
    assert error.reason in DEAD_LETTER_REASONS, "a reason that nobody knows"
    letter = codec.dead_letter(source, error, stage="decode", model_version="v1")
    assert (letter.key, letter.value) == (source.key, source.value), "a dead letter has changed"
    assert all(isinstance(value, bytes | None) for _name, value in letter.headers), "a header that no broker takes"
    return error.reason


def _refuse(name: str) -> NoReturn:
    raise AssertionError(f"{name} was written")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs), "a key was written twice"
    return dict(pairs)


def _raw(rng: random.Random) -> bytes:
    return rng.randbytes(rng.randrange(60))


def _text(rng: random.Random) -> bytes:
    return "".join(chr(rng.randrange(0x110000)) for _ in range(rng.randrange(30))).encode("utf-8", "surrogatepass")


def _mutated(rng: random.Random) -> bytes:
    """A good posting, or a structured one, with some bytes turned, cut, doubled or put in."""
    value = bytearray(GOOD if rng.random() < 0.5 else _structured(rng))
    for _ in range(rng.randrange(1, 5)):
        at, end = sorted(rng.randrange(len(value) + 1) for _ in range(2))
        change = rng.randrange(5)
        if change == 0 and at < len(value):
            value[at] ^= 1 << rng.randrange(8)
        elif change == 1:
            del value[at:end]
        elif change == 2:
            value[at:at] = value[at : min(end, at + 200)]
        elif change == 3:
            value[at:at] = rng.choice(PIECES)
        else:
            del value[at:]
    return bytes(value)


def _structured(rng: random.Random) -> bytes:
    """An object of known and odd names and of odd values, spaced and escaped in either way; sometimes with a key twice."""
    fields = [(rng.choice(NAMES), _value(rng, 3)) for _ in range(rng.randrange(6))]
    if rng.random() < 0.8:
        fields.append((rng.choice(("title", "TITLE_RAW", "jobTitle")), _string(rng) if rng.random() < 0.9 else _value(rng, 2)))
    rng.shuffle(fields)
    if rng.random() < 0.9:
        fields = list(dict(fields).items())
    colon, comma = rng.choice(((":", ","), (" : ", " ,\n\t")))
    text = "{" + comma.join(f"{_quoted(rng, name)}{colon}{value}" for name, value in fields) + "}"
    return rng.choice(("", "", "", "\ufeff", " \r\n")).encode() + text.encode(
        "utf-8", rng.choice(("surrogatepass", "replace", "replace"))
    )


def _any_json(rng: random.Random) -> bytes:
    return _value(rng, 3).encode("utf-8", "replace")


def _encoded_otherwise(rng: random.Random) -> bytes:
    text = _structured(rng).decode("utf-8", "replace")
    return text.encode(rng.choice(("utf-16", "utf-32", "utf-16-le", "latin-1", "cp500")), "replace")


def _deep(rng: random.Random) -> bytes:
    depth = int(10 ** rng.uniform(0, 4))
    opened, closed = rng.choice((("[", "]"), ('{"a":', "}")))
    inner = opened * depth + rng.choice(("1", "", '"x"')) + closed * rng.choice((depth, depth, depth - 1))
    return f'{{"title": "Cook", "x": {inner}}}'.encode()


def _long(rng: random.Random) -> bytes:
    title = rng.choice(("x", "é", "👩", " ", "\\u0041", "\\n")) * rng.choice((999, 1_000, 1_001, 30_000))
    return f'{{"title": "{title}", "body": "{"y" * rng.choice((0, 10_000, 60_000))}"}}'.encode()


def _enveloped(rng: random.Random) -> bytes:
    """A posting in one or more envelopes, or in what only looks like one."""
    inner = _structured(rng).decode("utf-8", "replace").lstrip("\ufeff")
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        inner = rng.choice(ENVELOPE_SHAPES).replace("ROW", rng.choice((inner, inner, inner, "null", "[]", _quoted(rng, inner))))
    return inner.replace("OP", rng.choice("crudtmx")).encode("utf-8", "replace")


def _framed(rng: random.Random) -> bytes:
    return b"\0" + rng.randbytes(4) + (GOOD if rng.random() < 0.5 else _structured(rng))


ENVELOPE_SHAPES = (
    '{"before":null,"after":ROW,"op":"OP","ts_ms":1}',
    '{"before":ROW,"after":null,"source":{"connector":"postgresql"},"op":"OP","transaction":null}',
    '{"op":"OP","after":ROW,"title":"Cook"}',
    '{"schema":{"type":"struct"},"payload":ROW}',
    '{"schema":null,"payload":ROW}',
    '{"schema":"mine","payload":ROW,"title":"Cook"}',
    '{"specversion":"1.0","type":"org.example.posting.changed","source":"/board","id":"1","data":ROW}',
    '{"specversion":"1.0","type":"org.example.posting.removed.v2","source":"/board","id":"1"}',
    '{"specversion":"1.0","type":"posting","source":"/board","data_base64":"eyJ0aXRsZSI6ICJDb29rIn0="}',
    '{"specversion":"1.0","type":"posting","source":"/board","data_base64":ROW}',
    '{"specversion":1,"data":ROW,"title":"Cook"}',
    '{"operationType":"insert","fullDocument":ROW,"documentKey":{"_id":{"$oid":"65f0"}},"ns":{}}',
    '{"operationType":"update","fullDocument":ROW,"documentKey":[],"clusterTime":{}}',
    '{"operationType":"delete","documentKey":{"_id":ROW}}',
    '{"id":"1","removed":true,"was":ROW}',
    '{"__deleted":"true","id":"1","was":ROW}',
    '{"__deleted":"false","title":"Cook","was":ROW}',
)

KINDS: tuple[Callable[[random.Random], bytes], ...] = (
    *(_mutated, _mutated, _mutated, _structured, _structured, _structured, _structured),
    *(_enveloped, _enveloped, _framed),
    *(_raw, _text, _encoded_otherwise, _deep, _long, _any_json),
)


def _value(rng: random.Random, depth: int) -> str:
    """Return a JSON value, or nearly one, as text."""
    kind = rng.randrange(8 if depth else 5)
    if kind < 2:
        return _string(rng)
    if kind == 2:
        return rng.choice(NUMBERS) if rng.random() < 0.5 else repr(rng.uniform(-1e6, 1e6))
    if kind == 3:
        return rng.choice(("null", "true", "false"))
    if kind == 4:
        return rng.choice(NO_JSON) if rng.random() < 0.1 else "null"
    inner = [_value(rng, depth - 1) for _ in range(rng.randrange(4))]
    if kind == 5:
        return "[" + ",".join(inner) + "]"
    return "{" + ",".join(f"{_quoted(rng, rng.choice(NAMES))}:{value}" for value in inner) + "}"


def _string(rng: random.Random) -> str:
    if rng.random() < 0.5:
        return _quoted(rng, rng.choice(TEXTS))
    return _quoted(
        rng, "".join(chr(rng.choice((rng.randrange(0x80), rng.randrange(0x110000)))) for _ in range(rng.randrange(12)))
    )


def _quoted(rng: random.Random, text: str) -> str:
    return json.dumps(text, ensure_ascii=rng.random() < 0.5)
