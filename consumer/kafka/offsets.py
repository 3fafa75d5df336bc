"""Where a member of a group reads on: at what is committed, or where a partition begins that has no valid offset there."""

import logging
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol

import confluent_kafka as ck
from confluent_kafka import KafkaError, KafkaException

from consumer.errors import BrokerError, ConfigError
from consumer.kafka.client import END, FIRST
from consumer.kafka.convert import format_partitions, from_client_partition, to_client_offsets, to_client_partitions
from consumer.kafka.failures import is_fatal
from consumer.kafka.group_client import GroupClient
from consumer.kafka.log_bounds import Bounds, find_bounds
from consumer.kafka.offset_note import OffsetNote
from consumer.kafka.partitions import Beginning, Partitions
from consumer.kafka.topic_id import TopicIds
from consumer.messages import TopicPartition

log = logging.getLogger(__name__)

LOOKUP_TIMEOUT_S = 3.0
"""An open transaction that commits offsets of ours can hide them for some seconds: we ask again rather than wait."""
RESETS: Mapping[str, int | None] = {
    **dict.fromkeys(("earliest", "smallest", "beginning"), FIRST),
    **dict.fromkeys(("latest", "largest", "end"), END),
    "error": None,
}

Placed = dict[TopicPartition, int]


class Membership(NamedTuple):
    """Who we are in a group at one moment, for a transaction that commits offsets of ours."""

    metadata: Any
    notes: Mapping[str, str]
    """What to note beside an offset of each topic: its id."""
    partitions: Partitions
    group_id: str

    def past(self, offsets: Mapping[TopicPartition, int]) -> list[ck.TopicPartition]:
        """Return what to commit, with its notes, once the messages before these offsets are finished."""
        return to_client_offsets(self.partitions.past(offsets), self.notes)

    def finish(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Note that these offsets were committed."""
        self.partitions.finish(self.partitions.past(offsets))


class OffsetEvents(Protocol):
    """Counts offsets that were lost and commits that were refused."""

    def offset_reset(self, partition: TopicPartition, gone: int | None) -> None:
        """Count that a committed offset was no longer there, and `gone` messages with it, None where that is not known."""
        ...

    def commit_refused(self) -> None:
        """Count a commit that the group did not take."""
        ...


class Offsets:
    """The offsets of topics in one group, through the client of a member. What it knows of a partition is in `partitions`."""

    def __init__(
        self,
        client: GroupClient,
        group_id: str,
        topic_ids: TopicIds,
        partitions: Partitions,
        *,
        reset: str = "earliest",
        begin: Mapping[TopicPartition, int] | None = None,
        events: OffsetEvents | None = None,
    ) -> None:
        """`reset`: earliest, latest or error; `begin`: where a partition begins instead. Raises ConfigError."""
        if reset not in RESETS:
            raise ConfigError(f"auto.offset.reset must be earliest, latest or error, not {reset!r}")
        self._group_client = client
        self._group_id = group_id
        self._topic_ids = topic_ids
        self._reset = RESETS[reset]
        self._begin = begin or {}
        self._events = events
        self._counts_at_start: Mapping[str, int] = {}
        self._partitions = partitions
        self._unanswered_commits = 0

    @property
    def _client(self) -> Any:  # noqa: ANN401 - its stubs know no choice between a commit that waits and one that does not
        return self._group_client.raw

    def start(self, partition_counts: Mapping[str, int]) -> None:
        """Note how many partitions each topic has at the start: those that are added later are read from their first message."""
        self._counts_at_start = partition_counts
        self._topic_ids.start(partition_counts)

    def place(self, partitions: Collection[TopicPartition]) -> Placed:
        """Return the offset at which to read on, of those of our partitions where that is known now.

        Where a partition begins is committed first: lag exporters and autoscalers see the group, and "latest" stays where it was.
        It is returned once the group has answered, see `beginning_known`. Raises KafkaException when nothing is known now,
        BrokerError where "error" forbids to go on.
        """
        states = {partition: self._partitions[partition] for partition in partitions}
        placed = {partition: state.beginning for partition, state in states.items() if state.beginning is not None}
        unknown = [p for p, state in states.items() if p not in placed and state.beginning_asked is None]
        if unknown:
            placed |= self._skip_if_unknown(lambda: self._look_up(unknown), unknown, known=placed)
        for partition, offset in placed.items():
            states[partition].start_at(offset)
        return placed

    @property
    def beginning_known(self) -> bool:
        """Whether the group has committed where a partition begins, so that `place` would return it."""
        return any(state.beginning is not None for state in self._partitions.values())

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Ask the group to commit these, and what it refused before. Raises BrokerError where it refuses for good.

        Nothing here waits: for a lost coordinator, librdkafka waits without a bound, and no other call is served meanwhile.
        """
        refused = {p: state.commit_refused for p, state in self._partitions.items() if state.commit_refused is not None}
        wanted = refused | self._partitions.past(offsets)
        self._partitions.finish({partition: wanted[partition] for partition in offsets})
        for partition, offset in wanted.items():
            self._partitions.known(partition).ask_commit(offset)
        try:
            self._send_commit(wanted)
        except KafkaException as error:
            if is_fatal(error.args[0]):
                self._group_client.end_or_wait(error.args[0])
            log.warning("commit failed, it is asked again: %s", error.args[0].str())
            for partition, offset in wanted.items():
                self._partitions[partition].commit_refused = offset

    @property
    def awaits_answer(self) -> bool:
        """Whether there is a commit that the group has not answered yet."""
        return self._unanswered_commits > 0

    def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Return what the group has committed; nothing where that is not known now."""
        try:
            found = self._client.committed(to_client_partitions(partitions), timeout=LOOKUP_TIMEOUT_S)
        except KafkaException as error:
            log.warning("what is committed is not known: %s", error.args[0].str())
            return {}
        return {from_client_partition(p): p.offset for p in found if p.error is None and p.offset >= 0}

    @property
    def has_refused_commit(self) -> bool:
        """Whether a commit was refused that has not been asked for again."""
        return any(state.commit_refused is not None for state in self._partitions.values())

    def on_commit(self, error: KafkaError | None, partitions: list[ck.TopicPartition]) -> None:
        """Take the group's answer to a commit. What it refused is asked for again with the next one, unless that was newer."""
        self._unanswered_commits -= 1
        refused = [partition for partition in partitions if partition.error is not None or error is not None]
        for partition in partitions:
            if (state := self._partitions.get(from_client_partition(partition))) is not None:
                state.answer_commit(partition.offset, refused=partition in refused)
        if refused:
            if self._events is not None:
                self._events.commit_refused()
            log.warning("commit refused, it is asked again: %s", refused[0].error or error)

    def _send_commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        if offsets:
            self._client.commit(offsets=to_client_offsets(offsets, self._topic_ids.notes), asynchronous=True)
            self._unanswered_commits += 1

    def _look_up(self, partitions: Collection[TopicPartition]) -> Placed:
        """Return the committed offsets that are valid, and ask the group to commit others instead of those that are not."""
        gone = self._topic_ids.refresh({partition.topic for partition in partitions})
        asked = to_client_partitions(partition for partition in partitions if partition.topic not in gone)
        kept: dict[TopicPartition, int] = {}
        invalid: dict[TopicPartition, int | None] = {}
        doubtful: dict[TopicPartition, int] = {}
        for found in self._client.committed(asked, timeout=LOOKUP_TIMEOUT_S):
            if found.error is not None and found.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                continue  # a topic that was deleted: the others need not wait for it
            if found.error is not None:
                raise KafkaException(found.error)  # of all: the group's coordinator knows them all, or none
            partition, note = from_client_partition(found), OffsetNote.parse(found.metadata)
            if (missing := self._partitions[partition].out_of_range) is not None:
                invalid[partition] = missing
            elif found.offset < 0:
                invalid[partition] = None
            elif self._topic_ids.is_former(found.topic, note):
                invalid[partition] = found.offset
            elif self._topic_ids.is_doubtful(found.topic, note):
                doubtful[partition] = found.offset
            else:
                kept[partition] = found.offset
        kept |= self._skip_if_unknown(lambda: self._keep_inside(doubtful, invalid), doubtful, known=kept)
        return kept | self._skip_if_unknown(lambda: self._place_anew(invalid), invalid, known=kept)

    def _keep_inside(self, doubtful: Mapping[TopicPartition, int], invalid: dict[TopicPartition, int | None]) -> Placed:
        """Return those offsets of a former topic that lie inside the log of the present one: the topic may have been restored.

        The others are added to the invalid ones: their topic was created again, and is read from its first message.
        """
        kept = {}
        bounds = find_bounds(self._client, doubtful, timeout_s=LOOKUP_TIMEOUT_S) if doubtful else {}
        for partition in bounds:
            offset = doubtful[partition]
            if bounds[partition].hold(offset):
                kept[partition] = offset
                log.warning(
                    "%s[%d] was created again since offset %d was committed; it lies inside the log, so reading goes on there",
                    *partition,
                    offset,
                )
            else:
                invalid[partition] = offset
                self._partitions[partition].topic_is_new = True
        return kept

    def _skip_if_unknown(self, place: Callable[[], Placed], partitions: Collection[TopicPartition], *, known: Placed) -> Placed:
        """Return what `place` returns; nothing where it fails and others are placed already: those need not wait."""
        try:
            return place()
        except KafkaException as error:
            if not known:
                raise
            log.warning("%s is not read yet, where to is not known: %s", format_partitions(partitions), error.args[0].str())
            return {}

    def _place_anew(self, invalid: Mapping[TopicPartition, int | None]) -> Placed:
        """Find other offsets for those that are invalid; None: nothing was committed. Return those that need no commit."""
        if invalid:
            self._check_permitted(invalid)
        bounds = find_bounds(self._client, invalid, timeout_s=LOOKUP_TIMEOUT_S) if invalid else {}
        placed, to_commit = {}, {}
        for partition in bounds:
            beginning = self._begin_anew(partition, invalid[partition], bounds[partition])
            state = self._partitions[partition]
            if state.out_of_range is not None and state.out_of_range != state.start:
                placed[partition] = beginning.offset  # messages were read since and are not finished: their commits will follow
                beginning.announce()
            else:
                to_commit[partition] = beginning
        self._send_commit({partition: beginning.offset for partition, beginning in to_commit.items()})
        for partition, beginning in to_commit.items():
            self._partitions[partition].beginning_asked = beginning
        return placed

    def _begin_anew(self, partition: TopicPartition, old: int | None, bounds: Bounds) -> Beginning:
        """Choose where a partition begins that has nothing committed, or no longer the offset `old`."""
        state = self._partitions[partition]
        is_new = self._is_added(partition) or state.topic_is_new or self._topic_ids.was_replaced(partition.topic)
        offset = bounds.end if self._reset == END and not is_new else bounds.first
        if old is None:
            offset = self._begin.get(partition, offset)
            announce = partial(log.info, "%s[%d] begins at %d: nothing was committed for it", *partition, offset)
            return Beginning(offset, announce)
        same_topic = state.out_of_range is not None and not is_new and old <= bounds.end
        return Beginning(offset, partial(self._report_reset, partition, old, offset, offset - old if same_topic else None))

    def _check_permitted(self, invalid: Mapping[TopicPartition, int | None]) -> None:
        """Raise BrokerError where `auto.offset.reset=error` forbids to choose another offset."""
        if self._reset is not None:
            return
        for partition, old in invalid.items():
            # A partition that `begin` does not name, or that was not there at the start, was added since: it is read whole.
            if old is None and (self._begin or self._is_added(partition)):
                continue
            what = "no committed offset" if old is None else f"no longer the offset {old}"
            raise BrokerError(
                f"group {self._group_id!r} has {what} of {partition.topic}[{partition.partition}], where auto.offset.reset=error "
                "forbids to go on; choose an offset with kafka-consumer-groups --reset-offsets, or set it to earliest or latest"
            )

    def _is_added(self, partition: TopicPartition) -> bool:
        """Return whether the partition, or its topic, was not there at the start."""
        return partition.partition >= self._counts_at_start.get(partition.topic, 0)

    def _report_reset(self, partition: TopicPartition, old: int, new: int, gone: int | None) -> None:
        if self._events is not None:
            self._events.offset_reset(partition, gone)
        lost = "it is not known how many messages are gone" if gone is None else f"{gone} messages are gone"
        log.error("%s[%d] no longer has offset %d, going on at %d: %s", *partition, old, new, lost)
