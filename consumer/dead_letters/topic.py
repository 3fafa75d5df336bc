"""The dead-letter topic, read up to the end it had at the start: its dead letters, and the receipts of replayed ones."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from consumer.dead_letter_record import DeadLetter
from consumer.dead_letters.originals import Originals
from consumer.messages import Message, Record

ReadTopic = Callable[[Mapping[int, range] | None], Iterable[Message]]
"""Reads a topic up to its present end: all of it, or only ranges of offsets, by partition."""
RECEIPT_HEADER = "dead-letter.receipt"
"""Marks a receipt. Receipts are written to the partition of the replayed dead letters, after them."""


class DeadLetterTopic:
    """The dead letters of a topic up to its end at the time this object is made. It knows which of them were replayed."""

    def __init__(self, read: ReadTopic, originals: Originals | None = None) -> None:
        """Read the whole topic once, for the receipts. Raises what `read` raises, BrokerError.

        `originals` knows the messages of abridged letters; without it, they are gone.
        """
        self._read = read
        self._originals = originals or Originals(lambda _topic, _ranges: ())
        self._replayed: set[tuple[int, int]] = set()
        self._ranges: dict[int, range] = {}
        self.others = 0  # messages that are neither dead letters nor receipts
        for message in read(None):
            self._ranges[message.partition] = range(message.offset + 1)
            if (offsets := replayed_offsets(message)) is not None:
                self._replayed.update((message.partition, offset) for offset in offsets)
            elif DeadLetter.parse(message) is None:
                self.others += 1

    def was_replayed(self, letter: DeadLetter) -> bool:
        """Return whether a replay has sent this dead letter back."""
        return (letter.message.partition, letter.message.offset) in self._replayed

    def complete(self, letter: DeadLetter) -> DeadLetter | None:
        """Return a letter with all that its message had; None if it is abridged and its message is gone. Raises BrokerError."""
        return self._originals.complete(letter)

    def __iter__(self) -> Iterator[DeadLetter]:
        """Yield the dead letters, in order per partition. Each iteration reads the topic again."""
        for message in self._read(self._ranges):
            if (letter := DeadLetter.parse(message)) is not None:
                yield letter


def make_receipt(topic: str, partition: int, offsets: Sequence[int]) -> Record:
    """Return the record which says that the dead letters at these offsets of a partition were replayed."""
    value = json.dumps({"replayed": list(offsets)}).encode()
    return Record(topic, None, value, ((RECEIPT_HEADER, b"1"),), partition)


def replayed_offsets(message: Message) -> list[int] | None:
    """Return the offsets that a receipt names; None where the message is no receipt.

    A dead letter may have the header of a receipt, if a receipt had got into an input topic.
    """
    has_header = any(name == RECEIPT_HEADER for name, _value in message.headers)
    if not has_header or DeadLetter.parse(message) is not None:
        return None
    try:
        return [int(offset) for offset in json.loads(message.value or b"")["replayed"]]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
