"""A subscriber of enriched postings: each posting once, in order, whatever the delivery mode of the consumers.

    python -m deploy.examples.subscriber --topic postings.enriched --group my-search-index

It prints a line for each posting and each delete. Put your own work in `handle`. The settings of the brokers are the consumer's:
OCCUSTREAM_BOOTSTRAP_SERVERS.
"""

import argparse
import json
import os
import signal
import sys
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message

REMEMBERED = 100_000
"""So many event ids are remembered, to tell a posting that was delivered twice. At-least-once delivery repeats recent ones."""
POLL_S = 0.5


class Seen:
    """Remembers the last event ids, oldest first."""

    def __init__(self, limit: int = REMEMBERED) -> None:
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._limit = limit

    def add(self, event_id: str) -> bool:
        """Remember an id; return whether it is new."""
        is_new = event_id not in self._ids
        self._ids[event_id] = None
        self._ids.move_to_end(event_id)
        if len(self._ids) > self._limit:
            self._ids.popitem(last=False)
        return is_new


def handle(event_id: str, posting: Mapping[str, Any] | None, key: bytes | None) -> None:
    """Do your own work here: index the posting, notify somebody. `posting` is None where the posting of this key was deleted."""
    if posting is None:
        print(json.dumps({"event_id": event_id, "deleted": (key or b"").decode(errors="replace")}), flush=True)
        return
    best: Mapping[str, Any] = next(iter(posting["occupations"]), {})
    line = {
        "event_id": event_id,
        "posting_id": posting["posting"]["posting_id"],
        "title": posting["posting"]["title"],
        "decision": posting["decision"],
        "onet_code": best.get("onet_code"),
    }
    print(json.dumps(line, ensure_ascii=False), flush=True)


def read_event(message: Message) -> tuple[str, Mapping[str, Any] | None]:
    """Return the event id of a record and its enriched posting; None for a delete. Fields that you do not know may be added."""
    headers: dict[str, Any] = dict(message.headers() or [])
    place = f"{message.topic()}:{message.partition()}:{message.offset()}"
    event_id = (headers.get("occustream.event-id") or place.encode()).decode()
    value = message.value()
    return event_id, None if value is None else json.loads(value)


def main() -> int:
    """Read until SIGINT or SIGTERM."""
    options = _parser().parse_args()
    stopped: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _frame: stopped.append(received))
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ.get("OCCUSTREAM_BOOTSTRAP_SERVERS", "localhost:9092"),
            "group.id": options.group,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",  # see nothing of transactions that were taken back
            "enable.auto.offset.store": False,  # an offset is committed once its posting was handled, not once it was read
        }
    )
    consumer.subscribe(options.topic.split(","))
    seen = Seen()
    try:
        while not stopped:
            message = consumer.poll(POLL_S)
            if message is None:
                continue
            if (error := message.error()) is not None:
                if error.fatal():
                    raise KafkaException(error)
                print(f"Kafka: {error.str()}", file=sys.stderr)
                continue
            event_id, posting = read_event(message)
            if seen.add(event_id):
                handle(event_id, posting, message.key())
            consumer.store_offsets(message)
    finally:
        consumer.close()  # commits what was stored
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Print each enriched posting once.")
    parser.add_argument(
        "--topic", default="postings.enriched", help="the output topic, or several with commas (postings.enriched)"
    )
    parser.add_argument("--group", default="occustream-example", help="consumer group (occustream-example)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
