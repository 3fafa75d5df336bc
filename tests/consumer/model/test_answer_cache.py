"""What a scorer remembers is bounded by bytes as well as by number, and those bytes are about what the process pays."""

import tracemalloc

import pytest

from consumer.model.answer_cache import AnswerCache, entry_bytes
from consumer.model.answers import ScoredRow
from tests.support.tiny_model import tiny_scorer

ROOM = 2_000_000


def row(number: int) -> ScoredRow:
    """Return a row as those of a whole model are: five codes, five groups, five neighbours; no two numbers are one object."""
    whole = [[1_000 * number + 10 * part + each for each in range(5)] for part in range(3)]
    shares = [[number + part + each / 7 for each in range(5)] for part in range(4)]
    return ScoredRow._make([[0, 1], *whole, *shares, [number + 0.5]])


@pytest.mark.parametrize(
    "title", ["{:06} Line Cook", "{:06} " + "Köchin " * 140, "{:06} " + "\N{GREEK SMALL LETTER ALPHA}\N{FIRE} " * 490]
)
def test_titles_of_any_length_take_no_more_than_the_room_and_the_youngest_stay(title: str) -> None:
    cache = AnswerCache(max_count=50_000, max_bytes=ROOM)
    for number in range(3_000):
        cache.remember({(title.format(number), b"", None): row(number)})
        assert cache.size_bytes <= ROOM
    assert (title.format(2_999), b"", None) in cache
    assert (title.format(0), b"", None) not in cache
    assert cache.size_bytes > 0.98 * ROOM


@pytest.mark.parametrize("title", ["{:06} Line Cook", "{:06} " + "\N{GREEK SMALL LETTER ALPHA}\N{FIRE} " * 490])
def test_the_bytes_of_an_entry_are_what_the_process_pays_for_it(title: str) -> None:
    cache = AnswerCache(max_count=5_000)
    tracemalloc.start()
    for number in range(2_000):
        cache.remember({(title.format(number), b"%016d" % number, None): row(number)})
    paid, _peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(cache) == 2_000
    assert cache.size_bytes == pytest.approx(paid, rel=0.25)


def test_what_is_forgotten_is_no_longer_counted() -> None:
    cache = AnswerCache(max_count=2)
    for number in range(10):
        cache.remember({(str(number), b"", None): row(number)})
    assert cache.size_bytes == 2 * entry_bytes(("8", b"", None), row(8))


def test_one_answer_that_is_larger_than_the_room_is_given_and_not_kept() -> None:
    scorer = tiny_scorer(cache_size=9, cache_bytes=1)
    assert scorer.score(["Cook"])[0].occupations == tiny_scorer().score(["Cook"])[0].occupations
    assert len(scorer._cache) == 0
