"""Enriched postings by decision: each goes to its decision's topic, in both delivery modes, and no order is lost."""

import json

import pytest

from consumer.memory_broker import MemoryBroker, MemorySink, MemorySource, MemoryTransactions
from consumer.messages import TopicPartition
from consumer.settings import Settings
from tests.support.messages import DEAD, IN, OUT, event_id, make_codec, posting_bytes
from tests.support.pipeline import make_pipeline


@pytest.mark.parametrize("exactly_once", [False, True])
def test_each_posting_goes_to_the_topic_of_its_decision_and_no_order_is_lost(exactly_once: bool) -> None:
    broker = MemoryBroker({IN: 3, OUT: 3, DEAD: 3, "sure": 3, "unsure": 1})
    titles = ("Staff Nurse", "Line Cook", "Trucker", "zzz", "Nurse Nurse Cook", "Registered Nurses", "qq driver of trucks")
    for number in range(60):
        broker.append(TopicPartition(IN, number % 3), posting_bytes(titles[number % len(titles)]))
    sink = MemoryTransactions(broker) if exactly_once else MemorySink(broker)
    codec = make_codec(decision_topics={"accept": "sure", "unclassified": "unsure"})
    turns = iter([False] * 30)
    make_pipeline(MemorySource(broker, topic=IN, group_id="g"), sink, codec=codec, stop=lambda: next(turns, True)).run()
    found = {topic: broker.messages(topic) for topic in ("sure", "unsure", OUT)}
    assert sum(map(len, found.values())) == 60
    decisions = {topic: {json.loads(m.value or b"")["decision"] for m in messages} for topic, messages in found.items()}
    assert len(found["sure"]) > 0
    assert len(found["sure"]) < 60
    assert decisions["sure"] == {"accept"}
    assert decisions["unsure"] <= {"unclassified"}
    assert decisions[OUT] <= {"review"}
    for messages in found.values():
        places = [tuple(map(int, event_id(m).split(":")[1:])) for m in messages]
        for partition in range(3):
            offsets = [offset for of_partition, offset in places if of_partition == partition]
            assert offsets == sorted(offsets)
    for topic in ("sure", OUT):
        assert all(int(event_id(m).split(":")[1]) == m.partition for m in found[topic])


def test_a_decision_without_a_topic_of_its_own_goes_to_the_output_topic() -> None:
    settings = Settings(output_topic_review="to-review", output_topic_accept="sure", dead_letter_topic="dead")
    assert settings.decision_topics == {"accept": "sure", "review": "to-review"}
    assert settings.written_topics == ("postings.enriched", "sure", "to-review", "dead")


@pytest.mark.parametrize("topic", ["postings.raw", "postings.dead-letters"])
def test_the_topic_of_a_decision_is_neither_input_nor_dead_letters(topic: str) -> None:
    with pytest.raises(ValueError, match="must differ"):
        Settings(output_topic_review=topic)
