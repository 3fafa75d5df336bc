"""All that a member of a group knows of its partitions, in one state each: made when it is gained and dropped when it is lost.

`KafkaSource` notes here what is read, and `Offsets` what the group was asked to commit.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from consumer.messages import TopicPartition


class Beginning(NamedTuple):
    """The offset where a partition shall begin, and a call that logs and counts this once the group has committed it."""

    offset: int
    announce: Callable[[], None]


@dataclass(slots=True)
class PartitionState:
    """The state of one partition: whether it is read, and what the group was asked to commit for it.

    gained -> unplaced and paused: the offset where reading goes on is looked up, or committed first
           -> read, as soon as the offset is known
           -> paused by a heartbeat, until the next poll
           -> held by `KafkaSource.hold`, until all is rewound
           -> unplaced again: all is rewound, the broker no longer has the position, or the topic was created again
    lost   -> dropped

    The group may be asked to commit for a partition that it has not given to us. Such a partition is not `assigned`.
    """

    assigned: bool = False
    """Whether the partition is ours."""
    unplaced: bool = False
    """Whether the client must go to another offset before any message of the partition counts."""
    paused: bool = False
    """Whether the client reads nothing of the partition until it is placed and not held."""
    held: bool = False
    """Whether the client reads nothing of the partition until all is rewound."""
    out_of_range: int | None = None
    """The position that the broker does not have, if that is why the partition is unplaced."""
    end_seen: int | None = None
    """The offset where reading met the end of the partition last."""

    topic_is_new: bool = False
    """Whether what is committed is outside of the log and was committed for a former topic of this name."""
    start: int | None = None
    """The offset where reading began."""
    returned: int | None = None
    """The offset after the last message that was handed out."""
    finished: int | None = None
    """The offset before which every message that was handed out is finished."""
    commit_asked: int | None = None
    """The newest offset that the group was asked to commit."""
    commit_refused: int | None = None
    """The offset that the group refused to commit, to be asked for again."""
    beginning_asked: Beginning | None = None
    """The beginning that the group was asked to commit and has not answered."""
    beginning: int | None = None
    """The beginning that the group has committed: the partition can be placed there."""

    @property
    def is_read(self) -> bool:
        """Whether messages of the partition count."""
        return self.assigned and not self.unplaced

    @property
    def reached(self) -> int:
        """The offset where reading began, or met the end last; -1 where neither is known."""
        return max(-1 if offset is None else offset for offset in (self.start, self.end_seen))

    @property
    def tail(self) -> int | None:
        """The end that reading met, where all messages are finished and the group has not committed it; else None.

        Between them lie only records that no reader gets: the end of a transaction, and what was aborted.
        """
        if not self.is_read or self.start is None or (self.returned is not None and self.returned > (self.finished or 0)):
            return None
        done = max(self.start, self.finished or 0)
        return self.end_seen if self.end_seen is not None and self.end_seen > done else None

    def past(self, offset: int) -> int:
        """Return where to read on once all messages before `offset` are finished: behind what no reader gets at the end."""
        met_behind = self.end_seen is not None and self.returned is not None and self.returned <= offset
        return max(offset, self.end_seen or 0) if met_behind else offset

    def lag(self, position: int, end: int) -> int | None:
        """Return how many offsets lie between the client's position and its end. Both are negative where it knows none."""
        at = position if position >= 0 else self.start  # no message has come yet
        if end < 0 or at is None:
            return None
        # The end of a transaction takes an offset, too, and the position stays before it.
        return max(0, end - max(at, -1 if self.end_seen is None else self.end_seen))

    def gain(self) -> None:
        """Note that the group gave the partition to us. The client has paused it."""
        self.assigned = self.unplaced = self.paused = True

    def rewind(self) -> None:
        """Note that reading is to go back to the committed offset. The client still pauses a partition that was held."""
        self.paused = self.paused or self.held
        self.held = False
        self.out_of_range = None
        self.forget_returned()
        self.unplaced = True

    def begin_anew(self) -> None:
        """Forget the offsets of a topic that was deleted: the partition is to be placed in the new topic of the same name."""
        self.start = self.commit_asked = self.commit_refused = self.beginning_asked = self.beginning = None
        self.forget_returned()
        self.unplaced = True

    def forget_returned(self) -> None:
        """Note that no message that was handed out will be finished: what is not committed is read again."""
        self.returned = self.finished = self.end_seen = None

    def lose_position(self, position: int) -> bool:
        """Note that the broker does not have this position, and return whether that still matters.

        It does not if the partition is not read, or if reading has begun behind that position since: the error is old then.
        """
        if not self.is_read or self.start is None or position < self.start:
            return False
        self.out_of_range = position
        self.unplaced = True
        return True

    def meet_end(self, position: int) -> None:
        """Note that reading met the end here; not of an unplaced partition, whose end was met before it had to be placed."""
        if not self.unplaced:
            self.end_seen = position

    def start_at(self, offset: int) -> None:
        """Note the offset where reading goes on, as `Offsets` found it."""
        self.start, self.beginning, self.end_seen, self.topic_is_new = offset, None, None, False

    def ask_commit(self, offset: int) -> None:
        """Note that the group is asked to commit this offset, instead of one that it refused before."""
        self.commit_asked, self.commit_refused = offset, None

    def answer_commit(self, offset: int, *, refused: bool) -> None:
        """Take the group's answer to a commit.

        A beginning that it refused is looked up again. Any other offset that it refused is asked for again if it is the newest.
        """
        if (asked := self.beginning_asked) is not None and asked.offset == offset:
            self.beginning_asked = None
            if not refused:
                self.beginning = offset
                asked.announce()
        elif refused and self.commit_asked == offset:
            self.commit_refused = offset


class Partitions(dict[TopicPartition, PartitionState]):
    """The state of each partition that is ours, or that a commit was asked for."""

    def __init__(self, *, pass_tails: bool = True) -> None:
        """`pass_tails`: commit ends that were met, not only what follows a message."""
        self._pass_tails = pass_tails

    def gain(self, names: Iterable[TopicPartition]) -> None:
        """Make a state for each partition that the group gave to us."""
        for name in names:
            self.known(name).gain()

    def drop(self, names: Iterable[TopicPartition]) -> None:
        """Drop all that is known of partitions that are no longer ours."""
        for name in names:
            self.pop(name, None)

    def known(self, name: TopicPartition) -> PartitionState:
        """Return the state of a partition, a new one where there is none."""
        return self.setdefault(name, PartitionState())

    def where(self, test: Callable[[PartitionState], object]) -> list[TopicPartition]:
        """Return the partitions whose state passes a test."""
        return [name for name, state in self.items() if test(state)]

    def past(self, offsets: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Return the offsets to commit, of partitions whose messages before these offsets are finished."""
        return {name: self.known(name).past(offset) for name, offset in offsets.items()} if self._pass_tails else dict(offsets)

    def finish(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Note that the messages before these offsets are finished, and that the group was asked to commit them."""
        for name, offset in offsets.items():
            self.known(name).finished = offset

    def tails(self) -> dict[TopicPartition, int]:
        """Return the ends that are to be committed though no message is, see `PartitionState.tail`."""
        return {name: state.tail for name, state in self.items() if state.tail is not None} if self._pass_tails else {}

    def is_unplaced(self, name: TopicPartition) -> bool:
        """Return whether a partition is ours and still to be placed."""
        return (state := self.get(name)) is not None and state.unplaced
