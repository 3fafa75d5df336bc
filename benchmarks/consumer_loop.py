"""The consumer's own loop as benchmarks run it in their process, with its default settings, on topics of its own."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from confluent_kafka.admin import AdminClient, NewTopic

from consumer.batcher import Batcher, BatchPolicy
from consumer.codec import Codec
from consumer.delivery.at_least_once import AtLeastOnce, Delivery, ExactlyOnce
from consumer.delivery.dead_letter_share import BadShare
from consumer.kafka.sink import KafkaSink
from consumer.kafka.source import KafkaSource
from consumer.kafka.transactions import KafkaTransactions
from consumer.messages import Sink, Source
from consumer.metrics import Metrics
from consumer.model.scorer import Scorer
from consumer.pipeline import Pipeline

PARTITIONS = 4


class Topics(NamedTuple):
    """The topics of one run."""

    raw: str = "raw"
    enriched: str = "enriched"
    dead: str = "dead"


@contextlib.contextmanager
def new_topics(servers: str) -> Iterator[Topics]:
    """Yield new topics of `PARTITIONS` partitions on a real Kafka; delete them afterwards."""
    topics = Topics(*(f"bench-{time.time_ns()}.{name}" for name in Topics()))
    admin = AdminClient({"bootstrap.servers": servers})
    for future in admin.create_topics([NewTopic(t, PARTITIONS, 1) for t in topics], operation_timeout=15).values():
        future.result(20)
    time.sleep(1)  # until every client sees the topics
    yield topics
    admin.delete_topics(list(topics))


def make_clients(servers: str, topics: Topics, *, once: bool) -> tuple[KafkaSource, KafkaSink | KafkaTransactions]:
    """Return a source in a group of its own, and a sink: transactions for exactly-once delivery (`once`)."""
    properties, outputs = {"bootstrap.servers": servers}, (topics.enriched, topics.dead)
    sink = (
        KafkaTransactions(properties, topics=outputs, transactional_id=topics.raw)
        if once
        else KafkaSink(properties, topics=outputs)
    )
    sink.start()
    return KafkaSource({**properties, "group.id": topics.raw}, topic=topics.raw), sink


def make_pipeline(
    source: Source, sink: Sink | KafkaTransactions, scorer: Scorer, metrics: Metrics, topics: Topics, stop: Callable[[], bool]
) -> Pipeline:
    """Return the consumer's loop; the sink decides the mode of delivery."""
    codec = Codec(output_topic=topics.enriched, dead_letter_topic=topics.dead, max_message_bytes=1_000_000, max_title_chars=1_000)
    delivery: Delivery
    if isinstance(sink, KafkaTransactions):
        delivery = ExactlyOnce(source, sink, metrics, codec=codec, bad_share=BadShare())
    else:
        delivery = AtLeastOnce(source, sink, metrics, codec=codec, bad_share=BadShare())
    batcher = Batcher(BatchPolicy(256, 4_000_000, 0.02))
    return Pipeline(source=source, delivery=delivery, batcher=batcher, codec=codec, scorer=scorer, metrics=metrics, stop=stop)
