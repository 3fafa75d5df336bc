"""Sends dead letters back to where they came from: each once, also when it is interrupted and run again.

What is sent and the receipt for it, in the dead-letter topic, are one Kafka transaction. With one transactional id for each
dead-letter topic, a second replay shuts the first one out before it reads what that one has sent.
"""

import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from consumer.dead_letter_record import ATTEMPT, REPLAY_OF, Letter
from consumer.dead_letters.topic import Filter, Letters, receipt
from consumer.errors import RecordTooLarge
from consumer.messages import Record, TransactionalSink

MAX_COUNT = 500
MAX_BYTES = 4_000_000
"""Of a transaction, so that it takes far less than its timeout."""


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """What to send back: `to` another topic, at most `rate` a second, none that has been a dead letter `max_attempts` times."""

    letters_topic: str
    where: Filter
    max_attempts: int
    to: str | None = None
    rate: float = math.inf

    def target(self, letter: Letter) -> str:
        """Return the topic that a letter goes to."""
        return self.to or letter.topic

    def kept(self, letter: Letter) -> str | None:
        """Return why a letter is not sent, None where it is: what would only come back again stays."""
        if letter.attempt >= self.max_attempts:
            return f"dead letters {self.max_attempts} times or more already (--max-attempts)"
        if self.target(letter) == self.letters_topic:
            return "from the dead-letter topic itself (--to sends them elsewhere)"
        return None


@dataclass
class Plan:
    """What a replay would do: letters to send by topic, those kept by why, those that were replayed before."""

    sends: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    replayed: int = 0


def plan(letters: Letters, options: ReplayOptions) -> Plan:
    """Return what a replay would do. Raises BrokerError."""
    made = Plan()
    for letter in letters:
        if not options.where.matches(letter):
            continue
        if letters.replayed(letter):
            made.replayed += 1
        elif (why := options.kept(letter)) is not None:
            made.kept[why] += 1
        else:
            made.sends[options.target(letter)] += 1
    return made


def replay(
    letters: Letters,
    sink: TransactionalSink,
    options: ReplayOptions,
    *,
    on_sent: Callable[[int], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Send what `plan` says, less what is larger than its topic takes; returns how many letters. `on_sent` is told so far.

    Raises DeliveryFailed, BrokerError: what was sent until then has its receipts and is not sent again.
    """
    started, sent = clock(), 0
    for batch in _batches(_chosen(letters, options), options.rate):
        if (early_s := started + sent / options.rate - clock()) > 0:
            sleep(early_s)
        sent += _send(batch, sink, options)
        on_sent(sent)
    return sent


def _send(batch: list[Letter], sink: TransactionalSink, options: ReplayOptions) -> int:
    """Send letters in one transaction; where they are too large, halves of them, and none that is so alone."""
    try:
        sink.transact([*(_again(letter, options) for letter in batch), *_receipts(batch, options)], {}, None)
    except RecordTooLarge:
        middle = len(batch) // 2
        return sum(_send(half, sink, options) for half in (batch[:middle], batch[middle:])) if middle else 0
    return len(batch)


def _chosen(letters: Letters, options: ReplayOptions) -> Iterator[Letter]:
    for letter in letters:
        if options.where.matches(letter) and not letters.replayed(letter) and options.kept(letter) is None:
            yield letter


def _batches(letters: Iterable[Letter], rate: float) -> Iterator[list[Letter]]:
    """Gather letters into transactions of at most a second's worth."""
    most = max(1, int(min(rate, MAX_COUNT)))
    batch: list[Letter] = []
    size = 0
    for letter in letters:
        if batch and (len(batch) >= most or size + letter.message.size_bytes > MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(letter)
        size += letter.message.size_bytes
    if batch:
        yield batch


def _again(letter: Letter, options: ReplayOptions) -> Record:
    """Return the message that a letter was, in its partition; two headers say that it was replayed."""
    told = ((ATTEMPT, b"%d" % letter.attempt), (REPLAY_OF, letter.event_id.encode()))
    message = letter.message
    return Record(options.target(letter), message.key, message.value, (*letter.headers, *told), letter.partition)


def _receipts(letters: Iterable[Letter], options: ReplayOptions) -> list[Record]:
    offsets: dict[int, list[int]] = defaultdict(list)
    for letter in letters:
        offsets[letter.message.partition].append(letter.message.offset)
    return [receipt(options.letters_topic, partition, of) for partition, of in offsets.items()]
