"""An abridged letter is made whole from where its message lies, as long as that message lies there."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from consumer.dead_letter_record import DeadLetter, abridge
from consumer.dead_letters.filter import Filter
from consumer.dead_letters.originals import Originals
from consumer.dead_letters.replay import GONE, ReplayOptions, plan_replay, replay
from consumer.dead_letters.terminal import format_details, to_json_fields
from consumer.dead_letters.topic import DeadLetterTopic
from consumer.errors import InvalidMessage
from consumer.memory_broker import MemoryBroker, MemoryTransactions
from consumer.messages import Message, TopicPartition
from tests.support.messages import DEAD, IN, make_codec
from tests.support.pipeline import memory_broker

HEADERS = (("n", b"1"), ("dead-letter.left-out", b"forged"))
OPTIONS = ReplayOptions(DEAD, Filter({}), max_attempts=3)


def broker_with_abridged(values: list[bytes | None], *, times: int) -> MemoryBroker:
    """Return a broker with these messages, and with a dead letter of each that was abridged so many times."""
    broker = memory_broker(1)
    for number, value in enumerate(values):
        broker.append(TopicPartition(IN, 0), value, key=b"k%d" % number, headers=HEADERS)
        message = broker.logs[TopicPartition(IN, 0)][number]
        letter = make_codec().dead_letter(message, InvalidMessage("not_json", "no"), stage="decode", model_version="v1")
        for _ in range(times):
            letter = abridge(letter, message)
        broker.append(TopicPartition(DEAD, 0), letter.value, key=letter.key, headers=letter.headers)
    return broker


def letters(broker: MemoryBroker) -> DeadLetterTopic:
    def read(topic: str, ranges: Mapping[int, range] | None) -> Iterator[Message]:
        for message in broker.messages(topic):
            if ranges is None or message.offset in ranges.get(message.partition, range(0)):
                yield message

    return DeadLetterTopic(lambda ranges: read(DEAD, ranges), Originals(read))


@pytest.mark.parametrize("times", [1, 2, 3], ids=["without its value", "without anything", "whole"])
def test_a_replay_reads_an_abridged_letter_where_its_message_lies(times: int) -> None:
    values = [b"\xff" * 100, None, b""]
    broker = broker_with_abridged(values, times=times)
    assert plan_replay(letters(broker), OPTIONS).to_send == {IN: 3}
    assert replay(letters(broker), MemoryTransactions(broker), OPTIONS) == 3
    back = broker.messages(IN)[3:]
    assert [(m.key, m.value) for m in back] == [(b"k%d" % number, value) for number, value in enumerate(values)]
    assert {m.headers[:-1] for m in back} == {(("n", b"1"), ("dead-letter.attempt", b"1"))}
    assert replay(letters(broker), MemoryTransactions(broker), OPTIONS) == 0


def replaced(broker: MemoryBroker) -> None:
    broker.logs[TopicPartition(IN, 0)] = [Message(IN, 0, 0, b"k0", b"of another topic of that name", ())]


@pytest.mark.parametrize("lose", [lambda broker: broker.logs[TopicPartition(IN, 0)].clear(), replaced])
def test_an_abridged_letter_whose_message_is_gone_is_kept_and_told(lose: Any) -> None:
    broker = broker_with_abridged([b"v"], times=1)
    lose(broker)
    plan = plan_replay(letters(broker), OPTIONS)
    assert (plan.to_send.total(), plan.kept) == (0, {GONE: 1})
    assert replay(letters(broker), MemoryTransactions(broker), OPTIONS) == 0


def test_what_an_abridged_letter_lacks_and_where_it_lies_is_shown() -> None:
    (letter,) = letters(broker_with_abridged([b"v" * 50], times=1))
    assert (letter.left_out, to_json_fields(letter, replayed=False)["left_out"]) == ("value", "value")
    told = format_details(letter, replayed=False)
    assert f"left out:     value; it lies at {IN}:0:0" in told
    assert "value:        left out" in told


def test_a_letter_that_is_whole_is_returned_as_it_is() -> None:
    message = Message(IN, 0, 0, b"k", b"v", (("n", b"1"),), 5)
    record = make_codec().dead_letter(message, InvalidMessage("not_json", "no"), stage="decode", model_version="v1")
    letter = DeadLetter.parse(Message(DEAD, 0, 0, record.key, record.value, record.headers))
    assert letter is not None
    assert Originals(lambda _topic, _ranges: ()).complete(letter) is letter
