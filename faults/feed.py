"""Feeds postings: each has a key and a number of that key, and a header says what must become of it."""

import itertools
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

import confluent_kafka as ck

from consumer.kafka.client import IDEMPOTENT_PRODUCER
from faults.tiny_model import TITLES

KEYS = 60
EXPECT = "faults.expect"
"""Header: `enriched`, or the reason that the dead letter must give."""
ENRICHED = "enriched"
FLUSH_S = 120.0
TICK_S = 0.02

MakeMessage = Callable[[str, int, str], tuple[bytes | None, str]]
"""From a key, its running number and a title to a value, and what must become of it: see `EXPECT`."""


def make_posting(key: str, number: int, title: str) -> tuple[bytes | None, str]:
    """Return a good posting."""
    return json.dumps({"posting_id": f"{key}:{number}", "title": title}).encode(), ENRICHED


class Feed:
    """Sends messages to a topic; a key always goes to the same partition."""

    def __init__(self, servers: str, topic: str, *, partitions: int, seed: float) -> None:
        self._producer = ck.Producer(
            {
                "bootstrap.servers": servers,
                **IDEMPOTENT_PRODUCER,
                "linger.ms": 5,
                "message.timeout.ms": 0,
                "message.max.bytes": 8_000_000,
                "log_level": 2,
            }
        )
        self._topic = topic
        self._partitions = partitions
        self._rng = Random(seed)  # noqa: S311 - variety, not secrecy
        self._numbers: Counter[str] = Counter()
        self._turn = itertools.count()
        self.sent = 0
        self.refused = 0

    def send(self, count: int, make: MakeMessage = make_posting) -> None:
        """Send so many messages; return when the client has them."""
        for number in itertools.islice(self._turn, count):
            key = f"key-{number % KEYS}"
            value, expect = make(key, self._numbers[key], self._rng.choice(TITLES))
            self._numbers[key] += 1
            self._produce(number % KEYS % self._partitions, key, value=value, expect=expect)
            self.sent += 1

    def flush(self) -> None:
        """Wait until the brokers have all messages. Raises TimeoutError."""
        if self._producer.flush(FLUSH_S) or self.refused:
            raise TimeoutError(f"the brokers did not take what was fed within {FLUSH_S:.0f} s ({self.refused} refused)")

    @contextmanager
    def flowing(self, per_s: int, make: MakeMessage = make_posting) -> Iterator[None]:
        """Send `per_s` messages a second meanwhile, at an even pace."""
        stop = threading.Event()
        thread = threading.Thread(target=self._flow, args=(per_s, make, stop))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _flow(self, per_s: int, make: MakeMessage, stop: threading.Event) -> None:
        owed = 0.0
        while not stop.wait(TICK_S):
            owed += per_s * TICK_S
            self.send(int(owed), make)
            owed -= int(owed)

    def _produce(self, partition: int, key: str, *, value: bytes | None, expect: str) -> None:
        while True:
            try:
                self._producer.produce(
                    self._topic,
                    value=value,
                    key=key.encode(),
                    partition=partition,
                    headers=[(EXPECT, expect.encode())],
                    on_delivery=self._delivered,
                )
            except BufferError:
                self._producer.poll(0.1)
            else:
                self._producer.poll(0)
                return

    def _delivered(self, error: ck.KafkaError | None, _message: ck.Message) -> None:
        self.refused += error is not None
