"""A message that a schema registry has framed, in its value or in a header, is told from broken JSON."""

from uuid import UUID

import pytest

from consumer.errors import InvalidMessage
from schemas.events import JobPosting
from tests.support.messages import make_codec, make_message, posting_bytes


def test_a_framed_message_is_refused_naming_framing_schema_and_setting() -> None:
    with pytest.raises(InvalidMessage, match=r"schema_framing: .*magic byte 0\), schema id 4711; set --input-format"):
        make_codec().decode(make_message(b"\0" + (4711).to_bytes(4) + b"\x02a"))


GUID = "8c1f6b5a-3a68-4c2b-9a2e-0c4c5f1f9d10"
FRAMED: dict[str, tuple[bytes, bytes, str]] = {
    "GUID": (b"\x02a\x02b", b"\1" + UUID(GUID).bytes, f"schema GUID {GUID}"),
    "GUID, Protobuf": (b"\x0a\x04Cook", b"\1" + UUID(GUID).bytes + b"\0", f"schema GUID {GUID}"),
    "id": (b"\x02a\x02b", b"\0" + (4711).to_bytes(4), "schema id 4711"),
    "a value that begins with 0": (b"\0\x02a\x02b\0", b"\0" + (4711).to_bytes(4), "schema id 4711"),
    "no UTF-8": (b"\xff\xfe\x02", b"\0" + (4711).to_bytes(4), "schema id 4711"),
    "broken JSON": (
        b'{"title": "Cook", "title": "Chef"}',
        b"\0" + (4711).to_bytes(4),
        "schema id 4711; set --input-format to the format that producers write; as JSON: the key 'title' appears twice",
    ),
    "neither": (b"\x02a\x02b", b"42", "which names no schema: 34 32"),
    "nothing": (b"\x02a\x02b", b"", "which names no schema: it is empty"),
}


@pytest.mark.parametrize("kind", FRAMED)
def test_a_message_framed_in_a_header_is_refused_naming_the_schema(kind: str) -> None:
    value, header, named = FRAMED[kind]
    with pytest.raises(InvalidMessage, match="schema_framing") as refused:
        make_codec().decode(make_message(value, headers=(("trace", b"1"), ("__value_schema_id", header))))
    assert f"(header __value_schema_id), {named}" in refused.value.detail
    assert "; set --input-format to the format that producers write" in refused.value.detail


def test_plain_json_whose_schema_is_in_a_header_is_a_posting() -> None:
    named = make_message(posting_bytes("Barista"), headers=(("__value_schema_id", b"\1" + UUID(GUID).bytes),))
    assert isinstance(make_codec().decode(named), JobPosting)
