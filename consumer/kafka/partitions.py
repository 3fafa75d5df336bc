"""All that a member of a group knows of its partitions, one state each: gained with the partition and dropped with it.

`KafkaSource` decides what is read and notes it here; `Offsets` notes here what it asked the group to commit.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from consumer.messages import TopicPartition


class Beginning(NamedTuple):
    """Where a partition begins once the group has committed that, and what is to be logged and counted then."""

    offset: int
    announce: Callable[[], None]


@dataclass(slots=True)
class PartitionState:
    """One partition.

    A gained partition is unplaced and paused: nothing of it is read before it is known where reading goes on. It is placed as
    soon as `Offsets` says so, and resumed. A heartbeat pauses it again until the next poll, `hold` until it is gained anew or
    rewound. A commit may be asked for a partition that the group has not given to us; the state of such a one is not `assigned`.
    """

    assigned: bool = False

    unplaced: bool = False
    """Whether it must be placed before any message of it counts."""
    paused: bool = False
    """Whether the client reads no more of it for the moment: it is resumed as soon as it is placed and not held."""
    held: bool = False
    """Whether the client reads no more of it on purpose, see `KafkaSource.hold`."""
    out_of_range: int | None = None
    """The position that the broker does not have, if that is why it is unplaced."""
    end_seen: int | None = None
    """Where reading met its end last."""

    start: int | None = None
    """Where reading began."""
    commit_asked: int | None = None
    """The newest offset that the group was asked to commit."""
    commit_refused: int | None = None
    """The offset that the group refused and is to be asked for again."""
    beginning_asked: Beginning | None = None
    """Where it shall begin: the group was asked to commit that and has not answered."""
    beginning: int | None = None
    """Where it begins: the group has committed that, and it can be placed there."""

    @property
    def is_read(self) -> bool:
        """Whether messages of it count: it is ours, and was placed."""
        return self.assigned and not self.unplaced

    @property
    def reached(self) -> int:
        """The offset where reading began, or met the end last; -1 where neither is known."""
        return max(-1 if offset is None else offset for offset in (self.start, self.end_seen))

    def lag(self, position: int, end: int) -> int | None:
        """Return how many offsets lie between the client's position and its end. Both are negative where it knows none."""
        at = position if position >= 0 else self.start  # no message has come yet
        if end < 0 or at is None:
            return None
        # The end of a transaction takes an offset, too, and the position stays before it.
        return max(0, end - max(at, -1 if self.end_seen is None else self.end_seen))

    def gain(self) -> None:
        """Note that the group gave it to us and that the client, which was told to pause it, does not read it yet."""
        self.assigned = self.unplaced = self.paused = True

    def rewind(self) -> None:
        """Note that it is to be placed at what is committed. The client reads on only then, also where it was held."""
        self.paused = self.paused or self.held
        self.held = False
        self.end_seen = self.out_of_range = None
        self.unplaced = True

    def begin_anew(self) -> None:
        """Forget the offsets of a topic that was deleted; it is to be placed in the new one of the same name."""
        self.start = self.commit_asked = self.commit_refused = self.beginning_asked = self.beginning = None
        self.end_seen = None
        self.unplaced = True

    def lose_position(self, position: int) -> bool:
        """Note that the broker does not have this position, and return whether that concerns us.

        It does not where the partition is not read, or reading has begun behind that position since: the news are old then.
        """
        if not self.is_read or self.start is None or position < self.start:
            return False
        self.out_of_range = position
        self.unplaced = True
        return True

    def meet_end(self, position: int) -> None:
        """Note that reading met the end here, unless it must be placed first: then that was before."""
        if not self.unplaced:
            self.end_seen = position

    def start_at(self, offset: int) -> None:
        """Note where reading goes on, as `Offsets` found it."""
        self.start, self.beginning = offset, None

    def ask_commit(self, offset: int) -> None:
        """Note that the group is asked to commit this, instead of anything it refused before."""
        self.commit_asked, self.commit_refused = offset, None

    def answer_commit(self, offset: int, *, refused: bool) -> None:
        """Take the group's answer. A beginning that it refused is looked up anew, another offset is asked for again if newest."""
        if (asked := self.beginning_asked) is not None and asked.offset == offset:
            self.beginning_asked = None
            if not refused:
                self.beginning = offset
                asked.announce()
        elif refused and self.commit_asked == offset:
            self.commit_refused = offset


class Partitions(dict[TopicPartition, PartitionState]):
    """The state of each partition that is ours, or that a commit was asked for."""

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

    def is_unplaced(self, name: TopicPartition) -> bool:
        """Return whether a partition is ours and still to be placed."""
        return (state := self.get(name)) is not None and state.unplaced
