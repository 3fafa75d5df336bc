"""What is known of a partition comes with it, changes as the member reads and commits, and goes with it."""

from dataclasses import asdict

import pytest

from consumer.kafka.partitions import Beginning, Partitions, PartitionState
from consumer.messages import TopicPartition

ONE, TWO = TopicPartition("t", 1), TopicPartition("t", 2)


def gained() -> PartitionState:
    state = PartitionState()
    state.gain()
    return state


def being_read(**known: object) -> PartitionState:
    return PartitionState(assigned=True, **{"start": 5, **known})


def test_a_gained_partition_is_ours_but_not_read_before_it_is_placed() -> None:
    state = gained()
    assert (state.assigned, state.unplaced, state.paused, state.is_read) == (True, True, True, False)


def test_gaining_makes_a_state_and_losing_drops_all_of_it() -> None:
    partitions = Partitions()
    partitions.gain([ONE, TWO])
    partitions[ONE].held = True
    partitions[ONE].ask_commit(7)
    partitions.drop([ONE, TopicPartition("t", 3)])
    assert list(partitions) == [TWO]
    partitions.gain([ONE])
    assert partitions[ONE] == gained()


def test_a_commit_that_was_refused_before_the_partition_came_is_still_asked_again() -> None:
    partitions = Partitions()
    partitions.known(ONE).ask_commit(7)
    partitions[ONE].answer_commit(7, refused=True)
    assert not partitions[ONE].assigned
    assert partitions.where(lambda state: state.unplaced) == []
    partitions.gain([ONE])
    assert (partitions[ONE].assigned, partitions[ONE].commit_refused) == (True, 7)


def test_partitions_are_found_by_what_is_known_of_them() -> None:
    partitions = Partitions()
    partitions.gain([ONE, TWO])
    partitions[TWO].unplaced = False
    assert partitions.where(lambda state: state.unplaced) == [ONE]
    assert partitions.where(lambda state: state.is_read) == [TWO]
    assert (partitions.is_unplaced(ONE), partitions.is_unplaced(TWO)) == (True, False)


def test_a_partition_that_is_not_ours_is_neither_unplaced_nor_read() -> None:
    partitions = Partitions()
    assert not partitions.is_unplaced(ONE)
    partitions.known(ONE).ask_commit(7)
    assert not partitions.is_unplaced(ONE)
    assert not partitions[ONE].is_read


@pytest.mark.parametrize(("held", "paused"), [(True, True), (False, False)])
def test_a_rewound_partition_is_placed_again_and_no_longer_held(held: bool, paused: bool) -> None:
    state = being_read(held=held, end_seen=9, out_of_range=8, commit_asked=6)
    state.rewind()
    assert state == being_read(unplaced=True, paused=paused, commit_asked=6)


def test_a_topic_created_again_leaves_nothing_of_the_former_offsets() -> None:
    state = being_read(end_seen=9, commit_asked=6, commit_refused=6, beginning=3, beginning_asked=Beginning(4, print))
    state.begin_anew()
    assert state == PartitionState(assigned=True, unplaced=True)


def test_a_topic_created_again_does_not_resume_what_is_paused_or_held() -> None:
    state = being_read(paused=True, held=True, out_of_range=8)
    state.begin_anew()
    assert (state.paused, state.held, state.out_of_range) == (True, True, 8)


def test_a_position_that_the_broker_does_not_have_must_be_placed() -> None:
    state = being_read()
    assert state.lose_position(5)
    assert state == being_read(unplaced=True, out_of_range=5)


@pytest.mark.parametrize(
    "state", [PartitionState(start=5), being_read(unplaced=True), being_read(start=None), being_read(start=6)]
)
def test_old_news_of_a_position_change_nothing(state: PartitionState) -> None:
    before = asdict(state)
    assert not state.lose_position(5)
    assert asdict(state) == before


def test_where_a_partition_is_placed_is_where_reading_begins() -> None:
    state = PartitionState(assigned=True, unplaced=True, beginning=3)
    state.start_at(3)
    assert (state.start, state.beginning) == (3, None)


def test_a_refused_commit_is_asked_again_unless_a_newer_one_was_asked() -> None:
    state = being_read()
    state.ask_commit(7)
    state.answer_commit(7, refused=True)
    assert state.commit_refused == 7
    state.ask_commit(8)
    assert state == being_read(commit_asked=8)
    state.answer_commit(7, refused=True)
    assert state == being_read(commit_asked=8)


def test_a_commit_that_was_taken_is_not_asked_again() -> None:
    state = being_read()
    state.ask_commit(7)
    state.answer_commit(7, refused=False)
    assert state.commit_refused is None


def test_a_beginning_is_known_and_announced_once_the_group_has_committed_it() -> None:
    announced: list[int] = []
    state = being_read(beginning_asked=Beginning(4, lambda: announced.append(4)))
    state.answer_commit(3, refused=False)
    assert (state.beginning, announced) == (None, [])
    state.answer_commit(4, refused=False)
    state.answer_commit(4, refused=False)
    assert (state.beginning, state.beginning_asked, announced) == (4, None, [4])


def test_a_beginning_that_the_group_refused_is_looked_up_anew() -> None:
    announced: list[int] = []
    state = being_read(beginning_asked=Beginning(4, lambda: announced.append(4)), commit_asked=4)
    state.answer_commit(4, refused=True)
    assert (state.beginning, state.beginning_asked, announced) == (None, None, [])
    assert state.commit_refused is None, "it was no commit of messages"


@pytest.mark.parametrize(
    ("known", "reached"), [({"start": None}, -1), ({"start": 5}, 5), ({"start": 5, "end_seen": 9}, 9), ({"end_seen": 3}, 5)]
)
def test_reading_has_reached_its_start_or_the_end_that_it_met(known: dict[str, int | None], reached: int) -> None:
    assert being_read(**known).reached == reached


def test_an_end_that_is_met_counts_only_for_a_partition_that_was_placed() -> None:
    state = gained()
    state.meet_end(9)
    assert state.end_seen is None
    state.unplaced = False
    state.meet_end(9)
    assert state.end_seen == 9


@pytest.mark.parametrize(
    ("start", "end_seen", "position", "end", "lag"),
    [
        (5, None, 7, 10, 3),
        (5, None, -1001, 10, 5),
        (None, None, -1001, 10, None),
        (5, None, 7, -1001, None),
        (5, 10, 9, 10, 0),
        (5, 8, 9, 10, 1),
        (5, None, 12, 10, 0),
    ],
)
def test_the_lag_is_counted_from_the_position_or_the_start_or_the_end_that_was_met(
    start: int | None, end_seen: int | None, position: int, end: int, lag: int | None
) -> None:
    assert being_read(start=start, end_seen=end_seen).lag(position, end) == lag


@pytest.mark.parametrize(
    ("known", "tail"),
    [
        ({}, None),
        ({"end_seen": 9}, 9),
        ({"end_seen": 5}, None),
        ({"end_seen": 9, "returned": 8}, None),
        ({"end_seen": 9, "returned": 8, "finished": 7}, None),
        ({"end_seen": 9, "returned": 8, "finished": 8}, 9),
        ({"end_seen": 8, "returned": 8, "finished": 8}, None),
        ({"end_seen": 9, "returned": 8, "finished": 9}, None),
        ({"end_seen": 9, "unplaced": True}, None),
    ],
)
def test_an_end_is_to_be_committed_once_all_before_it_is_finished(known: dict[str, int], tail: int | None) -> None:
    assert being_read(**known).tail == tail


@pytest.mark.parametrize(("returned", "offset", "past"), [(8, 8, 9), (8, 7, 7), (None, 7, 7), (8, 12, 12)])
def test_a_commit_passes_the_end_only_where_nothing_before_it_is_left(returned: int | None, offset: int, past: int) -> None:
    assert being_read(end_seen=9, returned=returned).past(offset) == past


def test_a_partition_that_is_placed_anew_knows_no_end_of_before() -> None:
    state = being_read(end_seen=9)
    state.start_at(2)
    assert (state.end_seen, state.tail) == (None, None)


def test_a_range_passes_no_end() -> None:
    partitions = Partitions(pass_tails=False)
    partitions[ONE] = being_read(end_seen=9, returned=8, finished=8)
    assert (partitions.tails(), partitions.past({ONE: 8})) == ({}, {ONE: 8})
