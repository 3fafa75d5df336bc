"""Which error of a client ends the process, which one fails a record, and which one passes."""

import logging

import pytest
from confluent_kafka import KafkaError, KafkaException

from consumer.errors import BrokerError, DeliveryFailed, RecordTooLarge
from consumer.kafka.failures import delivery_failure, explain_no_answer, is_fatal, raise_or_log


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (KafkaError(KafkaError._FATAL, "fenced"), "shut this consumer out for good .*fenced.* --instance-id"),
        (KafkaError(KafkaError._TIMED_OUT, "late", fatal=True), "cannot read 'jobs': late"),
        (KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, "gone"), "cannot read 'jobs': gone"),
        (KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, "no"), "cannot read 'jobs': no"),
        (KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED, "no"), "cannot read 'jobs': no"),
    ],
)
def test_an_error_that_needs_a_person_is_raised(error: KafkaError, message: str) -> None:
    with pytest.raises(BrokerError, match=message):
        raise_or_log(error, "jobs")


@pytest.mark.parametrize(("code", "lines"), [(KafkaError._ALL_BROKERS_DOWN, ["Kafka: text"]), (KafkaError._PARTITION_EOF, [])])
def test_an_error_that_passes_is_logged_unless_it_is_the_end_of_a_partition(
    code: int, lines: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        raise_or_log(KafkaError(code, "text"), "jobs")
    assert caplog.messages == lines


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (KafkaError.MSG_SIZE_TOO_LARGE, RecordTooLarge),
        (KafkaError.RECORD_LIST_TOO_LARGE, RecordTooLarge),
        (KafkaError._MSG_TIMED_OUT, DeliveryFailed),
    ],
)
def test_a_record_fails_for_its_size_or_for_another_reason(code: int, kind: type[DeliveryFailed]) -> None:
    found = delivery_failure(KafkaError(code, "why"), "refused")
    assert (type(found), str(found)) == (kind, "refused: why")


def test_an_error_is_fatal_by_its_mark_or_by_its_code() -> None:
    assert is_fatal(KafkaError(KafkaError._TIMED_OUT, "", fatal=True))
    assert is_fatal(KafkaError(KafkaError._FATAL))
    assert not is_fatal(KafkaError(KafkaError._TIMED_OUT))


def test_a_broker_that_does_not_answer_is_named_with_where_to_look() -> None:
    with pytest.raises(BrokerError, match=r"no Kafka broker answers at 'b:9092' \(late\); check --bootstrap-servers"):  # noqa: SIM117
        with explain_no_answer("b:9092"):
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "late"))


@pytest.mark.parametrize(
    ("code", "right"),
    [
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, "the right READ on topic 'jobs' is missing"),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, "the right READ on group 'g' is missing"),
    ],
)
def test_a_right_that_a_reader_lacks_is_named(code: int, right: str) -> None:
    with pytest.raises(BrokerError, match=f"{right}$"):
        raise_or_log(KafkaError(code, "no"), "jobs", group="g")


def test_a_right_that_a_writer_lacks_is_named() -> None:
    found = delivery_failure(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, "no"), "refused", topic="out")
    assert str(found) == "refused: no; the right WRITE on topic 'out' is missing"
