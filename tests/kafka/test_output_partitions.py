"""Output topics whose number of partitions changes under a consumer, on a real Kafka."""

import pytest

from consumer.codec import Codec
from consumer.messages import Message
from tests.support.brokers import Kafka, unique
from tests.support.messages import MAX_MESSAGE_BYTES, MAX_TITLE_CHARS, event_id, posting_bytes
from tests.support.pipeline import make_pipeline
from tests.support.waiting import wait_until

pytestmark = pytest.mark.kafka

BEFORE, AFTER = 4, 2
EACH = 20


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_an_output_topic_created_again_with_fewer_partitions_is_written_in_order(kafka: Kafka, delivery: str) -> None:
    inputs, output, dead = (kafka.create_topic(BEFORE) for _ in range(3))
    sink = kafka.sink_of(delivery, output, dead)
    source = kafka.source(inputs, unique("group"))
    limits = {"max_message_bytes": MAX_MESSAGE_BYTES, "max_title_chars": MAX_TITLE_CHARS}
    codec = Codec(output_topic=output, dead_letter_topic=dead, **limits)
    pipeline = make_pipeline(source, sink, codec=codec, batch=7)
    source.start(pipeline.on_revoke)

    def feed() -> None:
        for number in range(EACH):
            for partition in range(BEFORE):
                kafka.append(Message(inputs, partition, -1, None, posting_bytes(f"Nurse {number}")))
        kafka.flush()

    feed()
    wait_until(lambda: pipeline.turn() or len(kafka.messages(output)) == BEFORE * EACH, "all is enriched")  # type: ignore[func-returns-value]
    kafka.delete_topic(output)
    kafka.create_again(output, AFTER)
    feed()
    wait_until(lambda: pipeline.turn() or len(kafka.messages(output)) >= BEFORE * EACH, "all of the rest is enriched", 90.0)  # type: ignore[func-returns-value]
    source.close()
    written = kafka.messages(output)
    for partition in range(BEFORE):
        own = [m for m in written if event_id(m).startswith(f"{inputs}:{partition}:")]
        assert {m.partition for m in own} == {partition % AFTER}
        assert [event_id(m) for m in own] == [f"{inputs}:{partition}:{EACH + number}" for number in range(EACH)]
