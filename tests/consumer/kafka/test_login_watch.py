"""A login that stays refused ends the process after the stated time; one that is refused for a moment does not."""

import pytest
from confluent_kafka import KafkaError

from consumer.errors import BrokerError
from consumer.kafka.login_watch import END_AFTER_S, QUIET_S, LoginWatch
from tests.support.pipeline import Clock

REFUSED = KafkaError(KafkaError._AUTHENTICATION, "broker 1: Authentication failed")


def refuse(watch: LoginWatch, clock: Clock, *, seconds: float, every_s: float = 30.0) -> None:
    """Let refusals come for so long."""
    until = clock.now_s + seconds
    watch.on_error(REFUSED)
    while clock.now_s + every_s <= until:
        clock.now_s += every_s
        watch.on_error(REFUSED)


def test_refusals_for_the_stated_time_end_the_process_and_name_the_reason() -> None:
    clock = Clock()
    watch = LoginWatch(clock=clock)
    refuse(watch, clock, seconds=END_AFTER_S)
    with pytest.raises(BrokerError, match=r"refused the login for 60 s .*broker 1: Authentication failed"):
        watch.check()


@pytest.mark.parametrize("seconds", [0.0, END_AFTER_S - 1])
def test_refusals_for_less_than_the_stated_time_end_nothing(seconds: float) -> None:
    clock = Clock()
    watch = LoginWatch(clock=clock)
    refuse(watch, clock, seconds=seconds)
    for _ in range(100):
        watch.check()
        clock.now_s += 10


def test_refusals_that_are_long_apart_do_not_add_up() -> None:
    clock = Clock()
    watch = LoginWatch(clock=clock)
    for _ in range(5):
        refuse(watch, clock, seconds=30.0)
        clock.now_s += QUIET_S + 1
        watch.check()


@pytest.mark.parametrize(
    "error",
    [
        KafkaError(KafkaError._TRANSPORT, "Connection refused"),
        KafkaError(KafkaError._AUTHENTICATION, "Failed to acquire SASL OAUTHBEARER token: no answer"),
    ],
    ids=["no connection", "no token to log in with"],
)
def test_only_what_a_broker_refuses_counts(error: KafkaError) -> None:
    clock = Clock()
    watch = LoginWatch(clock=clock)
    for _ in range(20):
        watch.on_error(error)
        clock.now_s += 10
        watch.check()


def test_the_last_refusal_is_told_until_logins_are_taken_again() -> None:
    clock = Clock()
    watch = LoginWatch(clock=clock)
    assert watch.reason == ""
    watch.on_error(REFUSED)
    assert watch.reason == " (broker 1: Authentication failed)"
    clock.now_s += QUIET_S + 1
    assert watch.reason == ""
