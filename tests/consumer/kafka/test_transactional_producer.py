"""A step of a transaction is waited for within a bound, whatever the client does."""

import gc
import threading
import time
import weakref

import pytest
from confluent_kafka import KafkaError, KafkaException

from consumer.kafka.transactions import _patiently
from consumer.process.background import run_with_deadline


def test_a_step_that_never_ends_is_given_up_at_its_time() -> None:
    released = threading.Event()
    try:
        assert not run_with_deadline(released.wait, time.monotonic() + 0.2)
    finally:
        released.set()


def test_a_step_that_ends_is_waited_for_and_what_it_raises_is_raised() -> None:
    done: list[int] = []
    assert run_with_deadline(lambda: done.append(1), time.monotonic() + 60)
    assert done == [1]

    def fails() -> None:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    with pytest.raises(KafkaException):
        run_with_deadline(fails, time.monotonic() + 60)


class Client:
    """Something that a step holds on to."""


def test_a_step_that_failed_keeps_nothing_alive() -> None:
    client = Client()
    held = weakref.ref(client)

    def fails(client: Client) -> None:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT), client.__class__)

    gc.disable()
    try:
        with pytest.raises(KafkaException):
            run_with_deadline(lambda client=client: fails(client), time.monotonic() + 60)  # type: ignore[misc]
        del client
        until = time.monotonic() + 60
        while held() is not None and time.monotonic() < until:  # the thread may still be about to end
            time.sleep(0.01)
        assert held() is None
    finally:
        gc.enable()


def test_a_step_that_may_help_later_is_taken_again_with_growing_pauses_until_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now, pauses = [100.0], list[float]()

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        now[0] += seconds

    monkeypatch.setattr("consumer.kafka.transactions.time.sleep", sleep)
    monkeypatch.setattr("consumer.kafka.transactions.time.monotonic", lambda: now[0])

    def fails() -> None:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "", retriable=True))

    with pytest.raises(KafkaException):
        _patiently(fails, 105.0)
    assert pauses == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0, 0.45])


@pytest.mark.parametrize("flag", ["fatal", "txn_requires_abort"])
def test_a_step_whose_error_no_patience_mends_is_taken_once(flag: str) -> None:
    tries = []

    def fails() -> None:
        tries.append(1)
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "", retriable=True, **{flag: True}))

    with pytest.raises(KafkaException):
        _patiently(fails, time.monotonic() + 60)
    assert tries == [1]
