"""Examples of profiles with any of their values replaced: each is a posting that can be written, or an invalid message."""

import random
from typing import Any

from consumer.errors import InvalidMessage
from consumer.feeds.json_values import parse_json, write_json
from consumer.feeds.mapping import ByMapping
from consumer.feeds.profiles import profile_names, read_profile
from schemas.events import JobPosting
from tests.support.messages import make_codec, make_message

ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 2**70, "", " ", "nan", "<p>", "x" * 5_000, [], {}, [[]], [None], [{}], {"": None}),
    *(["a", ["b", {"c": 1}]], {"text": "t", "value": {"name": "n"}}, [{"value": 1}, {"value": "v"}], parse_json(b"[1.10, NaN]")),
)
CODECS = {name: make_codec(finder=ByMapping(read_profile(name).mapping)) for name in profile_names()}
EXAMPLES = {name: parse_json(read_profile(name).example.encode()) for name in profile_names()}
COUNT = 4_000


def replaced(value: Any, rng: random.Random) -> Any:
    """Return a copy in which some values are odd ones, and some names are gone."""
    if rng.random() < 0.15:
        return rng.choice(ODD)
    if isinstance(value, dict):
        return {name: replaced(inner, rng) for name, inner in value.items() if rng.random() < 0.95}
    return [replaced(inner, rng) for inner in value] if isinstance(value, list) else value


def test_an_example_with_odd_values_is_a_posting_or_an_invalid_message() -> None:
    rng, postings = random.Random(0), 0
    for _ in range(COUNT):
        name = rng.choice(profile_names())
        value = write_json(replaced(EXAMPLES[name], rng))
        try:
            posting = CODECS[name if rng.random() < 0.8 else rng.choice(profile_names())].decode(make_message(value))
        except InvalidMessage:
            continue
        assert isinstance(posting, JobPosting), "the examples hold no delete"
        write_json(posting.model_dump())
        postings += 1
    assert postings > COUNT / 4, "most must get as far as a posting"
