"""Serving and training make the same queries, whether the titles' vectors are computed or at hand."""

import torch

from consumer.model.queries import QueryEncoders, make_queries
from schemas.text import clean_title, title_key
from tests.support.tiny_model import BodyEncoder, LetterEncoder, LineEncoder

LINES = ["Line Cook", "Line Cook - $20/hr", "NURSE"]
CLEAN = [clean_title(line) for line in LINES]
BODIES = ["cooks", "", "<p>nurses</p>"]


def test_queries_are_the_same_with_the_vectors_of_the_titles_and_without() -> None:
    encoders = QueryEncoders(LetterEncoder(), LineEncoder(), BodyEncoder())
    computed = make_queries(encoders, CLEAN, LINES, BODIES)
    at_hand = make_queries(encoders, CLEAN, LINES, BODIES, title=LetterEncoder().encode(CLEAN))
    for one, other in ((computed.title, at_hand.title), (computed.line, at_hand.line), (computed.body, at_hand.body)):
        assert one is not None
        assert other is not None
        assert torch.equal(one, other)
    assert computed.keys == at_hand.keys == [title_key(text) for text in CLEAN]


def test_each_distinct_cleaned_title_is_encoded_once() -> None:
    encoder = LetterEncoder()
    make_queries(QueryEncoders(encoder), CLEAN, LINES)
    assert encoder.seen == ["Line Cook", "NURSE"]


def test_an_encoder_of_titles_and_lines_reads_each_distinct_spelling_once() -> None:
    encoder = LetterEncoder()
    queries = make_queries(QueryEncoders(encoder, encoder), CLEAN, LINES)
    assert encoder.seen == ["Line Cook", "NURSE", "Line Cook - $20/hr"]
    assert queries.line is not None
    assert torch.equal(queries.title, LetterEncoder().encode(CLEAN))
    assert torch.equal(queries.line, LetterEncoder().encode(LINES))


def test_a_batch_without_bodies_asks_nothing_of_the_encoder_of_bodies() -> None:
    encoder = BodyEncoder()
    assert make_queries(QueryEncoders(LetterEncoder(), body=encoder), CLEAN, LINES, ["", "", ""]).body is None
    assert encoder.seen == []
