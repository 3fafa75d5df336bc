"""Where a member of a group reads on: what is committed, and where a partition begins that has nothing valid there.

Every commit notes the id of its topic, so that offsets of a deleted topic are never taken for those of its successor.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol

import confluent_kafka as ck
from confluent_kafka import KafkaError, KafkaException

from consumer.errors import BrokerError, ConfigError
from consumer.kafka.client import ck_partitions, listed
from consumer.kafka.partitions import Beginning, Partitions
from consumer.kafka.topic_id import TopicIdentity
from consumer.messages import TopicPartition

log = logging.getLogger(__name__)

LOOKUP_TIMEOUT_S = 3.0
"""An open transaction that commits offsets of ours can hide them for some seconds: we ask again rather than wait."""
NOTE = "topic-id="
FIRST, END = -2, -1
"""Kafka's timestamps for the first offset of a partition, and for the one after its last."""
RESETS: Mapping[str, int | None] = {
    **dict.fromkeys(("earliest", "smallest", "beginning"), FIRST),
    **dict.fromkeys(("latest", "largest", "end"), END),
    "error": None,
}


Placed = dict[TopicPartition, int]


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
        partitions: Partitions,
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
        self._partitions = partitions
        self._unanswered = 0

    def start(self, partition_count: int) -> None:
        """Note what is there at the start: partitions that are added later are read from their beginning."""
        self._partition_count = partition_count
        self._identity.start()

    def place(self, partitions: Collection[TopicPartition]) -> Placed:
        """Return where to read on, of those of our partitions that can be read now.

        An initial offset is committed first: lag exporters and autoscalers see the group, and "latest" stays where it was. It is
        returned once the group has answered, see `begun`.
        Raises KafkaException when that is not known now, BrokerError where "error" forbids to go on.
        """
        states = {partition: self._partitions[partition] for partition in partitions}
        placed = {partition: state.beginning for partition, state in states.items() if state.beginning is not None}
        unknown = [p for p, state in states.items() if p not in placed and state.beginning_asked is None]
        if unknown:
            placed |= self._unless_unknown(lambda: self._looked_up(unknown), unknown, instead=placed)
        for partition, offset in placed.items():
            states[partition].start_at(offset)
        return placed

    @property
    def begun(self) -> bool:
        """Whether the group has answered where partitions begin, so that `place` would return them."""
        return any(state.beginning is not None for state in self._partitions.values())

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit these, and again what was refused before. Raises BrokerError where the group refuses for good.

        Nothing here waits: for a lost coordinator, librdkafka waits without a bound, and no other call is served meanwhile.
        """
        refused = {p: state.commit_refused for p, state in self._partitions.items() if state.commit_refused is not None}
        wanted = refused | dict(offsets)
        for partition, offset in wanted.items():
            self._partitions.known(partition).ask_commit(offset)
        try:
            self._ask(wanted)
        except KafkaException as error:
            if error.args[0].fatal():
                raise BrokerError(f"the group refuses this consumer for good: {error.args[0].str()}") from error
            log.warning("commit failed, it is asked again: %s", error.args[0].str())
            for partition, offset in wanted.items():
                self._partitions[partition].commit_refused = offset

    @property
    def unanswered(self) -> bool:
        """Whether the group has not answered each commit yet."""
        return self._unanswered > 0

    def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Return what the group has committed; nothing where that is not known now."""
        try:
            found = self._client.committed(ck_partitions(partitions), timeout=LOOKUP_TIMEOUT_S)
        except KafkaException as error:
            log.warning("what is committed is not known: %s", error.args[0].str())
            return {}
        return {TopicPartition(p.topic, p.partition): p.offset for p in found if p.error is None and p.offset >= 0}

    @property
    def refused(self) -> bool:
        """Whether a commit was refused that has not been asked again."""
        return any(state.commit_refused is not None for state in self._partitions.values())

    def on_commit(self, error: KafkaError | None, places: list[ck.TopicPartition]) -> None:
        """Take the group's answer to a commit; what it refused is asked again with the next one, unless that was newer."""
        self._unanswered -= 1
        refused = [place for place in places if place.error is not None or error is not None]
        for place in places:
            state = self._partitions.get(TopicPartition(place.topic, place.partition))
            if state is not None:
                state.answer_commit(place.offset, refused=place in refused)
        if refused:
            self._events.commit_refused()
            log.warning("commit refused, it is asked again: %s", refused[0].error or error)

    def _ask(self, offsets: Mapping[TopicPartition, int]) -> None:
        if offsets:
            self._client.commit(offsets=places(offsets, self._identity.id), asynchronous=True)
            self._unanswered += 1

    def _looked_up(self, partitions: Collection[TopicPartition]) -> Placed:
        self._identity.refresh()
        kept: dict[TopicPartition, int] = {}
        anew: dict[TopicPartition, int | None] = {}
        for found in self._client.committed(ck_partitions(partitions), timeout=LOOKUP_TIMEOUT_S):
            if found.error is not None:
                raise KafkaException(found.error)  # of all: the group's coordinator knows them all, or none
            partition = TopicPartition(found.topic, found.partition)
            if (missing := self._partitions[partition].out_of_range) is not None:
                anew[partition] = missing
            elif found.offset < 0:
                anew[partition] = None
            elif self._is_former(found.metadata):
                anew[partition] = found.offset
            else:
                kept[partition] = found.offset
        return kept | self._unless_unknown(lambda: self._placed_anew(anew), anew, instead=kept)

    def _unless_unknown(self, place: Callable[[], Placed], partitions: Collection[TopicPartition], *, instead: Placed) -> Placed:
        """Return what `place` returns; nothing where it fails and others are placed already: those need not wait."""
        try:
            return place()
        except KafkaException as error:
            if not instead:
                raise
            log.warning("%s is not read yet, where to is not known: %s", listed(partitions), error.args[0].str())
            return {}

    def _is_former(self, note: str | None) -> bool:
        """Return whether an offset was committed for a topic of this name that is no longer there."""
        if self._identity.id is None:
            return False
        ours = note is not None and note.startswith(NOTE)  # others may note what they like
        return note != NOTE + self._identity.id if ours else self._identity.replaced

    def _placed_anew(self, anew: Mapping[TopicPartition, int | None]) -> Placed:
        if anew:
            self._check_permitted(anew)
            anew = self._led(anew)
        if not anew:
            return {}
        firsts, ends = self._bounds(anew, FIRST), self._bounds(anew, END)
        placed, to_commit = {}, {}
        for partition, old in anew.items():
            state = self._partitions[partition]
            latest = self._reset == END and partition.partition < self._partition_count
            offset = ends[partition] if latest else firsts[partition]
            if old is None:
                offset = self._begin.get(partition, offset)
                tell = partial(log.info, "%s[%d] begins at %d: nothing was committed for it", *partition, offset)
            else:
                known = state.out_of_range is not None and not self._identity.replaced and old <= ends[partition]
                tell = partial(self._tell_reset, partition, old, offset, offset - old if known else None)
            if state.out_of_range is not None and state.out_of_range != state.start:
                placed[partition] = offset  # messages were read since and are finished yet: their own commits will follow
                tell()
            else:
                to_commit[partition] = Beginning(offset, tell)
        self._ask({partition: beginning.offset for partition, beginning in to_commit.items()})
        for partition, beginning in to_commit.items():
            self._partitions[partition].beginning_asked = beginning
        return placed

    def _led(self, partitions: Mapping[TopicPartition, int | None]) -> Mapping[TopicPartition, int | None]:
        """Return the partitions with a leader: asked for one without, the client waits for it, and answers for none."""
        topics = self._client.list_topics(next(iter(partitions)).topic, timeout=LOOKUP_TIMEOUT_S).topics.values()
        led = {TopicPartition(t.topic, p.id) for t in topics for p in t.partitions.values() if p.leader >= 0}
        if without := partitions.keys() - led:
            log.warning("%s is not read yet, it has no leader", listed(without))
        return {partition: old for partition, old in partitions.items() if partition in led}

    def _check_permitted(self, anew: Mapping[TopicPartition, int | None]) -> None:
        if self._reset is not None:
            return
        for partition, old in anew.items():
            # What `begin` does not name, and what was not there at the start, was added since: it begins with its first message.
            if old is None and (self._begin or partition.partition >= self._partition_count):
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


def places(offsets: Mapping[TopicPartition, int], topic_id: str | None) -> list[ck.TopicPartition]:
    """Return offsets to commit, each with a note of which topic it belongs to."""
    note = "" if topic_id is None else NOTE + topic_id
    return [ck.TopicPartition(p.topic, p.partition, offset, note) for p, offset in offsets.items()]
