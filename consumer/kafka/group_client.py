"""The client of a member of a group, in our words, and the next one after the group held the name of a process that died.

Under `group.protocol=consumer` the brokers give a name (`group.instance.id`) to nobody else before its holder has left, or was
silent for a session. They refuse the member that joins, and its client is of no more use.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import confluent_kafka as ck
from confluent_kafka import KafkaError, KafkaException

from consumer.errors import BrokerError
from consumer.kafka.client import leave_group, make_client, seek
from consumer.kafka.convert import from_client_partition, to_client_partitions
from consumer.kafka.failures import explain_shut_out, is_fatal, is_name_held
from consumer.kafka.group_properties import keeps_membership
from consumer.kafka.login_watch import LoginWatch
from consumer.kafka.partitions import Partitions
from consumer.messages import TopicPartition
from consumer.process.backoff import Backoff

log = logging.getLogger(__name__)

JOIN_PAUSES = Backoff(first_s=1.0, longest_s=5.0)
"""Between tries to join under a name that is held."""
NAME_HELD_S = 90.0
"""A name that is held for so long is that of a living consumer: brokers let no session be longer than 60 s by default."""


class GroupClient:
    """One client after the other, each a member of the group over the same topics."""

    def __init__(self, properties: Mapping[str, Any], topics: str, *, on_commit: Callable[..., None]) -> None:
        """Make the first client; `topics` are as they are named in errors. Raises ConfigError for a property that it refuses."""
        self._properties = {**properties, "on_commit": on_commit}
        self._topics = topics
        self._subscribe: Callable[[], None] = lambda: None
        self._name = str(properties.get("group.instance.id", ""))
        self.group = str(properties.get("group.id", ""))
        self.login = LoginWatch()
        """Why brokers refuse the login, if they do."""
        self._held_since: float | None = None
        self._pauses = JOIN_PAUSES.pauses()
        self._join_at = 0.0
        self._joined = False
        self.raw: Any = make_client(ck.Consumer, self._properties, on_error=self.login.on_error)
        """The present client."""

    @property
    def must_join_again(self) -> bool:
        """Whether the name was held, and it is time to ask for it again."""
        return self._held_since is not None and time.monotonic() >= self._join_at

    def subscribe(self, topics: list[str], **callbacks: Callable[[ck.Consumer, list[ck.TopicPartition]], None]) -> None:
        """Join the group; the callbacks are the client's `on_assign`, `on_revoke` and `on_lost`."""
        self._subscribe = lambda: self.raw.subscribe(topics, **callbacks)
        self._subscribe()
        self._joined = True

    def join_again(self) -> None:
        """Join the group with another client. Nothing may be assigned."""
        self._join_at = time.monotonic() + JOIN_PAUSES.longest_s
        self.raw.close()
        self.raw = make_client(ck.Consumer, self._properties, on_error=self.login.on_error)
        self._subscribe()

    def note_assigned(self) -> None:
        """Note that the group has taken us in."""
        if self._held_since is not None:
            log.info("the name %r is free, and this consumer has it now", self._name)
        self._held_since, self._pauses = None, JOIN_PAUSES.pauses()

    def end_or_wait(self, error: KafkaError) -> None:
        """Take an error after which the client is of no more use. Raises BrokerError, unless the name will be free some time."""
        if not is_name_held(error):
            raise BrokerError(explain_shut_out(error, self._topics, self._name))
        now = time.monotonic()
        if self._held_since is None:
            self._held_since = now
            log.warning(
                "the group holds the name %r for a consumer that was here before; "
                "it is waited for until that one's session is over, %.0f s at most",
                self._name,
                NAME_HELD_S,
            )
        elif now - self._held_since >= NAME_HELD_S:
            raise BrokerError(explain_shut_out(error, self._topics, self._name))
        self._join_at = now + next(self._pauses)

    @contextmanager
    def explain_end(self) -> Iterator[None]:
        """Turn an error of a client that is of no more use into what `end_or_wait` makes of it."""
        try:
            yield
        except KafkaException as error:
            if not is_fatal(error.args[0]):
                raise
            self.end_or_wait(error.args[0])

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """Read no more of these partitions, which are ours."""
        self.raw.pause(to_client_partitions(partitions))

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """Read on where it was."""
        self.raw.resume(to_client_partitions(partitions))

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Read a partition that is ours from an offset on. Raises KafkaException."""
        seek(self.raw, partition, offset)

    def measure_lag(self, partitions: Partitions) -> dict[TopicPartition, int]:
        """Return how many offsets lie between the position and the end, of each partition that is read, where that is known."""
        lags = {}
        for position in self.raw.position(to_client_partitions(partitions.where(lambda state: state.is_read))):
            partition = from_client_partition(position)
            _low, high = self.raw.get_watermark_offsets(position, cached=True)
            if (lag := partitions[partition].lag(position.offset, high)) is not None:
                lags[partition] = lag
        return lags

    def close(self, has_left: Callable[[], bool]) -> None:
        """Leave the group, unless the place in it is kept for the next process of this name."""
        joined, self._joined = self._joined, False
        if joined and not keeps_membership(self._properties):
            with suppress(KafkaException):  # the group has shut us out: there is nothing to leave
                leave_group(self.raw, has_left)
        self.raw.close()
