"""Examples of profiles with any of their values replaced: each is a posting that can be written, or an invalid message."""

import random

from consumer.errors import InvalidMessage
from consumer.feeds.json_values import write_json
from consumer.feeds.mapping import ByMapping
from consumer.feeds.profiles import profile_names, read_profile
from schemas.events import JobPosting
from tests.support.feed_fuzzing import random_example
from tests.support.messages import make_codec, make_message

CODECS = {name: make_codec(finder=ByMapping(read_profile(name).mapping)) for name in profile_names()}
COUNT = 4_000


def test_an_example_with_odd_values_is_a_posting_or_an_invalid_message() -> None:
    rng, postings = random.Random(0), 0
    for _ in range(COUNT):
        name, value = random_example(rng)
        try:
            posting = CODECS[name].decode(make_message(value))
        except InvalidMessage:
            continue
        assert isinstance(posting, JobPosting), "the examples hold no delete"
        write_json(posting.model_dump())
        postings += 1
    assert postings > COUNT / 4, "most must get as far as a posting"
