"""A stream of postings for demonstrations: the built-in titles with places and shifts, and now and then a broken message.

`python -m deploy.feed --rate 50` feeds OCCUSTREAM_INPUT_TOPIC on OCCUSTREAM_BOOTSTRAP_SERVERS until stopped.
"""

import argparse
import csv
import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

from confluent_kafka import KafkaException, Producer

from consumer.kafka.client import IDEMPOTENT_PRODUCER, NO_NEW_TOPICS

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


@dataclass(frozen=True, slots=True)
class Event:
    """A message to produce; `broken` ones belong into the dead letters."""

    key: bytes
    value: bytes
    broken: bool


def events(seed: int = 0, *, broken_share: float = 0.01) -> Iterator[Event]:
    """Yield postings without end."""
    rng = random.Random(seed)  # noqa: S311 - variety, not secrecy
    text = resources.files("trainer").joinpath("starter/postings.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    number = 0
    while True:
        number += 1
        key = f"posting-{number}".encode()
        if rng.random() < broken_share:
            yield Event(key, rng.choice(BROKEN), broken=True)
            continue
        row = rng.choice(rows)
        title = rng.choice(
            (row["TITLE_RAW"], f"{row['TITLE_RAW']} - {rng.choice(PLACES)}", f"{row['TITLE_RAW']} ({rng.choice(SHIFTS)})")
        )
        posting = {"ID": key.decode(), "TITLE_RAW": title, "BODY": row["BODY"], "POSTED": row["POSTED"]}
        yield Event(key, json.dumps(posting).encode(), broken=False)


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
