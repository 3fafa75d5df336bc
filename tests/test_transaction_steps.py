"""A step of a transaction is waited for within a bound, whatever the client does."""

import threading
import time

import pytest
from confluent_kafka import KafkaError, KafkaException

from consumer.background import Step


def test_a_step_that_never_ends_is_given_up_at_its_time() -> None:
    released = threading.Event()
    try:
        assert not Step(released.wait).ends_by(time.monotonic() + 0.2)
    finally:
        released.set()


def test_a_step_that_ends_is_waited_for_and_what_it_raises_is_raised() -> None:
    done: list[int] = []
    assert Step(lambda: done.append(1)).ends_by(time.monotonic() + 60)
    assert done == [1]

    def fails() -> None:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    with pytest.raises(KafkaException):
        Step(fails).ends_by(time.monotonic() + 60)
