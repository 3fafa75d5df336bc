"""The note beside a committed offset: the topic and the cluster that it was committed for. What follows from it: `offsets.py`."""

from typing import NamedTuple, Self

CLUSTER, TOPIC = "cluster-id=", "topic-id="


class OffsetNote(NamedTuple):
    """The ids of a topic and of its cluster, each None where it is not known."""

    topic_id: str | None = None
    cluster_id: str | None = None

    def write(self) -> str:
        """Return the note as it is stored, empty where the topic's id is not known.

        The cluster stands first: earlier versions, which know no cluster, take such a note for somebody else's and the offset for
        valid.
        """
        if self.topic_id is None:
            return ""
        return f"{'' if self.cluster_id is None else f'{CLUSTER}{self.cluster_id} '}{TOPIC}{self.topic_id}"

    @classmethod
    def parse(cls, text: str | None) -> Self:
        """Return what a note says. Others may note what they like: of that nothing is known."""
        words = (text or "").split(" ")
        if not words[0].startswith((CLUSTER, TOPIC)):
            return cls()
        return cls(_value(words, TOPIC), _value(words, CLUSTER))


def _value(words: list[str], name: str) -> str | None:
    return next((word.removeprefix(name) for word in words if word.startswith(name)), None)
