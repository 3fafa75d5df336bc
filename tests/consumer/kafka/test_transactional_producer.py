"""A transactional producer is used only while nothing casts doubt on it; else it is replaced, given up, or the process ends."""

from itertools import pairwise

import pytest
from confluent_kafka import KafkaError, KafkaException

from consumer.errors import BrokerError, DeliveryFailed
from consumer.kafka.transactional_producer import (
    LATE_S,
    OPEN_ANEW_S,
    REPLACED_S,
    SLOW_S,
    TransactionalProducer,
    retry_step,
)
from tests.support.scripted_producer import Scripts, failed


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Scripts:
    return Scripts(monkeypatch)


def opening(**options: object) -> TransactionalProducer:
    return TransactionalProducer({}, transactional_id="id", **options)


def opened(**options: object) -> TransactionalProducer:
    producer = opening(**options)
    producer.start()
    return producer


def test_a_client_is_opened_once_and_then_used_again(scripts: Scripts) -> None:
    producer = opening()
    assert producer.state == "opening"
    assert producer.ready_client() is producer.ready_client() is scripts.clients[0]
    assert (producer.state, scripts.count("init_transactions")) == ("open", 1)


def test_a_discarded_client_is_replaced_and_its_successor_opened_by_poll(scripts: Scripts) -> None:
    producer = opened()
    producer.discard("for a test")
    assert (producer.state, producer.client) == ("opening", scripts.clients[1])
    producer.poll(0.0)
    assert (producer.state, producer.client) == ("open", scripts.clients[1])


def test_a_client_that_is_not_renewed_is_given_up_for_good(scripts: Scripts) -> None:
    producer = opened(renewed=False)
    producer.discard("it was slow")
    producer.poll(0.0)
    with pytest.raises(DeliveryFailed, match="given up: it was slow"):
        producer.ready_client()
    assert (producer.state, len(scripts.clients), scripts.count("init_transactions")) == ("given up", 1, 1)


def test_after_a_halt_the_group_may_first_tell_whether_we_were_replaced(scripts: Scripts) -> None:
    producer = opened()
    scripts.wait(SLOW_S + 1)
    producer.discard("it was slow")
    producer.poll(0.0)
    with pytest.raises(DeliveryFailed, match="made anew: it was slow"):
        producer.ready_client()
    assert scripts.count("init_transactions") == 1
    scripts.wait(REPLACED_S)
    producer.poll(0.0)
    assert producer.state == "open"


def test_a_client_goes_on_opening_where_it_was_cut_short_but_not_for_good(scripts: Scripts) -> None:
    producer = opening(open_timeout_s=OPEN_ANEW_S / 3)
    scripts.script("init_transactions", *[failed(retriable=True)] * 1_000)
    for _ in range(2):
        with pytest.raises(DeliveryFailed, match="no coordinator for the transactional id 'id'"):
            producer.ready_client()
    assert (len(scripts.clients), producer.late_until) == (1, 0.0)
    with pytest.raises(DeliveryFailed, match="no coordinator"):
        producer.ready_client()
    assert producer.client is scripts.clients[1]
    assert producer.late_until == scripts.now + LATE_S, "the first one's request may come late"


def test_a_client_that_cannot_be_opened_is_replaced_at_once_unless_the_error_passes(scripts: Scripts) -> None:
    producer = opening()
    scripts.script("init_transactions", failed())
    with pytest.raises(DeliveryFailed, match="no coordinator"):
        producer.ready_client()
    assert producer.ready_client() is scripts.clients[1]


def test_a_client_that_may_never_be_opened_ends_the_process(scripts: Scripts) -> None:
    scripts.script("init_transactions", failed(KafkaError.CLUSTER_AUTHORIZATION_FAILED, fatal=True))
    with pytest.raises(BrokerError, match="no transactions under the id 'id'"):
        opened()


def test_a_connection_that_breaks_while_a_client_is_opened_costs_it(scripts: Scripts) -> None:
    producer = opening()
    scripts.script("init_transactions", lambda: scripts.clients[0].breaks())
    assert producer.ready_client() is scripts.clients[1]
    assert producer.late_until > scripts.now, "the coordinator may have been asked twice"


def test_connections_that_go_on_breaking_are_not_waited_for_beyond_the_time(scripts: Scripts) -> None:
    producer = opening(open_timeout_s=5.0)

    def breaks() -> None:
        scripts.wait(2.0)
        producer.client.breaks()

    scripts.script("init_transactions", *[breaks] * 9)
    with pytest.raises(DeliveryFailed, match="connections break"):
        producer.ready_client()
    assert (len(scripts.clients), producer.state) == (4, "opening")


@pytest.mark.parametrize("heard", ["log", "error"])
def test_a_connection_that_breaks_under_an_open_client_costs_it(scripts: Scripts, heard: str) -> None:
    producer = opened()
    tell = {"log": producer.client.breaks, "error": lambda: producer.client.tell_error(KafkaError(KafkaError._TRANSPORT))}
    scripts.script("poll", tell[heard])
    producer.discard_if_doubtful(scripts.now)
    assert (producer.client, producer.state) == (scripts.clients[1], "opening")
    assert producer.late_until == 0.0, "nothing was asked of the coordinator but by the one that was open"


def test_a_client_that_is_not_renewed_forgets_a_break_between_transactions(scripts: Scripts) -> None:
    producer = opened(renewed=False)
    producer.client.tell_error(KafkaError(KafkaError._TRANSPORT))
    producer.ignore_earlier_breaks()
    producer.discard_if_doubtful(scripts.now)
    assert producer.state == "open"


def test_a_break_counts_later_too_if_the_client_would_not_log_the_next_one(scripts: Scripts) -> None:
    producer = opened(renewed=False)
    producer.client.breaks()
    producer.ignore_earlier_breaks()
    producer.discard_if_doubtful(scripts.now)
    assert producer.state == "given up"


def test_a_client_that_is_renewed_forgets_no_break(scripts: Scripts) -> None:
    producer = opened()
    producer.client.tell_error(KafkaError(KafkaError._TRANSPORT))
    producer.ignore_earlier_breaks()
    producer.discard_if_doubtful(scripts.now)
    assert producer.state == "opening"


@pytest.mark.parametrize(("took_s", "state"), [(SLOW_S, "open"), (SLOW_S + 0.1, "opening")])
def test_a_transaction_that_was_slow_costs_the_client(scripts: Scripts, took_s: float, state: str) -> None:
    producer = opened()
    producer.discard_if_doubtful(scripts.now - took_s)
    assert producer.state == state


@pytest.mark.parametrize("code", [KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED])
def test_another_consumer_with_the_same_id_ends_the_process_with_a_way_out(scripts: Scripts, code: int) -> None:
    with pytest.raises(BrokerError, match=r"another consumer or replay uses the transactional id 'id' .* --instance-id"):
        opened().raise_if_replaced(KafkaError(code), 0.0)


@pytest.mark.parametrize("code", [KafkaError._FENCED, KafkaError._FATAL])
def test_a_transaction_that_outlived_its_time_was_ended_by_the_coordinator(scripts: Scripts, code: int) -> None:
    producer = opened()
    producer.raise_if_replaced(KafkaError(code), producer.timeout_s)


def test_our_own_late_request_may_shut_us_out_for_a_minute(scripts: Scripts) -> None:
    producer = opening()
    scripts.script("init_transactions", failed())
    with pytest.raises(DeliveryFailed):
        producer.ready_client()
    producer.raise_if_replaced(KafkaError(KafkaError._FENCED), 0.0)
    with pytest.raises(BrokerError, match="failed for good"):
        producer.raise_if_replaced(KafkaError(KafkaError._FATAL), 0.0)
    scripts.wait(LATE_S)
    with pytest.raises(BrokerError, match="has taken over"):
        producer.raise_if_replaced(KafkaError(KafkaError._FENCED), 0.0)


def test_a_client_that_failed_for_good_ends_the_process_when_it_is_served(scripts: Scripts) -> None:
    producer = opened()
    scripts.script("poll", failed(KafkaError._FATAL, fatal=True))
    with pytest.raises(BrokerError, match="failed for good"):
        producer.poll(0.0)


def test_a_step_that_may_help_later_is_taken_again_with_growing_pauses(scripts: Scripts, monkeypatch: pytest.MonkeyPatch) -> None:
    started, pauses = scripts.now, list[float]()

    def fails() -> None:
        pauses.append(scripts.now)
        raise failed(retriable=True)

    with pytest.raises(KafkaException):
        retry_step(fails, started + 5.0)
    taken = [later - earlier for earlier, later in pairwise(pauses)]
    assert taken == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0, 0.45])


@pytest.mark.parametrize("flag", ["fatal", "txn_requires_abort"])
def test_a_step_whose_error_does_not_pass_is_taken_once(scripts: Scripts, flag: str) -> None:
    tries = []

    def fails() -> None:
        tries.append(1)
        raise failed(retriable=True, **{flag: True})

    with pytest.raises(KafkaException):
        retry_step(fails, scripts.now + 60)
    assert tries == [1]
