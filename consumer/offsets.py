"""Where a member of a group reads on: what is committed, and where a partition begins that has nothing valid there.

Every commit notes the id of its topic, so that offsets of a deleted topic are never taken for those of its successor.
"""

import logging
import time
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, Protocol

import confluent_kafka as ck
from confluent_kafka import KafkaError, KafkaException

from consumer.background import Step
from consumer.errors import BrokerError, ConfigError
from consumer.kafka_client import ck_partitions
from consumer.messages import TopicPartition
from consumer.topic_identity import TopicIdentity

log = logging.getLogger(__name__)

LOOKUP_TIMEOUT_S = 3.0
"""An open transaction that commits offsets of ours can hide them for some seconds: we ask again rather than wait."""
COMMIT_TIMEOUT_S = 3.0
"""How long to wait for a commit that is waited for: librdkafka itself would wait without a bound for a lost coordinator."""
NOTE = "topic-id="
FIRST, END = -2, -1
"""Kafka's timestamps for the first offset of a partition, and for the one after its last."""
RESETS: Mapping[str, int | None] = {
    **dict.fromkeys(("earliest", "smallest", "beginning"), FIRST),
    **dict.fromkeys(("latest", "largest", "end"), END),
    "error": None,
}


class Membership(NamedTuple):
    """What a transaction needs to commit offsets of ours."""

    metadata: Any
    topic_id: str | None


class OffsetEvents(Protocol):
    """Is told what should be counted."""

    def offset_reset(self, partition: TopicPartition, gone: int | None) -> None:
        """Count that a committed offset was no longer there, and `gone` messages with it, None where that is not known."""
        ...

    def commit_refused(self) -> None:
        """Count a commit that the group did not take."""
        ...


class Unheard:
    """Counts nothing."""

    def offset_reset(self, partition: TopicPartition, gone: int | None) -> None:
        """See `OffsetEvents`."""

    def commit_refused(self) -> None:
        """See `OffsetEvents`."""


class Offsets:
    """The offsets of one topic in one group, through the client of a member."""

    def __init__(
        self,
        client: ck.Consumer,
        group_id: str,
        identity: TopicIdentity,
        *,
        reset: str = "earliest",
        begin: Mapping[TopicPartition, int] | None = None,
        events: OffsetEvents | None = None,
    ) -> None:
        """`reset`: earliest, latest or error; `begin`: where a partition begins instead. Raises ConfigError."""
        if reset not in RESETS:
            raise ConfigError(f"auto.offset.reset must be earliest, latest or error, not {reset!r}")
        self._client: Any = client  # its stubs know no choice between a commit that waits and one that does not
        self._group_id = group_id
        self._identity = identity
        self._reset = RESETS[reset]
        self._begin = begin or {}
        self._events = events or Unheard()
        self._partition_count = 0
        self._starts: dict[TopicPartition, int] = {}
        self._asked: dict[TopicPartition, int] = {}
        self._refused: set[TopicPartition] = set()
        self._waited_for: Step | None = None

    def start(self, partition_count: int) -> None:
        """Note what is there at the start: partitions that are added later are read from their beginning."""
        self._partition_count = partition_count
        self._identity.start()

    def place(self, partitions: Collection[TopicPartition], *, beyond: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Return where to read on. `beyond` are positions that the broker does not have, of some of the partitions.

        An initial offset is committed at once: lag exporters and autoscalers see the group, and "latest" stays where it was.
        Raises KafkaException when that is not known now, BrokerError where "error" forbids to go on.
        """
        self._check_quiet()
        self._identity.refresh()
        kept: dict[TopicPartition, int] = {}
        anew: dict[TopicPartition, int | None] = {}
        for found in self._client.committed(ck_partitions(partitions), timeout=LOOKUP_TIMEOUT_S):
            if found.error is not None:
                raise KafkaException(found.error)
            partition = TopicPartition(found.topic, found.partition)
            if partition in beyond:
                anew[partition] = beyond[partition]
            elif found.offset < 0:
                anew[partition] = None
            elif self._is_former(found.metadata):
                anew[partition] = found.offset
            else:
                kept[partition] = found.offset
        placed = kept | self._placed_anew(anew, beyond)
        self._starts |= placed
        return placed

    def commit(self, offsets: Mapping[TopicPartition, int], *, wait: bool) -> None:
        """Commit these, and again what was refused before. Raises BrokerError where the group refuses for good."""
        wanted = {partition: self._asked[partition] for partition in self._refused} | dict(offsets)
        self._refused.clear()
        self._asked |= wanted
        try:
            if wait:
                self._commit_now(wanted)
            else:
                self._client.commit(offsets=places(wanted, self._identity.id), asynchronous=True)
        except KafkaException as error:
            if error.args[0].fatal():
                raise BrokerError(f"the group refuses this consumer for good: {error.args[0].str()}") from error
            log.warning("commit failed: %s", error.args[0].str())

    def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Return what the group has committed; nothing where that is not known now."""
        try:
            found = self._client.committed(ck_partitions(partitions), timeout=LOOKUP_TIMEOUT_S)
        except KafkaException as error:
            log.warning("what is committed is not known: %s", error.args[0].str())
            return {}
        return {TopicPartition(p.topic, p.partition): p.offset for p in found if p.error is None and p.offset >= 0}

    def start_of(self, partition: TopicPartition) -> int | None:
        """Return where reading began, None where that is not looked up yet."""
        return self._starts.get(partition)

    @property
    def refused(self) -> bool:
        """Whether a commit was refused that has not been asked again."""
        return bool(self._refused)

    def on_commit(self, error: KafkaError | None, places: list[ck.TopicPartition]) -> None:
        """Take the group's answer to a commit; what it refused is asked again with the next one, unless that was newer."""
        refused = [place for place in places if place.error is not None or error is not None]
        for place in refused:
            partition = TopicPartition(place.topic, place.partition)
            if self._asked.get(partition) == place.offset:
                self._refused.add(partition)
        if refused:
            self._events.commit_refused()
            log.warning("commit refused, it is asked again: %s", refused[0].error or error)

    def forget(self, partitions: Collection[TopicPartition]) -> None:
        """Ask nothing more of partitions that are not ours."""
        self._refused.difference_update(partitions)
        for partition in partitions:
            self._asked.pop(partition, None)
            self._starts.pop(partition, None)

    def _is_former(self, note: str | None) -> bool:
        """Return whether an offset was committed for a topic of this name that is no longer there."""
        if self._identity.id is None:
            return False
        ours = note is not None and note.startswith(NOTE)  # others may note what they like
        return note != NOTE + self._identity.id if ours else self._identity.replaced

    def _placed_anew(
        self, anew: Mapping[TopicPartition, int | None], beyond: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, int]:
        if not anew:
            return {}
        self._check_permitted(anew)
        firsts, ends = self._bounds(anew, FIRST), self._bounds(anew, END)
        placed = {}
        for partition, old in anew.items():
            latest = self._reset == END and partition.partition < self._partition_count
            offset = ends[partition] if latest else firsts[partition]
            placed[partition] = offset if old is not None else self._begin.get(partition, offset)
        # Where messages were read since, they are finished yet: their own commits will follow.
        self._commit_now({p: offset for p, offset in placed.items() if beyond.get(p) == self._starts.get(p) or p not in beyond})
        for partition, old in anew.items():
            if old is None:
                log.info("%s[%d] begins at %d: nothing was committed for it", *partition, placed[partition])
                continue
            known = partition in beyond and not self._identity.replaced and old <= ends[partition]
            self._tell_reset(partition, old, placed[partition], placed[partition] - old if known else None)
        return placed

    def _check_permitted(self, anew: Mapping[TopicPartition, int | None]) -> None:
        if self._reset is not None:
            return
        for partition, old in anew.items():
            if old is None and partition in self._begin:
                continue
            what = "no committed offset" if old is None else f"no longer the offset {old}"
            raise BrokerError(
                f"group {self._group_id!r} has {what} of {partition.topic}[{partition.partition}], where auto.offset.reset=error "
                "forbids to go on; choose an offset with kafka-consumer-groups --reset-offsets, or set it to earliest or latest"
            )

    def _bounds(self, partitions: Collection[TopicPartition], which: int) -> dict[TopicPartition, int]:
        """Return the first offsets, or those after the last. Raises KafkaException."""
        found = offsets_at(self._client, partitions, which, timeout_s=LOOKUP_TIMEOUT_S)
        if len(found) < len(partitions):
            raise KafkaException(KafkaError(KafkaError._NO_OFFSET))  # noqa: SLF001 - librdkafka's own
        return found

    def _commit_now(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit and see that it is done. Raises KafkaException, also where that takes too long: it may then be done yet."""
        if not offsets:
            return
        self._check_quiet()
        wanted = places(offsets, self._identity.id)
        self._waited_for = Step(lambda: _raise_refused(self._client.commit(offsets=wanted, asynchronous=False)))
        if not self._waited_for.ends_by(time.monotonic() + COMMIT_TIMEOUT_S):
            raise _unanswered()

    def _check_quiet(self) -> None:
        """Raise KafkaException while a commit is under way that was waited for in vain: it could undo a later one."""
        if self._waited_for is not None and self._waited_for.running:
            raise _unanswered()

    def _tell_reset(self, partition: TopicPartition, old: int, new: int, gone: int | None) -> None:
        self._events.offset_reset(partition, gone)
        lost = "it is not known how many messages are gone" if gone is None else f"{gone} messages are gone"
        log.error("%s[%d] no longer has offset %d, going on at %d: %s", *partition, old, new, lost)


def offsets_at(
    client: Any,  # noqa: ANN401 - confluent_kafka is untyped
    partitions: Collection[TopicPartition],
    moment: int,
    *,
    timeout_s: float,
) -> dict[TopicPartition, int]:
    """Return the first offset at or after a moment (milliseconds since 1970, FIRST or END), of partitions where there is one.

    Raises KafkaException.
    """
    asked = [ck.TopicPartition(p.topic, p.partition, moment) for p in partitions]
    found = client.offsets_for_times(asked, timeout=timeout_s)
    for place in found:
        if place.error is not None:
            raise KafkaException(place.error)
    return {TopicPartition(place.topic, place.partition): place.offset for place in found if place.offset >= 0}


def _unanswered() -> KafkaException:
    return KafkaException(KafkaError(KafkaError._TIMED_OUT, "the group has not answered a commit yet"))  # noqa: SLF001


def _raise_refused(answer: list[ck.TopicPartition] | None) -> None:
    for place in answer or []:
        if place.error is not None:
            raise KafkaException(place.error)


def places(offsets: Mapping[TopicPartition, int], topic_id: str | None) -> list[ck.TopicPartition]:
    """Return offsets to commit, each with a note of which topic it belongs to."""
    note = "" if topic_id is None else NOTE + topic_id
    return [ck.TopicPartition(p.topic, p.partition, offset, note) for p, offset in offsets.items()]
