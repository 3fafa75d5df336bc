"""What consumer processes are given to do over a real Kafka, and what must come out."""

import itertools
import threading
import time
from collections.abc import Sequence
from typing import Self

from consumer.messages import Message, TopicPartition
from tests.support.brokers import Kafka, unique
from tests.support.messages import BAD_VALUES, event_id, posting_bytes
from tests.support.topic_reading import committed, end_offsets, read_topic
from tests.support.waiting import WAIT_S

PARTITIONS = 6

_TITLES = tuple(
    f"{level} {role} - {place}"
    for level in ("Senior", "Junior", "Lead", "Part-time")
    for role in ("Registered Nurse", "Line Cook", "Software Developer", "Truck Driver", "Accountant", "Electrician", "Teacher")
    for place in (
        "Boise, ID",
        "Nampa",
        "Remote",
        "Night Shift",
        "Full Time",
        "Austin TX",
        "$22/hr",
        "Weekend",
        "Hiring now",
        "II",
    )
)
"""280 distinct titles: repeated titles are answered from the cache, so that the time goes into delivery, not the model."""


class Job:
    """Three topics, a group, and what goes in and must come out."""

    def __init__(self, servers: str) -> None:
        self.servers = servers
        self.kafka = Kafka(servers)
        self.input, self.output, self.dead = (self.kafka.create_topic(PARTITIONS) for _ in range(3))
        self.group = unique("group")
        self._numbers = itertools.count()
        self._bad = itertools.cycle(value for _reason, value in BAD_VALUES)
        self.fed = 0

    def feed(self, count: int, *, bad_every: int = 100) -> None:
        """Send postings round robin over the partitions; every `bad_every`-th is none, of each kind in turn."""
        for number in itertools.islice(self._numbers, count):
            title = _TITLES[number * 7919 % len(_TITLES)]
            value = next(self._bad) if number % bad_every == bad_every // 2 else posting_bytes(title, posting_id=number)
            self.send(number, value)
        self.kafka.flush()
        self.fed += count

    def send(self, number: int, value: bytes | None) -> None:
        """Send a message to one of the partitions, chosen by its number."""
        message = Message(self.input, number * 31 % PARTITIONS, -1, b"key-%d" % (number % 500), value, (("n", b"%d" % number),))
        self.kafka.append(message)
        self.kafka.producer.poll(0)

    def records(self) -> int:
        """Return how many records came out so far."""
        return sum(sum(end_offsets(self.servers, topic).values()) for topic in (self.output, self.dead))

    def committed(self) -> dict[TopicPartition, int]:
        return committed(self.servers, self.group, self.input)

    def all_committed(self) -> bool:
        ends = end_offsets(self.servers, self.input)
        found = self.committed()
        return all(found.get(p, 0) == end for p, end in ends.items())

    def read(self) -> tuple[dict[str, Message], list[Message], list[Message]]:
        """Return the input by event id, the enriched records and the dead letters."""
        inputs = {m.event_id: m for m in read_topic(self.servers, self.input)}
        return inputs, read_topic(self.servers, self.output), read_topic(self.servers, self.dead)


def assert_delivered(inputs: dict[str, Message], enriched: Sequence[Message], dead: Sequence[Message]) -> int:
    """Check the promise of at-least-once delivery record by record. Returns how many records were repeated."""
    reasons = {value: reason for reason, value in BAD_VALUES}
    planted = {name: reasons[m.value] for name, m in inputs.items() if m.value in reasons}
    assert {event_id(record) for record in dead} == planted.keys()
    assert {event_id(record) for record in enriched} == inputs.keys() - planted.keys()
    for record in dead:
        original, headers = inputs[event_id(record)], dict(record.headers)
        assert record.value == original.value
        assert headers["dead-letter.reason"] == planted[event_id(record)].encode()
    for records in (enriched, dead):
        origins = [inputs[event_id(record)] for record in records]
        assert [m.key for m in origins] == [record.key for record in records]
        assert [m.partition for m in origins] == [record.partition for record in records]
        assert [m.headers for m in origins] == [
            record.headers[: len(m.headers)] for m, record in zip(origins, records, strict=True)
        ]
        for partition in range(PARTITIONS):
            firsts = list(dict.fromkeys(m.offset for m in origins if m.partition == partition))
            assert firsts == sorted(firsts), f"partition {partition}: first occurrences out of order"
    return len(enriched) + len(dead) - len(inputs)


class Stream:
    """Feeds a job at an even pace until stopped."""

    def __init__(self, job: Job, per_s: int) -> None:
        self._job = job
        self._batch = max(1, per_s // 20)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            self._job.feed(self._batch)
            self.sent += self._batch


def first_after(records: Sequence[Message], since_ms: float, header: str, value: str) -> float | None:
    """Return how many seconds after `since_ms` the first record with this header was written; None when there is none."""
    times = [m.timestamp_ms for m in records if dict(m.headers).get(header) == value.encode() and m.timestamp_ms is not None]
    return (min(times) - since_ms) / 1_000 if times else None


def now_ms() -> float:
    return time.time() * 1_000
