"""The life of a transactional producer: when it may be used, and when it is thrown away. What it writes: `transactions.py`.

librdkafka has no KIP-890 yet: a commit or abort that the broker gets late can end a later transaction of the same producer
(confluentinc/librdkafka#5423). Therefore a producer in doubt is thrown away, that is, after any step that timed out, was slow or
saw a connection break. A new one under the same transactional id shuts the old one out and ends whatever it left open. What is
committed then is what counts.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

import confluent_kafka as ck
from confluent_kafka import KafkaError, KafkaException

from consumer.errors import BrokerError, DeliveryFailed
from consumer.kafka.client import make_client, outside_group
from consumer.kafka.connection_watch import LOG_BROKEN_CONNECTIONS, ConnectionWatch
from consumer.kafka.failures import FATAL, FENCED, is_fatal
from consumer.kafka.login_watch import LoginWatch
from consumer.kafka.reasons import name_missing_right
from consumer.kafka.sink import PRODUCER_DEFAULTS
from consumer.process.backoff import Backoff

log = logging.getLogger(__name__)

TRANSACTION_DEFAULTS: Mapping[str, Any] = {
    **{name: value for name, value in PRODUCER_DEFAULTS.items() if name != "message.timeout.ms"},  # the transaction's holds
    "transaction.timeout.ms": 10_000,  # for so long a killed consumer's records keep readers waiting
    "retry.backoff.ms": 20,  # of the two requests that add offsets; the default 100 would be most of a transaction
    "linger.ms": 0,  # all records are there before the first is sent
}
OPEN_SLICE_S = 0.1
OPEN_ANEW_S = 30.0
"""A client that could not be opened for so long may wait for a coordinator that is gone. A new client asks who that is now."""
LATE_S = 60.0
"""For so long the coordinator may still answer an older request of ours, which shuts out the client that was opened since."""
REPLACED_S = 2.0
"""By then the group has told a process that was halted that another one has taken its place meanwhile."""
SLOW_S = 3.0
"""A step of a transaction that takes longer leaves the producer in doubt."""
RETRY_PAUSES = Backoff(0.05, 1.0)
"""Between tries of a step."""

State = Literal["opening", "open", "given up"]


class TransactionalProducer:
    """The client that uses a transactional id, from one to the next.

        opening ──── the coordinator has answered ────▶ open ───┐
           ▲                                             ▲      │ transactions
           │                                             └──────┤
           │                                                    │ in doubt: a step failed, timed out or was slow,
           │                                                    │ or a connection broke
           └──── `renewed`: with a new client ──── discarded ◀──┘
                                                       │
                                                       └──── not `renewed` ────▶ given up

    An opening client is discarded as well if it waits for too long or its connection breaks. In any state a request may find
    that another process has taken the id over (this producer is "fenced"): BrokerError is raised, and the process ends.
    """

    def __init__(
        self, properties: Mapping[str, Any], *, transactional_id: str, renewed: bool = True, open_timeout_s: float = 30.0
    ) -> None:
        """Make the first client; it connects when opened. Raises ConfigError for a property that it does not take.

        `open_timeout_s` bounds the wait for a coordinator, which first ends what a producer of this id left open.
        Without `renewed`, a client that had to be thrown away is not replaced, so that nobody else is shut out by its successor.
        """
        self._properties = {
            **TRANSACTION_DEFAULTS,
            **outside_group(properties),
            "transactional.id": transactional_id,
            **LOG_BROKEN_CONNECTIONS,
        }
        self.timeout_s = float(self._properties["transaction.timeout.ms"]) / 1_000
        """How long a transaction may take, in seconds: the broker ends it then."""
        self.late_until = 0.0
        """Until then (monotonic seconds) an older request of ours may shut us out, see LATE_S."""
        self._id = transactional_id
        self._renewed = renewed
        self._open_timeout_s = open_timeout_s
        self._state: State = "opening"
        self._why_discarded = ""
        self._not_before = 0.0  # not opened earlier, see REPLACED_S
        self._served_at = time.monotonic()
        self.login = LoginWatch()
        """Why brokers refuse the login, if they do."""
        self._make_client()

    @property
    def client(self) -> Any:  # noqa: ANN401 - confluent_kafka is untyped
        """The present client, open or not."""
        return self._client

    @property
    def state(self) -> State:
        """The state of the class's picture. A discarded producer is at once opening or given up."""
        return self._state

    def start(self) -> None:
        """Open it for the first time. Raises BrokerError."""
        self._open_within(max(OPEN_ANEW_S, self._open_timeout_s))

    def ready_client(self) -> Any:  # noqa: ANN401 - confluent_kafka is untyped
        """Return a client that is ready for a transaction. Raises DeliveryFailed while there is none, BrokerError for good."""
        if self._state == "open":
            return self._client
        if self._state == "given up":
            raise DeliveryFailed(f"the producer of transactions was given up: {self._why_discarded}")
        if time.monotonic() < self._not_before:
            raise DeliveryFailed(f"the producer of transactions is made anew: {self._why_discarded}")
        self._open_within(self._open_timeout_s)
        return self._client

    def poll(self, timeout_s: float) -> None:
        """Serve the client's events. A new client is opened meanwhile: what the old one left open hides where to read on.

        Raises BrokerError when the login is refused for too long.
        """
        self.login.check()
        self._serve(timeout_s)
        if self._state == "opening" and time.monotonic() >= self._not_before:
            with contextlib.suppress(DeliveryFailed):  # the next transaction raises it
                self._open_within(OPEN_SLICE_S)
        self._served_at = time.monotonic()

    def ignore_earlier_breaks(self) -> None:
        """Forget a break before a transaction of a producer that is not renewed. Raises KafkaException.

        Between transactions no request is on its way that a break could double. It counts if the next break would be missed.
        """
        if not self._renewed:
            self._client.poll(0.0)
            if not self._watch.next_break_may_be_missed:
                self._watch.break_seen = False

    def discard_if_doubtful(self, started: float) -> None:
        """Discard the client if a request of a step that began then (monotonic seconds) may still be on its way.

        It could end a later transaction.
        """
        self._serve(0.0)
        if self._state == "open" and time.monotonic() - started > SLOW_S:
            self.discard("a transaction was slow")

    def discard(self, why: str) -> None:
        """Throw the client away. If we may have been halted, wait before opening: the group may say that we are replaced."""
        if time.monotonic() - self._served_at > SLOW_S:
            self._not_before = time.monotonic() + REPLACED_S
        self._why_discarded = why
        if not self._renewed:
            self._state = "given up"
            return
        self._state = "opening"
        log.info("making the producer of transactions anew: %s", why)
        self._make_client()

    def raise_if_replaced(self, cause: KafkaError, took_s: float) -> None:
        """Raise BrokerError for an error that ends the client for good because another consumer has taken the id over.

        Two others end only the client: the coordinator has ended a transaction that outlived its time (`took_s`, seconds), or an
        older request of ours came late.
        """
        fenced = cause.code() in FENCED
        if (fenced or cause.code() == FATAL) and took_s >= self.timeout_s:
            return
        if fenced and time.monotonic() < self.late_until:
            return
        if fenced:
            raise BrokerError(
                f"another consumer or replay uses the transactional id {self._id!r} and has taken over ({cause.str()}); "
                "give each consumer of the group an --instance-id of its own, and run one replay at a time"
            )
        raise BrokerError(f"the producer of transactions failed for good: {cause.str()}")

    def _serve(self, timeout_s: float) -> None:
        try:
            self._client.poll(timeout_s)
        except KafkaException as error:  # a fatal one
            self.raise_if_replaced(error.args[0], 0.0)
            self.discard(error.args[0].str())
        if self._state == "open" and self._watch.break_seen:
            self.discard("a connection broke")

    def _open_within(self, timeout_s: float) -> None:
        """End what the id left open and shut its former users out. Raises as `ready_client`; called again, it goes on waiting."""
        until = time.monotonic() + timeout_s
        while True:
            self._ask_coordinator(until)
            if not (self._watch.next_break_may_be_missed and self._renewed):
                break
            self._discard_unopened("a connection broke")
            if time.monotonic() >= until:
                raise DeliveryFailed(f"no transactions under the id {self._id!r}: connections break")
        self._state, self._watch.break_seen = "open", False

    def _ask_coordinator(self, until: float) -> None:
        """Wait for the coordinator's answer. Raises as `ready_client`.

        The same client waits for long: a new one would ask again, and the coordinator may answer the older client's request last.
        """
        asked_at = time.monotonic()
        try:
            retry_step(lambda: self._client.init_transactions(seconds_left(until)), until)
            self._client.poll(0.0)  # a break that the client noticed is known by then
        except KafkaException as error:
            cause = error.args[0]
            right = name_missing_right(cause, transactional_id=self._id)
            if is_fatal(cause) or right:
                raise BrokerError(f"no transactions under the id {self._id!r}: {cause.str()}{right}") from error
            self._opening_s += time.monotonic() - asked_at
            if not cause.retriable() or self._opening_s >= OPEN_ANEW_S:
                self._discard_unopened("it could not be opened")
            raise DeliveryFailed(f"no coordinator for the transactional id {self._id!r}: {cause.str()}") from error

    def _discard_unopened(self, why: str) -> None:
        """Discard a client whose request is on its way. The coordinator may answer it after that of the next client."""
        self.late_until = time.monotonic() + LATE_S
        self.discard(why)

    def _make_client(self) -> None:
        self._opening_s, self._watch = 0.0, ConnectionWatch()
        self._client: Any = make_client(ck.Producer, self._properties, on_error=self._take_error, on_log=self._watch.on_log)

    def _take_error(self, error: KafkaError) -> None:
        self._watch.on_error(error)
        self.login.on_error(error)


def seconds_left(until: float) -> float:
    """Return how long a step may take that must end then (monotonic seconds); a little, where it is too late."""
    return max(0.1, until - time.monotonic())


def retry_step(step: Callable[[], object], until: float) -> None:
    """Take a step of a transaction, again while its error says that this may help, until then (monotonic seconds).

    Raises KafkaException.
    """
    for pause_s in RETRY_PAUSES.pauses():
        try:
            step()
        except KafkaException as error:
            cause = error.args[0]
            if cause.fatal() or cause.txn_requires_abort() or not cause.retriable() or time.monotonic() >= until:
                raise
            time.sleep(min(pause_s, seconds_left(until)))
        else:
            return
