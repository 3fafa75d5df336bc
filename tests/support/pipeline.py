"""A pipeline in the hands of a test: the tiny model between memory brokers, clocks and sinks that a test steers."""

import random
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from consumer.batcher import Batcher, BatchPolicy
from consumer.delivery.at_least_once import AtLeastOnce
from consumer.delivery.dead_letter_share import DeadLetterShare
from consumer.delivery.exactly_once import ExactlyOnce
from consumer.delivery.protocol import Delivery
from consumer.errors import DeliveryFailed
from consumer.kafka.transactions import KafkaTransactions
from consumer.memory_broker import MemoryBroker, MemorySink, MemoryTransactions
from consumer.messages import OnAck, Record, Sink, Source, TransactionalSink
from consumer.metrics import Metrics
from consumer.pipeline import Pipeline
from tests.support.messages import DEAD, IN, OUT, make_codec
from tests.support.tiny_model import tiny_scorer


class Clock:
    """A clock that moves by `tick_s` at each look, and when told to."""

    def __init__(self, tick_s: float = 0.0) -> None:
        self.now_s = 1_000.0
        self._tick_s = tick_s

    def __call__(self) -> float:
        self.now_s += self._tick_s
        return self.now_s


class HeldSink:
    """Takes records and acknowledges only those a test lets through; its waiting moves the clock."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.held: deque[tuple[Record, OnAck]] = deque()
        self.taken: list[Record] = []
        self.polls = 0
        self._clock = clock
        self._lets_through: Callable[[Record], bool] = lambda _record: False
        self._error: Callable[[Record], str | DeliveryFailed | None] = lambda _record: None

    def let_through(
        self,
        which: Callable[[Record], bool] = lambda _: True,
        error: Callable[[Record], str | DeliveryFailed | None] = lambda _: None,
    ) -> None:
        """From now on acknowledge the records that `which` chooses, with the `error` it has."""
        self._lets_through, self._error = which, error

    def produce(self, record: Record, on_ack: OnAck) -> None:
        self.taken.append(record)
        self.held.append((record, on_ack))

    def poll(self, timeout_s: float) -> None:
        self.polls += 1
        due = [(record, on_ack) for record, on_ack in self.held if self._lets_through(record)]
        self.held = deque(pair for pair in self.held if not self._lets_through(pair[0]))
        if not due and self._clock:
            self._clock.now_s += timeout_s
        for record, on_ack in due:
            error = self._error(record)
            on_ack(DeliveryFailed(error) if isinstance(error, str) else error)


class StutteringSink(MemorySink):
    """Sends a few records a call, partitions in any order, as a broker with several leaders does; seeded."""

    def __init__(self, broker: MemoryBroker, *, seed: int, at_most: int = 3, **options: Any) -> None:
        super().__init__(broker, **options)
        self._random = random.Random(seed)
        self._at_most = at_most

    def poll(self, timeout_s: float) -> None:
        for _ in range(min(len(self._queue), self._random.randint(0, self._at_most))):
            self._send_one()

    def _send_one(self) -> None:
        chosen = self._random.choice(self._queue)[0]
        place = (chosen.topic, chosen.input_partition)
        first = next(pair for pair in self._queue if (pair[0].topic, pair[0].input_partition) == place)
        rest = deque(pair for pair in self._queue if pair is not first)
        self._queue = deque([first])
        self._send()
        self._queue = rest


def memory_broker(partitions: int = 3) -> MemoryBroker:
    """Return a broker with the three topics."""
    return MemoryBroker({IN: partitions, OUT: partitions, DEAD: partitions})


def make_pipeline(source: Source, sink: Sink | TransactionalSink, *, batch: BatchPolicy | int = 4, **options: Any) -> Pipeline:
    """Return a pipeline with the tiny model; `batch` messages make a batch, or whatever waits after 10 ms."""
    policy = BatchPolicy(batch, 1_000_000, 0.01) if isinstance(batch, int) else batch
    given = {"scorer": tiny_scorer(), "metrics": Metrics(), **options}
    dead_letter_share = given.pop("dead_letter_share", DeadLetterShare())
    codec = given.pop("codec", make_codec())
    limits = {name: given.pop(name) for name in ("max_in_flight_messages", "commit_interval_s") if name in given}
    clock, metrics = given.get("clock", time.monotonic), given["metrics"]
    delivery: Delivery
    if isinstance(sink, MemoryTransactions | KafkaTransactions):
        delivery = ExactlyOnce(source, sink, metrics, codec=codec, dead_letter_share=dead_letter_share, clock=clock)
    else:
        delivery = AtLeastOnce(source, sink, metrics, codec=codec, dead_letter_share=dead_letter_share, clock=clock, **limits)
    return Pipeline(source=source, delivery=delivery, batcher=Batcher(policy), codec=codec, **given)
