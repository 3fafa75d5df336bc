"""Latency of a posting from the topic of postings to a subscriber of the enriched topic, in both modes of delivery.

Postings of distinct titles arrive at an even pace that the consumer keeps up with, on a real Kafka on the same cores. The clock
of a posting starts before it is produced and stops when a `read_committed` reader has its record; in exactly-once mode that is
after the end of its transaction. The modes alternate. For each mode the percentiles of all its rounds together are quoted,
without the postings of the first seconds, in which groups are joined and connections opened.

    python -m benchmarks.latency [--titles FILE.csv] [--registry DIR] [--rate 50] [--seconds 30] [--rounds 3]
"""

import argparse
import contextlib
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer

from benchmarks.consumer_loop import PARTITIONS, Topics, make_clients, make_pipeline, new_topics
from benchmarks.inputs import choose_titles, load_scorer, publish_category_names, write_postings
from benchmarks.machine import print_result, real_kafka
from consumer.metrics import Metrics
from consumer.model.scorer import Scorer

WARM_S = 5.0
"""Postings that arrive in the first seconds are not counted."""
MODES = {"at-least-once": False, "exactly-once": True}


def main() -> None:
    """Measure and print one JSON line."""
    options = _parser().parse_args()
    titles = choose_titles(options.titles, round(options.rate * (options.seconds + WARM_S)))
    with contextlib.ExitStack() as stack:
        registry = options.registry or publish_category_names(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        scorer = load_scorer(registry, "fp32", ())
        scorer.score(titles[:200])  # warm up
        if (servers := stack.enter_context(real_kafka())) is None:
            raise SystemExit("no Kafka to measure on: set KAFKA_BOOTSTRAP_SERVERS, or install what is missing")
        seconds: dict[str, list[float]] = {mode: [] for mode in MODES}
        for _ in range(options.rounds):
            for mode, once in MODES.items():
                seconds[mode] += (found := measure(titles, scorer, servers, rate=options.rate, once=once))
                print(mode, percentiles_ms(found), file=sys.stderr)
    print_result(
        "latency",
        model="a trained one" if options.registry else "category names",
        per_second=options.rate,
        counted={mode: len(found) for mode, found in seconds.items()},
        milliseconds={mode: percentiles_ms(found) for mode, found in seconds.items()},
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--titles", type=Path, help="a CSV with a column TITLE_RAW (default: made from the starter titles)")
    parser.add_argument("--registry", type=Path, help="its version in service (default: the 1,016 category names, embedded)")
    parser.add_argument("--rate", type=float, default=50.0, help="postings a second (50)")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each round that count (30)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each mode (3)")
    return parser


def measure(titles: Sequence[str], scorer: Scorer, servers: str, *, rate: float, once: bool) -> list[float]:
    """Feed the titles at `rate`, and return the seconds that each posting took, of those fed after the first `WARM_S`."""
    with new_topics(servers) as topics:
        done = threading.Event()
        source, sink = make_clients(servers, topics, once=once)
        pipeline = make_pipeline(source, sink, scorer, Metrics(), topics, done.is_set)
        fed: dict[str, float] = {}
        threads = [
            threading.Thread(target=pipeline.run),
            threading.Thread(target=feed, args=(titles, servers, topics, rate, fed)),
        ]
        for thread in threads:
            thread.start()
        try:
            arrived = read(servers, topics, len(titles), timeout_s=60 + len(titles) / rate)
        finally:
            done.set()
            for thread in threads:
                thread.join()
    return [arrived[key] - at for number, (key, at) in enumerate(fed.items()) if number >= rate * WARM_S]


def feed(titles: Sequence[str], servers: str, topics: Topics, rate: float, fed: dict[str, float]) -> None:
    """Produce a posting per title at an even pace; put the moment of each into `fed`, in monotonic seconds by its key."""
    producer = Producer({"bootstrap.servers": servers, "linger.ms": 0})
    started = time.monotonic()
    for number, value in enumerate(write_postings(titles)):
        time.sleep(max(0.0, started + number / rate - time.monotonic()))
        fed[str(number)] = time.monotonic()
        producer.produce(topics.raw, key=str(number), value=value, partition=number % PARTITIONS)
        producer.poll(0)
    producer.flush(30)


def read(servers: str, topics: Topics, count: int, *, timeout_s: float) -> dict[str, float]:
    """Return the moment each record arrived, in monotonic seconds by its key. Raises TimeoutError unless `count` arrive."""
    properties: dict[str, Any] = {
        "bootstrap.servers": servers,
        "group.id": f"{topics.enriched}-reader",
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
        "fetch.wait.max.ms": 10,
    }
    reader = Consumer(properties)
    reader.subscribe([topics.enriched])
    arrived: dict[str, float] = {}
    until = time.monotonic() + timeout_s
    while len(arrived) < count:
        if time.monotonic() > until:
            raise TimeoutError(f"{len(arrived):,} of {count:,} records came within {timeout_s:.0f} s")
        message = reader.poll(0.5)
        if message is not None and not message.error():
            arrived[(message.key() or b"").decode()] = time.monotonic()
    reader.close()
    return arrived


def percentiles_ms(seconds: Sequence[float]) -> dict[str, float]:
    """Return the median, the 95th and the 99th percentile, in milliseconds."""
    cuts = statistics.quantiles(seconds, n=100)
    return {f"p{percent}": round(1_000 * cuts[percent - 1], 1) for percent in (50, 95, 99)}


if __name__ == "__main__":
    main()
