"""Whatever comes in, the codec raises its own error or writes what can be read again: see also benchmarks/codec_fuzz.py."""

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.errors import DEAD_LETTER_REASONS
from tests.support.fuzzing import check_codec_laws, random_message
from tests.support.messages import make_codec

CODEC = make_codec(max_message_bytes=50_000)


@settings(max_examples=500, derandomize=True)
@given(st.randoms(use_true_random=False))
def test_whatever_comes_in_is_a_posting_that_can_be_read_again_or_a_dead_letter(rng: random.Random) -> None:
    check_codec_laws(CODEC, random_message(rng))


def test_the_messages_drawn_reach_every_way_out_of_the_codec() -> None:
    rng = random.Random(0)
    outcomes = Counter(check_codec_laws(CODEC, random_message(rng)) for _ in range(3_000))
    assert outcomes.keys() == {"enriched", "delete", *DEAD_LETTER_REASONS} - {
        *("not_scored", "invalid_headers"),  # the model says that one, the client the other
        *("null_value", "deleted"),  # only if deletes are to be dead letters
        *("unknown_schema", "not_decoded"),  # only with a schema registry
    }
    assert outcomes["enriched"] > 300, "most messages must not fail at the first hurdle"
