"""Kafka transactions behind `TransactionalSink`: short, and a producer that may be out of step is thrown away.

librdkafka has no KIP-890 yet: a commit or abort that the broker gets late can end a later transaction of the same producer
(confluentinc/librdkafka#5423). Therefore a transaction begins only when its records are ready, and after any step that timed
out, was slow or saw a connection break, the producer is made anew under the same transactional id: that fences the old one, and
ends whatever it left open. What is then committed is what counts.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import confluent_kafka as ck
from confluent_kafka import KafkaError, KafkaException

from consumer.errors import BrokerError, DeliveryFailed, RecordTooLarge
from consumer.kafka.client import failure, is_fatal, is_too_large, make_client, outside_group, partition_count
from consumer.kafka.connection_watch import AUDIBLE, Breaks
from consumer.kafka.offsets import Membership, places
from consumer.kafka.sink import PRODUCER_DEFAULTS
from consumer.messages import Record, TopicPartition
from consumer.process.background import count_unfinished_steps, run_with_deadline

log = logging.getLogger(__name__)

TRANSACTION_DEFAULTS: Mapping[str, Any] = {
    **{name: value for name, value in PRODUCER_DEFAULTS.items() if name != "message.timeout.ms"},  # the transaction's holds
    "transaction.timeout.ms": 10_000,  # for so long a killed consumer's records keep readers waiting
    "retry.backoff.ms": 20,  # of the two requests that add offsets; the default 100 would be most of a transaction
    "linger.ms": 0,  # all records are there before the first is sent
}
OPEN_SLICE_S = 0.1
OPEN_ANEW_S = 30.0
"""A producer that could not be opened for so long may wait for a coordinator that is gone; a new one asks who it is now."""
LATE_S = 60.0
"""For so long the coordinator may still come to an older request of ours to open, and shut out what was opened since."""
REPLACED_S = 2.0
"""A process that was halted, and whose place in the group another one has taken meanwhile, is told so by then."""
SLOW_S = 3.0
RETRY_S, LONGEST_RETRY_S = 0.05, 1.0
"""Between tries of a step; each pause is twice the one before."""
MAX_HANGING = 5
FENCED = (KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED)  # noqa: SLF001


class KafkaTransactions:
    """A transactional producer; see `TransactionalSink`."""

    def __init__(
        self,
        properties: Mapping[str, Any],
        *,
        topics: Sequence[str],
        transactional_id: str,
        renewed: bool = True,
        open_timeout_s: float = 30.0,
    ) -> None:
        """Check the properties; `topics` are all that records may go to. Raises ConfigError for a property it does not take.

        `open_timeout_s` bounds the wait for a coordinator, which first ends what a producer of this id left open.
        Without `renewed`, a producer that had to be thrown away is not made anew, so that nobody else is shut out by it.
        """
        self._properties = {
            **TRANSACTION_DEFAULTS,
            **outside_group(properties),
            "transactional.id": transactional_id,
            **AUDIBLE,
        }
        self._servers = properties.get("bootstrap.servers", "")
        self._timeout_s = float(self._properties["transaction.timeout.ms"]) / 1_000
        self._topics = topics
        self._id = transactional_id
        self._partition_counts: dict[str, int] = {}
        self._refusal: DeliveryFailed | None = None
        self._producer: Any = self._client()
        self._open = False
        self._gap = False
        self._aborted = False  # what failed last; else only what is committed tells
        self._renewed = renewed
        self._open_timeout_s = open_timeout_s
        self._opening_s = 0.0
        self._late_until = self._not_before = 0.0
        self._served_at = time.monotonic()
        self._given_up: str | None = None
        self._why_anew = ""

    def start(self) -> None:
        """Look the output topics up and end what an earlier process left open. Raises BrokerError."""
        self.look_up(self._topics)
        self._open_within(max(OPEN_ANEW_S, self._open_timeout_s))

    def look_up(self, topics: Iterable[str]) -> None:
        """Learn of topics that records may go to, too. Raises BrokerError where one is not there or no broker answers."""
        self._partition_counts |= {t: partition_count(self._producer, t, servers=self._servers) for t in topics}

    def transact(self, records: Sequence[Record], offsets: Mapping[TopicPartition, int], group: object) -> None:
        """See `TransactionalSink.transact`.

        librdkafka counts refused records in its sequence numbers. The next transaction then fails on the gap, and only the end of
        that one lets it count anew: so it is tried twice, unless nobody knows what became of it.
        """
        again, self._gap = self._gap, False
        try:
            self._transact(records, offsets, group)
        except RecordTooLarge:
            self._gap = True
            raise
        except DeliveryFailed as error:
            if not (again and self._aborted):
                raise
            log.info("tried once more after a record that was too large: %s", error)
            self.transact(records, offsets, group)

    def _transact(self, records: Sequence[Record], offsets: Mapping[TopicPartition, int], group: object) -> None:
        producer = self._opened()
        self._aborted, self._refusal = False, None
        started = time.monotonic()
        until = started + self._timeout_s
        member = cast("Membership", group)
        wanted = places(offsets, member.topic_id) if offsets else []
        try:
            if not self._renewed:
                self._pass_over_old_breaks()
            producer.begin_transaction()
            for record in records:
                self._produce(producer, record, until)
            if wanted:
                self._send_offsets(producer, wanted, member.metadata, until)
            _patiently(lambda: producer.commit_transaction(_left(until)), until)
        except (KafkaException, BufferError) as error:
            self._undo(error, time.monotonic() - started)
        self._discard_if_doubtful(started)

    def _pass_over_old_breaks(self) -> None:
        """Between transactions no request is on its way that a break could double, unless the next one would go unnoticed."""
        self._producer.poll(0.0)
        if not self._breaks.silenced:
            self._breaks.noticed = False

    def _send_offsets(self, producer: Any, wanted: Sequence[ck.TopicPartition], group: object, until: float) -> None:  # noqa: ANN401
        """Add offsets to the transaction. A producer that never comes back is left to itself, for its successor to shut out.

        Where the group's coordinator is gone, librdkafka may wait for it for good (confluentinc/librdkafka#5456, #5511).
        """

        def step() -> None:
            _patiently(lambda: producer.send_offsets_to_transaction(wanted, group, _left(until)), until)

        if not run_with_deadline(step, until + SLOW_S):
            self._discard("it waits for the group's coordinator beyond its time")
            if (hanging := count_unfinished_steps()) > MAX_HANGING:
                raise BrokerError(f"{hanging} clients hang, each waiting for the group's coordinator; start the consumer again")
            raise DeliveryFailed("the group's coordinator did not take the offsets of a transaction in its time")

    def poll(self, timeout_s: float) -> None:
        """See `TransactionalSink.poll`. A new producer is opened meanwhile: what the old one left open hides where to read on."""
        self._serve(timeout_s)
        if not self._open and self._given_up is None and time.monotonic() >= self._not_before:
            with contextlib.suppress(DeliveryFailed):  # the next one tells
                self._open_within(OPEN_SLICE_S)
        self._served_at = time.monotonic()

    def _serve(self, timeout_s: float) -> None:
        try:
            self._producer.poll(timeout_s)
        except KafkaException as error:  # a fatal one
            self._raise_if_replaced(error.args[0], 0.0)
            self._discard(error.args[0].str())
        if self._open and self._breaks.noticed:
            self._discard("a connection broke")

    def _produce(self, producer: Any, record: Record, until: float) -> None:  # noqa: ANN401 - confluent_kafka is untyped
        where = record.input_partition % self._partition_counts[record.topic]
        while True:
            try:
                producer.produce(
                    record.topic,
                    value=record.value,
                    key=record.key,
                    headers=list(record.headers),
                    partition=where,
                    on_delivery=self._delivered,
                )
            except BufferError:
                if time.monotonic() >= until:
                    raise
                producer.poll(RETRY_S)
            except KafkaException as error:
                self._refuse(error.args[0], record.topic)
                raise
            else:
                producer.poll(0.0)
                return

    def _delivered(self, error: KafkaError | None, message: ck.Message) -> None:
        if error is not None:
            self._refuse(error, str(message.topic()))

    def _refuse(self, error: KafkaError, topic: str) -> None:
        """Note why a record is not taken: the first reason, or that one is too large."""
        if isinstance(self._refusal, RecordTooLarge):
            return
        found = failure(error, f"{topic!r} does not take a record")
        if self._refusal is None or isinstance(found, RecordTooLarge):  # which may have taken others with it
            self._refusal = found

    def _undo(self, error: KafkaException | BufferError, took_s: float) -> None:
        """Abort, so that nothing of the transaction remains. Raises DeliveryFailed, or BrokerError where we are replaced."""
        if isinstance(error, BufferError):
            self._discard("its queue stayed full")
            raise DeliveryFailed("the producer's queue stayed full for the length of a transaction") from error
        cause = error.args[0]
        if is_fatal(cause):
            self._raise_if_replaced(cause, took_s)
            self._discard(cause.str())
        elif cause.txn_requires_abort() or is_too_large(cause):  # the client did not even queue it
            self._aborted = self._abort(took_s)
        else:
            self._discard(cause.str())
        raise (self._refusal or failure(cause, "the transaction was broken off")) from error

    def _raise_if_replaced(self, cause: KafkaError, took_s: float) -> None:
        """Tell another consumer's fencing from the coordinator's own, of a transaction that outlived its time, and from ours."""
        if cause.code() in {*FENCED, KafkaError._FATAL} and took_s >= self._timeout_s:  # noqa: SLF001 - librdkafka's own
            return
        if cause.code() in FENCED and time.monotonic() < self._late_until:
            return
        if cause.code() in FENCED:
            raise BrokerError(
                f"another consumer or replay uses the transactional id {self._id!r} and has taken over ({cause.str()}); "
                "give each consumer of the group an --instance-id of its own, and run one replay at a time"
            )
        raise BrokerError(f"the producer of transactions failed for good: {cause.str()}")

    def _abort(self, took_s: float) -> bool:
        """Abort, and return whether that was done. Slow ones end with the producer thrown away: a process must end in time."""
        started = time.monotonic()
        until = started + SLOW_S
        try:
            _patiently(lambda: self._producer.abort_transaction(_left(until)), until)
        except KafkaException as error:
            cause = error.args[0]
            if cause.code() in FENCED:  # others pass with the producer: the coordinator may know of no transaction yet
                self._raise_if_replaced(cause, took_s + time.monotonic() - started)
            self._discard(cause.str())
            return False
        self._discard_if_doubtful(started)
        return True

    def _discard_if_doubtful(self, started: float) -> None:
        """Throw the producer away if a request that began then may be on its way still, and end a later transaction."""
        self._serve(0.0)
        if self._open and time.monotonic() - started > SLOW_S:
            self._discard("a transaction was slow")

    def _discard(self, why: str) -> None:
        """Throw the producer away. If we may have been halted, the group is given time to say that we are replaced."""
        self._open = False
        if time.monotonic() - self._served_at > SLOW_S:
            self._not_before = time.monotonic() + REPLACED_S
        if not self._renewed:
            self._given_up = why
            return
        log.info("making the producer of transactions anew: %s", why)
        self._why_anew = why
        self._producer = self._client()

    def _opened(self) -> Any:  # noqa: ANN401 - confluent_kafka is untyped
        """Return a producer that is ready for a transaction. Raises DeliveryFailed while there is none, BrokerError for good."""
        if self._open:
            return self._producer
        if self._given_up is not None:
            raise DeliveryFailed(f"the producer of transactions was given up: {self._given_up}")
        if time.monotonic() < self._not_before:
            raise DeliveryFailed(f"the producer of transactions is made anew: {self._why_anew}")
        self._open_within(self._open_timeout_s)
        return self._producer

    def _open_within(self, timeout_s: float) -> None:
        """End what the id left open and shut its former users out. Raises as `_opened`; called again, it goes on waiting.

        It goes on with the same client for long: each new one asks the coordinator anew, which may come to an older request last.
        """
        until = time.monotonic() + timeout_s
        while True:
            asked_at = time.monotonic()
            try:
                _patiently(lambda: self._producer.init_transactions(_left(until)), until)
                self._producer.poll(0.0)  # what the client noticed is told by then
            except KafkaException as error:
                cause = error.args[0]
                if is_fatal(cause):
                    raise BrokerError(f"no transactions under the id {self._id!r}: {cause.str()}") from error
                self._opening_s += time.monotonic() - asked_at
                if not cause.retriable() or self._opening_s >= OPEN_ANEW_S:
                    self._ask_anew("it could not be opened")
                raise DeliveryFailed(f"no coordinator for the transactional id {self._id!r}: {cause.str()}") from error
            if not (self._breaks.silenced and self._renewed):
                break
            self._ask_anew("a connection broke")
            if time.monotonic() >= until:
                raise DeliveryFailed(f"no transactions under the id {self._id!r}: connections break")
        self._open, self._breaks.noticed = True, False

    def _ask_anew(self, why: str) -> None:
        """Take another client, whose request the coordinator may come to before the one that is on its way."""
        self._late_until = time.monotonic() + LATE_S
        self._discard(why)

    def _client(self) -> Any:  # noqa: ANN401 - confluent_kafka is untyped
        self._opening_s, self._breaks = 0.0, Breaks()
        return make_client(ck.Producer, self._properties, on_error=self._breaks.on_error, on_log=self._breaks.on_log)


def _left(until: float) -> float:
    return max(0.1, until - time.monotonic())


def _patiently(step: Callable[[], object], until: float) -> None:
    """Take a step of a transaction, again while its error says that this may help, until then (monotonic seconds)."""
    pause_s = RETRY_S
    while True:
        try:
            step()
        except KafkaException as error:
            cause = error.args[0]
            if cause.fatal() or cause.txn_requires_abort() or not cause.retriable() or time.monotonic() >= until:
                raise
            time.sleep(min(pause_s, _left(until)))
            pause_s = min(2 * pause_s, LONGEST_RETRY_S)
        else:
            return
