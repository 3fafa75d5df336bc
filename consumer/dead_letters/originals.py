"""The messages of abridged dead letters, read where they still lie: in the topics that they came from."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from consumer.dead_letter_record import VALUE_LEFT_OUT, DeadLetter, value_digest
from consumer.messages import Message

ReadRange = Callable[[str, Mapping[int, range]], Iterable[Message]]
"""Reads ranges of offsets of a topic, by partition. Raises BrokerError where the topic is not there or no broker answers."""


class Originals:
    """Makes abridged letters whole again."""

    def __init__(self, read: ReadRange) -> None:
        self._read = read

    def complete(self, letter: DeadLetter) -> DeadLetter | None:
        """Return a letter with all that its message had; None if that message is gone. A whole letter is returned as it is.

        Raises BrokerError.
        """
        if not letter.left_out:
            return letter
        found = self._find(letter)
        if found is None:
            return None
        kept = letter.message.key, letter.headers
        key, headers = kept if letter.left_out == VALUE_LEFT_OUT else (found.key, found.headers)
        own = tuple(header for header in letter.message.headers if header not in letter.headers)
        return replace(letter, message=replace(letter.message, key=key, value=found.value, headers=(*headers, *own)))

    def _find(self, letter: DeadLetter) -> Message | None:
        """Return the message of a letter. The topic may have been created again: another message then has its place."""
        place = {letter.partition: range(letter.offset, letter.offset + 1)}
        found = next(iter(self._read(letter.topic, place)), None)
        return found if found is not None and value_digest(found) == letter.value_sha256 else None
