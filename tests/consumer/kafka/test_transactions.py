"""Kafka transactions: what is aborted, what is tried once more, and that each step is waited for within a bound."""

import gc
import threading
import time
import weakref

import pytest
from confluent_kafka import KafkaError, KafkaException

from consumer.errors import BrokerError, DeliveryFailed, RecordTooLarge
from consumer.kafka.transactional_producer import SLOW_S
from consumer.kafka.transactions import KafkaTransactions
from consumer.messages import Record
from consumer.process.background import run_with_deadline
from tests.support.scripted_producer import Scripts, failed

RECORDS = [Record("t", b"k", b"%d" % number, (), 0) for number in range(3)]
TOO_LARGE = failed(KafkaError.MSG_SIZE_TOO_LARGE)
ABORTABLE = failed(txn_requires_abort=True)


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Scripts:
    return Scripts(monkeypatch)


@pytest.fixture
def sink(scripts: Scripts) -> KafkaTransactions:
    made = KafkaTransactions({}, topics=["t"], transactional_id="id")
    made.start()
    return made


def test_a_transaction_takes_its_steps_in_order_and_keeps_the_client(scripts: Scripts, sink: KafkaTransactions) -> None:
    sink.transact(RECORDS, {}, None)
    steps = [step for step in scripts.clients[0].steps if step != "poll"]
    assert steps == ["init_transactions", "begin_transaction", "produce", "produce", "produce", "commit_transaction"]
    assert sink.producer.state == "open"


def test_an_error_that_can_be_aborted_is_and_costs_no_client(scripts: Scripts, sink: KafkaTransactions) -> None:
    scripts.script("commit_transaction", ABORTABLE)
    with pytest.raises(DeliveryFailed, match="broken off"):
        sink.transact(RECORDS, {}, None)
    assert (scripts.count("abort_transaction"), len(scripts.clients)) == (1, 1)
    sink.transact(RECORDS, {}, None)


def test_an_error_that_leaves_doubt_costs_the_client(scripts: Scripts, sink: KafkaTransactions) -> None:
    scripts.script("commit_transaction", failed())
    with pytest.raises(DeliveryFailed, match="broken off"):
        sink.transact(RECORDS, {}, None)
    assert (scripts.count("abort_transaction"), len(scripts.clients)) == (0, 2)


@pytest.mark.parametrize("abort", [failed(), lambda: None], ids=["fails", "is slow"])
def test_an_abort_that_fails_or_is_slow_costs_the_client(scripts: Scripts, sink: KafkaTransactions, abort: object) -> None:
    scripts.script("commit_transaction", ABORTABLE)
    scripts.script("abort_transaction", abort if isinstance(abort, Exception) else lambda: scripts.wait(SLOW_S + 1))
    with pytest.raises(DeliveryFailed):
        sink.transact(RECORDS, {}, None)
    assert len(scripts.clients) == 2


def test_an_abort_that_finds_us_replaced_ends_the_process(scripts: Scripts, sink: KafkaTransactions) -> None:
    scripts.script("commit_transaction", ABORTABLE)
    scripts.script("abort_transaction", failed(KafkaError._FENCED))
    with pytest.raises(BrokerError, match="has taken over"):
        sink.transact(RECORDS, {}, None)


def test_a_queue_that_stays_full_is_waited_for_within_the_time(scripts: Scripts, sink: KafkaTransactions) -> None:
    scripts.script("produce", *[BufferError()] * 3)
    sink.transact(RECORDS, {}, None)
    assert scripts.count("produce") == 6
    scripts.script("produce", lambda: scripts.wait(sink.producer.timeout_s), BufferError())
    with pytest.raises(DeliveryFailed, match="queue stayed full"):
        sink.transact(RECORDS, {}, None)
    assert len(scripts.clients) == 2


@pytest.mark.parametrize("aborted", [True, False])
def test_after_a_too_large_record_only_what_was_aborted_is_tried_again(
    scripts: Scripts, sink: KafkaTransactions, aborted: bool
) -> None:
    scripts.script("produce", TOO_LARGE)
    with pytest.raises(RecordTooLarge):
        sink.transact(RECORDS, {}, None)
    scripts.script("commit_transaction", ABORTABLE if aborted else failed())
    if aborted:
        sink.transact(RECORDS, {}, None)
    else:  # it may have been committed: only what the group has committed tells
        with pytest.raises(DeliveryFailed):
            sink.transact(RECORDS, {}, None)
    assert scripts.count("begin_transaction") == (3 if aborted else 2)


def test_what_fails_again_after_a_too_large_record_is_not_tried_a_third_time(scripts: Scripts, sink: KafkaTransactions) -> None:
    scripts.script("produce", TOO_LARGE)
    with pytest.raises(RecordTooLarge):
        sink.transact(RECORDS, {}, None)
    scripts.script("commit_transaction", ABORTABLE, ABORTABLE)
    with pytest.raises(DeliveryFailed):
        sink.transact(RECORDS, {}, None)
    assert scripts.count("begin_transaction") == 3
    scripts.script("commit_transaction", ABORTABLE)
    with pytest.raises(DeliveryFailed):
        sink.transact(RECORDS, {}, None)
    assert scripts.count("begin_transaction") == 4, "the gap was closed"


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
