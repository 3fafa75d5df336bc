"""The lag that was known last stays where it cannot be measured, until the group has said who reads a partition."""

from consumer.kafka.known_lags import KnownLags
from consumer.messages import TopicPartition

ONE, TWO = TopicPartition("in", 1), TopicPartition("in", 2)


def test_a_partition_that_cannot_be_measured_keeps_its_lag() -> None:
    lags = KnownLags()
    lags.update({ONE: 5, TWO: 6}, {ONE, TWO})
    assert lags.update({TWO: 7}, {ONE, TWO}) == {ONE: 5, TWO: 7}


def test_a_partition_that_was_given_up_is_no_longer_shown() -> None:
    lags = KnownLags()
    lags.update({ONE: 5, TWO: 6}, {ONE, TWO})
    assert lags.update({TWO: 6}, {TWO}) == {TWO: 6}


def test_partitions_that_were_lost_keep_their_lag_until_the_group_answers() -> None:
    lags = KnownLags()
    lags.update({ONE: 5, TWO: 6}, {ONE, TWO})
    lags.lose({ONE, TWO})
    assert lags.update({}, set()) == {ONE: 5, TWO: 6}
    lags.hear_from_group()
    assert lags.update({TWO: 1}, {TWO}) == {TWO: 1}
