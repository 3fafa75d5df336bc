"""Kafka transactions behind `TransactionalSink`: each begins only when its records are ready, and is over soon.

When the producer that writes them may be used, and when it is thrown away, is decided in `transactional_producer.py`.
"""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn, cast

import confluent_kafka as ck
from confluent_kafka import KafkaError, KafkaException

from consumer.errors import BrokerError, DeliveryFailed, RecordTooLarge
from consumer.kafka.failures import FENCED, delivery_failure, is_fatal, is_too_large
from consumer.kafka.offsets import Membership
from consumer.kafka.output_partitions import OutputPartitions
from consumer.kafka.reasons import SILENT, explain_silent_topics
from consumer.kafka.transactional_producer import SLOW_S, TransactionalProducer, retry_step, seconds_left
from consumer.messages import Record, TopicPartition
from consumer.process.background import count_unfinished_steps, run_with_deadline

log = logging.getLogger(__name__)

FULL_QUEUE_POLL_S = 0.05
MAX_HANGING = 5
"""So many clients may wait for a coordinator beyond their time before the process ends."""


class KafkaTransactions:
    """Writes transactions with one transactional id; see `TransactionalSink`."""

    def __init__(
        self,
        properties: Mapping[str, Any],
        *,
        topics: Sequence[str],
        transactional_id: str,
        renewed: bool = True,
        open_timeout_s: float = 30.0,
    ) -> None:
        """Make the producer; `topics` are all that records may go to. Raises ConfigError as `TransactionalProducer`.

        `renewed` and `open_timeout_s` are the producer's.
        """
        self.producer = TransactionalProducer(
            properties, transactional_id=transactional_id, renewed=renewed, open_timeout_s=open_timeout_s
        )
        self._topics = topics
        self._partitions = OutputPartitions(properties.get("bootstrap.servers", ""), self.producer.login)
        self._refusal: DeliveryFailed | None = None  # of a record of the transaction that is being written
        self._sequence_gap = False
        self._aborted = False  # whether the last failed transaction was aborted; if not, only the committed offsets show its end

    def start(self) -> None:
        """Look the output topics up and end what an earlier process left open. Raises BrokerError."""
        self.look_up(self._topics)
        self.producer.start()

    def look_up(self, topics: Iterable[str]) -> None:
        """Learn of topics that records may go to, too. Raises BrokerError where one is not there or no broker answers."""
        self._partitions.start(self.producer.client, topics)

    def transact(self, records: Sequence[Record], offsets: Mapping[TopicPartition, int], group: object) -> None:
        """See `TransactionalSink.transact`.

        librdkafka counts refused records in its sequence numbers. The next transaction then fails on the gap, and only its end
        lets librdkafka count anew. So that transaction is tried twice, unless nobody knows what became of the first try.
        """
        tries = 2 if self._sequence_gap else 1
        self._sequence_gap = False
        while tries:
            tries -= 1
            try:
                self._write(records, offsets, cast("Membership", group))
            except RecordTooLarge:
                self._sequence_gap = True
                raise
            except DeliveryFailed as error:
                if not (tries and self._aborted):
                    raise
                log.info("tried once more after a record that was too large: %s", error)
            else:
                return

    def poll(self, timeout_s: float) -> None:
        """See `TransactionalSink.poll`."""
        self.producer.poll(timeout_s)

    def _write(self, records: Sequence[Record], offsets: Mapping[TopicPartition, int], member: Membership) -> None:
        client = self.producer.ready_client()
        self._partitions.refresh(client)
        self._aborted, self._refusal = False, None
        started = time.monotonic()
        until = started + self.producer.timeout_s
        try:
            self.producer.ignore_earlier_breaks()
            client.begin_transaction()
            for record in records:
                self._produce(client, record, until)
            if offsets:
                self._send_offsets(client, member.past(offsets), member.metadata, until)
            retry_step(lambda: client.commit_transaction(seconds_left(until)), until)
        except (KafkaException, BufferError) as error:
            self._undo(error, time.monotonic() - started, records=records, group=member.group_id if offsets else "")
        if offsets:
            member.finish(offsets)
        self.producer.discard_if_doubtful(started)

    def _send_offsets(self, client: Any, wanted: Sequence[ck.TopicPartition], group: object, until: float) -> None:  # noqa: ANN401
        """Add offsets to the transaction, within a bound.

        Where the group's coordinator is gone, librdkafka may wait for it without end (confluentinc/librdkafka#5456, #5511). A
        client that does is left to itself, and its successor shuts it out.
        """

        def step() -> None:
            retry_step(lambda: client.send_offsets_to_transaction(wanted, group, seconds_left(until)), until)

        if not run_with_deadline(step, until + SLOW_S):
            self.producer.discard("it waits for the group's coordinator beyond its time")
            if (hanging := count_unfinished_steps()) > MAX_HANGING:
                raise BrokerError(f"{hanging} clients hang, each waiting for the group's coordinator; start the consumer again")
            raise DeliveryFailed("the group's coordinator did not take the offsets of a transaction in its time")

    def _produce(self, client: Any, record: Record, until: float) -> None:  # noqa: ANN401 - confluent_kafka is untyped
        partition = self._partitions.find(record)
        while True:
            try:
                client.produce(
                    record.topic,
                    value=record.value,
                    key=record.key,
                    headers=list(record.headers),
                    partition=partition,
                    on_delivery=self._note_delivery,
                )
            except BufferError:
                if time.monotonic() >= until:
                    raise
                client.poll(FULL_QUEUE_POLL_S)
            except KafkaException as error:
                self._note_refusal(error.args[0], record.topic)
                raise
            else:
                client.poll(0.0)
                return

    def _note_delivery(self, error: KafkaError | None, message: ck.Message) -> None:
        if error is not None:
            self._note_refusal(error, str(message.topic()))

    def _note_refusal(self, error: KafkaError, topic: str) -> None:
        """Note why a record is not taken: the first reason, or that one is too large."""
        self._partitions.note_refusal(error, topic)
        if isinstance(self._refusal, RecordTooLarge):
            return
        if error.code() in SILENT:
            return
        found = delivery_failure(error, f"{topic!r} does not take a record", topic=topic)
        if self._refusal is None or isinstance(found, RecordTooLarge):  # which may have taken others with it
            self._refusal = found

    def _undo(self, error: KafkaException | BufferError, took_s: float, *, records: Sequence[Record], group: str) -> NoReturn:
        """Abort, so that nothing of the transaction remains. Raises DeliveryFailed, or BrokerError where we are replaced."""
        if isinstance(error, BufferError):
            self.producer.discard("its queue stayed full")
            raise DeliveryFailed("the producer's queue stayed full for the length of a transaction") from error
        cause = error.args[0]
        if is_fatal(cause):
            self.producer.raise_if_replaced(cause, took_s)
            failure = self._explain(cause, records, group)
            self.producer.discard(str(failure))
        elif cause.txn_requires_abort() or is_too_large(cause):  # the client did not even queue it
            self._aborted = self._abort(took_s)
            failure = self._explain(cause, records, group)
        else:
            failure = self._explain(cause, records, group)
            self.producer.discard(str(failure))
        raise failure from error

    def _explain(self, cause: KafkaError, records: Sequence[Record], group: str) -> DeliveryFailed:
        """Return why a transaction failed: what refused a record of it, or what is wrong with its topics."""
        if self._refusal is not None:
            return self._refusal
        topics = sorted({record.topic for record in records})
        begin = "" if is_too_large(cause) else explain_silent_topics(self.producer.client, topics)
        return delivery_failure(cause, f"{begin}the transaction was broken off", topic=" or ".join(topics), group=group)

    def _abort(self, took_s: float) -> bool:
        """Abort, and return whether that was done. A slow abort costs the client: a process must end in time."""
        started = time.monotonic()
        until = started + SLOW_S
        client = self.producer.client
        try:
            retry_step(lambda: client.abort_transaction(seconds_left(until)), until)
        except KafkaException as error:
            cause = error.args[0]
            if cause.code() in FENCED:  # other errors pass with the client: the coordinator may know of no transaction yet
                self.producer.raise_if_replaced(cause, took_s + time.monotonic() - started)
            self.producer.discard(cause.str())
            return False
        self.producer.discard_if_doubtful(started)
        return True
