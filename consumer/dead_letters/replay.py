"""Sends dead letters back to where they came from: each once, even when a replay is interrupted and run again.

The messages sent and their receipts, in the dead-letter topic, are written in one Kafka transaction. Each dead-letter topic has
one transactional id: a second replay shuts the first one out before it reads the receipts of the first.
"""

import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from consumer.dead_letter_record import ATTEMPT_HEADER, REPLAY_OF_HEADER, DeadLetter
from consumer.dead_letters.filter import Filter
from consumer.dead_letters.topic import DeadLetterTopic, make_receipt
from consumer.errors import RecordTooLarge
from consumer.messages import Record, TransactionalSink

MAX_COUNT = 500
"""Dead letters in a transaction."""
MAX_BYTES = 4_000_000
"""Bytes in a transaction, so that it takes far less time than its timeout."""
GONE = "abridged letters whose messages are no longer in their topics"
"""Why a letter is kept that does not hold its message's value."""


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """Options of a replay: which dead letters to send, to topic `to` instead of each one's own, at most `rate` a second."""

    dead_letter_topic: str
    filter: Filter
    max_attempts: int
    to: str | None = None
    rate: float = math.inf

    def target(self, letter: DeadLetter) -> str:
        """Return the topic that a dead letter is sent to."""
        return self.to or letter.topic

    def why_kept(self, letter: DeadLetter) -> str | None:
        """Return why a dead letter is not sent; None where it is sent. One that would only become a dead letter again is kept."""
        if letter.attempt >= self.max_attempts:
            return f"dead letters {self.max_attempts} times or more already (--max-attempts)"
        if self.target(letter) == self.dead_letter_topic:
            return "from the dead-letter topic itself (--to sends them elsewhere)"
        return None


@dataclass
class ReplayPlan:
    """Counts of a replay: dead letters to send, by topic; kept ones, by the reason why; and those replayed before."""

    to_send: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    replayed: int = 0


def plan_replay(letters: DeadLetterTopic, options: ReplayOptions) -> ReplayPlan:
    """Return what a replay would do. Raises BrokerError."""
    plan = ReplayPlan()
    for letter in letters:
        if not options.filter.matches(letter):
            continue
        if letters.was_replayed(letter):
            plan.replayed += 1
        elif (why := options.why_kept(letter)) is not None:
            plan.kept[why] += 1
        elif letters.complete(letter) is None:
            plan.kept[GONE] += 1
        else:
            plan.to_send[options.target(letter)] += 1
    return plan


def replay(
    letters: DeadLetterTopic,
    sink: TransactionalSink,
    options: ReplayOptions,
    *,
    on_sent: Callable[[int], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Send the dead letters of the plan, except those that are larger than their topic takes; returns how many were sent.

    After each transaction `on_sent` is called with the number sent so far. Raises DeliveryFailed and BrokerError: what was sent
    until then has its receipts and is not sent again.
    """
    started, sent = clock(), 0
    for batch in _batches(_letters_to_send(letters, options), options.rate):
        if (early_s := started + sent / options.rate - clock()) > 0:
            sleep(early_s)
        sent += _send(batch, sink, options)
        on_sent(sent)
    return sent


def _send(batch: list[DeadLetter], sink: TransactionalSink, options: ReplayOptions) -> int:
    """Send a batch in one transaction; a batch that is too large by halves. A single one that is too large is left out."""
    try:
        sink.transact([*(_original(letter, options) for letter in batch), *_make_receipts(batch, options)], {}, None)
    except RecordTooLarge:
        middle = len(batch) // 2
        return sum(_send(half, sink, options) for half in (batch[:middle], batch[middle:])) if middle else 0
    return len(batch)


def _letters_to_send(letters: DeadLetterTopic, options: ReplayOptions) -> Iterator[DeadLetter]:
    for letter in letters:
        if options.filter.matches(letter) and not letters.was_replayed(letter) and options.why_kept(letter) is None:
            whole = letters.complete(letter)
            if whole is not None:
                yield whole


def _batches(letters: Iterable[DeadLetter], rate: float) -> Iterator[list[DeadLetter]]:
    """Yield batches for one transaction each, none larger than what may be sent in a second."""
    max_count = max(1, int(min(rate, MAX_COUNT)))
    batch: list[DeadLetter] = []
    size = 0
    for letter in letters:
        if batch and (len(batch) >= max_count or size + letter.message.size_bytes > MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(letter)
        size += letter.message.size_bytes
    if batch:
        yield batch


def _original(letter: DeadLetter, options: ReplayOptions) -> Record:
    """Return the message that became the dead letter, for the same partition, with two headers that say it was replayed."""
    headers = ((ATTEMPT_HEADER, b"%d" % letter.attempt), (REPLAY_OF_HEADER, letter.event_id.encode()))
    message = letter.message
    return Record(options.target(letter), message.key, message.value, (*letter.headers, *headers), letter.partition)


def _make_receipts(letters: Iterable[DeadLetter], options: ReplayOptions) -> list[Record]:
    offsets_by_partition: dict[int, list[int]] = defaultdict(list)
    for letter in letters:
        offsets_by_partition[letter.message.partition].append(letter.message.offset)
    return [make_receipt(options.dead_letter_topic, partition, offsets) for partition, offsets in offsets_by_partition.items()]
