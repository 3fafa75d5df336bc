"""An idempotent Kafka producer behind `Sink`."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import confluent_kafka as ck
from confluent_kafka import KafkaError, KafkaException

from consumer.errors import BrokerError, DeliveryFailed
from consumer.kafka.client import IDEMPOTENT_PRODUCER, make_client, outside_group
from consumer.kafka.failures import delivery_failure, is_fatal
from consumer.kafka.login_watch import LoginWatch
from consumer.kafka.output_partitions import OutputPartitions
from consumer.messages import OnAck, Record

PRODUCER_DEFAULTS: Mapping[str, Any] = {
    **IDEMPOTENT_PRODUCER,
    "linger.ms": 5,
    "compression.type": "lz4",
    "message.timeout.ms": 0,  # we wait for a dead broker: the records behind one that timed out would overtake it
    "message.max.bytes": 16_000_000,  # the topic's own limit decides
    "queue.buffering.max.kbytes": 65_536,
}


class KafkaSink:
    """An idempotent producer; see `Sink`."""

    def __init__(self, properties: Mapping[str, Any], *, topics: Sequence[str], full_queue_timeout_s: float = 30.0) -> None:
        """Create the client; `topics` are all that records may go to. Raises ConfigError for a property it does not take."""
        self._logins = LoginWatch()
        own = {**PRODUCER_DEFAULTS, **outside_group(properties)}
        self._producer = make_client(ck.Producer, own, on_error=self._logins.on_error)
        self._topics = topics
        self._partitions = OutputPartitions(properties.get("bootstrap.servers", ""), self._logins)
        self._full_queue_timeout_s = full_queue_timeout_s

    def start(self) -> None:
        """Look the output topics up. Raises BrokerError where one is not there or no broker answers."""
        self._partitions.start(self._producer, self._topics)

    def produce(self, record: Record, on_ack: OnAck) -> None:
        """See `Sink.produce`."""
        deadline = time.monotonic() + self._full_queue_timeout_s
        if not len(self._producer):  # records that are under way would come behind later ones that go elsewhere
            self._partitions.refresh(self._producer)
        partition = self._partitions.find(record)
        while True:
            try:
                self._producer.produce(
                    record.topic,
                    value=record.value,
                    key=record.key,
                    headers=list(record.headers),
                    partition=partition,
                    on_delivery=lambda error, _message: on_ack(None if error is None else self._explain(error, record.topic)),
                )
            except BufferError as error:
                if time.monotonic() >= deadline:
                    raise DeliveryFailed(f"the producer's queue stayed full for {self._full_queue_timeout_s:.0f} s") from error
                self._producer.poll(0.1)
            except KafkaException as error:
                _raise_if_fatal(error)
                self._partitions.note_refusal(error.args[0], record.topic)
                raise delivery_failure(error.args[0], f"{record.topic!r} refuses a record", topic=record.topic) from error
            else:
                return

    def poll(self, timeout_s: float) -> None:
        """See `Sink.poll`. Raises BrokerError when the login is refused for too long."""
        try:
            self._producer.poll(timeout_s)
        except KafkaException as error:
            _raise_if_fatal(error)
            raise
        self._logins.check()

    def _explain(self, error: KafkaError, topic: str) -> DeliveryFailed:
        self._partitions.note_refusal(error, topic)
        return delivery_failure(error, "refused", topic=topic)


def _raise_if_fatal(error: KafkaException) -> None:
    """Raise BrokerError for an error that ends a producer for good: it may have lost one of the records that it took."""
    if is_fatal(error.args[0]):
        raise BrokerError(f"the producer failed for good: {error.args[0].str()}; start the consumer again") from error
