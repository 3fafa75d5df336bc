"""Only the finished prefix of a partition may be committed, checked against a model too simple to be wrong."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from consumer.delivery.in_flight import InFlight
from consumer.messages import Message, TopicPartition
from tests.support.messages import make_message

partitions = st.integers(0, 2)


class AgainstNaiveModel(RuleBasedStateMachine):
    """The model keeps every message ever taken, and looks at all of them each time."""

    def __init__(self) -> None:
        super().__init__()
        self.real = InFlight()
        self.taken: dict[int, list[Message]] = {0: [], 1: [], 2: []}
        self.landed: set[Message] = set()
        self.committed: dict[TopicPartition, int] = {}
        self.forgotten: list[Message] = []
        self.next_offset = 0

    @rule(partition=partitions, gaps=st.lists(st.integers(1, 3), min_size=1, max_size=4))
    def take(self, partition: int, gaps: list[int]) -> None:  # offsets may skip: transaction markers, compaction
        for gap in gaps:
            self.next_offset += gap
            self.taken[partition].append(make_message(offset=self.next_offset, partition=partition))
        self.real.take(self.taken[partition][-len(gaps) :])

    @rule(data=st.data())
    def land(self, data: st.DataObject) -> None:
        if everything := [m for p in self.taken.values() for m in p] + self.forgotten:
            chosen = data.draw(st.sampled_from(everything))  # twice, or after its partition went away, is harmless
            self.real.land(chosen)
            self.landed.add(chosen)

    @rule(partition=partitions)
    def forget(self, partition: int) -> None:
        self.real.forget([TopicPartition("postings.raw", partition)])
        self.forgotten += self.taken[partition]
        self.taken[partition] = []
        self.committed.pop(TopicPartition("postings.raw", partition), None)

    def finished_prefixes(self) -> dict[TopicPartition, int]:
        found = {}
        for messages in self.taken.values():
            for m in messages:
                if m not in self.landed:
                    break
                found[m.topic_partition] = m.offset + 1
        return found

    @rule()
    def commit(self) -> None:
        finished = self.finished_prefixes()
        assert self.real.committable() == {p: offset for p, offset in finished.items() if self.committed.get(p) != offset}
        self.committed = finished
        unlanded = [m for p in self.taken.values() for m in p if m not in self.landed]
        assert all(m.offset >= self.committed.get(m.topic_partition, 0) for m in unlanded)

    @invariant()
    def counts_what_has_not_landed(self) -> None:
        for number, messages in self.taken.items():
            open_here = [m for m in messages if m not in self.landed]
            assert self.real.count([TopicPartition("postings.raw", number)]) == len(open_here)
        assert self.real.count() == sum(m not in self.landed for p in self.taken.values() for m in p)


AgainstNaiveModel.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
test_committable_is_the_finished_prefix_whatever_happens = AgainstNaiveModel.TestCase
