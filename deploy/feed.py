"""A stream of postings for demonstrations: the built-in titles with places and shifts, in five shapes of real feeds.

Now and then a posting is deleted, or a message is broken.

`python -m deploy.feed --rate 50` feeds OCCUSTREAM_INPUT_TOPIC on OCCUSTREAM_BOOTSTRAP_SERVERS until stopped.
"""

import argparse
import csv
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import count
from typing import Literal

from confluent_kafka import KafkaException, Producer

from consumer.kafka.client import IDEMPOTENT_PRODUCER, NO_NEW_TOPICS
from deploy.feed_shapes import SHAPES, Row, Shape, deleted_row, encode

SENT_HEADER = "sent-ns"
PLACES = ("Boise, ID", "Nampa, ID", "Austin, TX", "Columbus, OH", "Remote", "Tampa, FL", "Reno, NV", "Toledo, OH", "Fargo, ND")
SHIFTS = ("Full Time", "Part-time", "nights", "2nd shift", "weekends", "PRN", "$1,500 sign-on bonus", "immediate start")
BROKEN = (
    b'{"ID": "broken", "TITLE_RAW": ',
    b"not json at all",
    b'{"ID": "untitled", "BODY": "no title"}',
    b'{"title": "   "}',
    b"\xff\xfe",
)


Kind = Literal["posting", "delete", "broken"]


@dataclass(frozen=True, slots=True)
class Event:
    """A message to produce. Deletes are to be forwarded; what is broken belongs into the dead letters."""

    key: bytes
    value: bytes
    kind: Kind


def events(
    seed: int = 0,
    *,
    shapes: Sequence[Shape] = tuple(SHAPES.values()),
    broken_share: float = 0.01,
    deleted_share: float = 0.01,
) -> Iterator[Event]:
    """Yield postings without end, and deletes and broken messages among them."""
    rng = random.Random(seed)  # noqa: S311 - variety, not secrecy
    text = resources.files("trainer").joinpath("starter/postings.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    for number in count(1):
        key = f"posting-{number}"
        chance = rng.random()
        if chance < broken_share:
            yield Event(key.encode(), rng.choice(BROKEN), "broken")
        elif chance < broken_share + deleted_share:
            gone = f"posting-{rng.randint(1, number)}"
            yield Event(gone.encode(), encode(deleted_row(gone)), "delete")
        else:
            yield Event(key.encode(), encode(rng.choice(shapes)(_choose_posting(rng, rows, key))), "posting")


def _choose_posting(rng: random.Random, rows: Sequence[Mapping[str, str]], posting_id: str) -> Row:
    row = rng.choice(rows)
    title = rng.choice(
        (row["TITLE_RAW"], f"{row['TITLE_RAW']} - {rng.choice(PLACES)}", f"{row['TITLE_RAW']} ({rng.choice(SHIFTS)})")
    )
    return Row(posting_id, title, row["BODY"], row["POSTED"])


def main() -> int:
    """Feed until SIGINT or SIGTERM, and return 0 if the brokers acknowledged every posting."""
    options = _parser().parse_args()
    servers = os.environ.get("OCCUSTREAM_BOOTSTRAP_SERVERS", "localhost:9092")
    topic = os.environ.get("OCCUSTREAM_INPUT_TOPIC", "postings.raw")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    producer = Producer({"bootstrap.servers": servers, **IDEMPOTENT_PRODUCER, **NO_NEW_TOPICS, "partitioner": "murmur2_random"})
    sent = 0
    for event in events(options.seed):
        if stop.is_set() or (options.count and sent >= options.count):
            break
        try:
            producer.produce(topic, key=event.key, value=event.value, headers=[(SENT_HEADER, str(time.time_ns()).encode())])
        except (BufferError, KafkaException) as error:
            print(f"waiting for {servers}: {error}", file=sys.stderr)
            producer.poll(1.0)
            continue
        producer.poll(0)
        sent += 1
        stop.wait(1 / options.rate)
    left = producer.flush(30)
    print(f"{sent - left:,} postings sent to {topic}" + (f", {left:,} not acknowledged" if left else ""), file=sys.stderr)
    return 1 if left else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=50.0, metavar="N", help="postings per second (50)")
    parser.add_argument("--count", type=int, default=0, metavar="N", help="stop after so many; 0: never (0)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the choice of titles (0)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
