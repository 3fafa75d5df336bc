"""Pauses double up to their limit, and each run of them begins with the shortest."""

from itertools import islice

from consumer.process.backoff import Backoff


def test_pauses_double_up_to_the_longest() -> None:
    assert list(islice(Backoff(0.5, 3.0).pauses(), 5)) == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_each_run_of_pauses_begins_with_the_shortest() -> None:
    backoff = Backoff(1.0, 10.0)
    first, second = backoff.pauses(), backoff.pauses()
    assert [next(first), next(first), next(second)] == [1.0, 2.0, 1.0]
