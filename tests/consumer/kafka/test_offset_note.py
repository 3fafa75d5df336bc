"""The note beside a committed offset."""

import pytest

from consumer.kafka.offset_note import OffsetNote


@pytest.mark.parametrize("note", [OffsetNote("t", "c"), OffsetNote("t=/+", "c="), OffsetNote("t"), OffsetNote()])
def test_a_note_that_is_written_reads_the_same(note: OffsetNote) -> None:
    assert OffsetNote.parse(note.write()) == note


@pytest.mark.parametrize("text", [None, "", "set by hand", "by hand topic-id=t", " topic-id=t"])
def test_of_what_others_note_nothing_is_known(text: str | None) -> None:
    assert OffsetNote.parse(text) == OffsetNote()


def test_earlier_versions_take_a_note_with_a_cluster_for_somebody_elses() -> None:
    assert not OffsetNote("t", "c").write().startswith("topic-id=")
