"""A topic of mostly deletes on a real Kafka: a compacted output sees each of them, live and in a replay of a range."""

import random
import time

import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from consumer.codec import Codec
from consumer.delivery.dead_letter_share import DeadLetterShare
from consumer.kafka.range_source import open_range
from consumer.messages import Message, Source
from consumer.metrics import Metrics
from consumer.times import Period
from tests.support.brokers import FAST_GROUP, Kafka, unique
from tests.support.messages import event_id, posting_bytes
from tests.support.pipeline import make_pipeline
from tests.support.waiting import WAIT_S

pytestmark = pytest.mark.kafka

COUNT, PARTITIONS = 300, 3
GONE = (None, b'{"op": "d", "before": {"id": 1}, "after": null}', b'{"id": 7, "removed": true}')


class Deletes:
    """An input topic with 60 % deletes, one in ten of them without a key, and a compacted output topic."""

    def __init__(self, kafka: Kafka) -> None:
        self.kafka = kafka
        self.input, self.out, self.dead = (kafka.create_topic(PARTITIONS) for _ in range(3))
        compact = ConfigEntry("cleanup.policy", "compact", incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, self.out, incremental_configs=[compact])
        kafka.admin.incremental_alter_configs([resource])[resource].result(WAIT_S)
        rng = random.Random(3)
        self.keyed: list[str] = []
        self.deletes = self.keyless = 0
        for number in range(COUNT):
            value = rng.choice(GONE) if rng.random() < 0.6 else posting_bytes(f"Nurse {number}")
            is_delete = value in GONE
            key = None if is_delete and rng.random() < 0.1 else b"key-%d" % number
            kafka.append(Message(self.input, number % PARTITIONS, -1, key, value))
            self.deletes += is_delete
            self.keyless += key is None
            if key is not None:
                self.keyed.append(f"{self.input}:{number % PARTITIONS}:{number // PARTITIONS}")
        kafka.flush()

    def run(self, source: Source, delivery: str) -> tuple[Metrics, DeadLetterShare]:
        """Enrich until everything is read, with a limit of bad messages that a tenth of the deletes would exceed."""
        sink = self.kafka.sink_of(delivery, self.out, self.dead)
        metrics, share, until = Metrics(), DeadLetterShare(limit=0.05, window=100), time.monotonic() + WAIT_S
        codec = Codec(output_topic=self.out, dead_letter_topic=self.dead, max_message_bytes=20_000, max_title_chars=1_000)

        def stop() -> bool:
            assert time.monotonic() < until, "not everything was read"
            return share.exceeded or (metrics.registry.get_sample_value("occustream_messages_total") or 0) >= COUNT

        make_pipeline(source, sink, batch=20, metrics=metrics, stop=stop, codec=codec, dead_letter_share=share).run()
        return metrics, share


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
@pytest.mark.parametrize("is_range", [False, True], ids=["live", "range"])
def test_a_compacted_output_sees_each_delete_and_the_bad_share_none(kafka: Kafka, delivery: str, is_range: bool) -> None:
    topics, group = Deletes(kafka), unique("group")
    given = {"bootstrap.servers": kafka.servers, "group.id": group, **FAST_GROUP}
    source: Source = (
        open_range(given, topics.input, Period(None, None), events=Metrics()) if is_range else kafka.source(topics.input, group)
    )
    metrics, share = topics.run(source, delivery)
    out = kafka.messages(topics.out)
    assert sorted(map(event_id, out)) == sorted(topics.keyed)
    assert sum(record.value is None for record in out) == topics.deletes - topics.keyless
    assert (kafka.messages(topics.dead), share.share) == ([], 0.0)
    inputs = {message.event_id: message for message in kafka.messages(topics.input)}
    assert all(record.key == inputs[event_id(record)].key for record in out)
    for partition in range(PARTITIONS):
        offsets = [inputs[event_id(record)].offset for record in out if record.partition == partition]
        assert offsets == sorted(offsets)
    assert sum(kafka.committed(group, topics.input).values()) == COUNT
    assert metrics.registry.get_sample_value("occustream_bad_share") == 0
