"""Events per second of the whole consumer over titles per second of the bare `SentenceTransformer.encode`, in one run.

The physics: on a CPU the encoder's arithmetic is nearly all the work. The best a consumer can do is hide everything else (JSON,
scoring, Kafka) behind it, which is a ratio of 1. A ratio above 1 means that it also computes less, by sorting over larger
batches. Titles are distinct, so that no cache helps. Shared machines drift, so rounds alternate between the two, and the median
of the rounds' ratios is quoted. On Kafka both modes of delivery are measured. `--precision fp32` gives both the same arithmetic;
`auto` lets the consumer use what the hardware has.

    python -m benchmarks.throughput [--titles FILE.csv] [--count 2000] [--rounds 3] [--precision fp32] [--registry DIR]
"""

import argparse
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from confluent_kafka import Producer

from benchmarks.consumer_loop import PARTITIONS, Topics, make_clients, make_pipeline, new_topics
from benchmarks.inputs import choose_titles, load_scorer, publish_category_names, write_postings
from benchmarks.machine import print_result, real_kafka
from consumer.kafka.transactions import KafkaTransactions
from consumer.memory_broker import MemoryBroker, MemorySink, MemorySource
from consumer.messages import Message, Sink, Source, TopicPartition
from consumer.metrics import Metrics
from consumer.model.encoder import resolve_device
from consumer.model.encoder_folder import DEFAULT_ENCODER, find_encoder
from consumer.model.scorer import Scorer

Runs = dict[str, Callable[[], float]]
"""By the broker's name: a run of the consumer over all titles, which returns its seconds."""
Rates = dict[str, float]
"""By the broker's name, or `bare` for the encoder alone: titles per second."""


def main() -> None:
    """Measure and print one JSON line."""
    options = _parser().parse_args()
    titles = choose_titles(options.titles, options.count)
    with contextlib.ExitStack() as stack:
        registry = options.registry or publish_category_names(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        scorer = load_scorer(registry, options.precision, options.without)
        servers = None if options.no_kafka else stack.enter_context(real_kafka())
        runs = list_runs(titles, scorer, servers)
        rounds = list(measure_rounds(titles, scorer, runs, options.rounds))
    medians = {name: statistics.median(rates[name] for rates in rounds) for name in rounds[0]}
    ratios = {name: statistics.median(rates[name] / rates["bare"] for rates in rounds) for name in runs}
    print_result(
        "throughput",
        model=f"a trained one, without {options.without}" if options.registry else "category names",
        precision=options.precision,
        distinct_titles=len(titles),
        rounds=options.rounds,
        per_second={name: round(value) for name, value in medians.items()},
        ratio_to_bare_encode={name: round(value, 3) for name, value in ratios.items()},
        kafka="measured" if servers else "not here",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--titles", type=Path, help="a CSV with a column TITLE_RAW (default: made from the starter titles)")
    parser.add_argument("--count", type=int, default=2_000, help="distinct titles per round (2000)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each (3)")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "auto"), help="of the consumer's encoder (fp32)")
    parser.add_argument("--registry", type=Path, help="its version in service (default: the 1,016 category names, embedded)")
    parser.add_argument("--without", nargs="*", default=[], help="parts of the model not to use")
    parser.add_argument("--no-kafka", action="store_true", help="measure on the memory broker only")
    return parser


def list_runs(titles: Sequence[str], scorer: Scorer, servers: str | None) -> Runs:
    """Return the run on the memory broker and, where `servers` are given, those on Kafka."""
    runs: Runs = {"memory": lambda: run_on_memory(titles, scorer)}
    if servers:
        runs["kafka"] = lambda: run_on_kafka(titles, scorer, servers)
        runs["kafka, exactly once"] = lambda: run_on_kafka(titles, scorer, servers, once=True)
    return runs


def measure_rounds(titles: Sequence[str], scorer: Scorer, runs: Runs, count: int) -> Iterator[Rates]:
    """Warm up, then yield the rates of each round: of the bare encoder first, then of the consumer on each broker."""
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - --help need not wait for it

    bare = SentenceTransformer(str(find_encoder(DEFAULT_ENCODER)), device=resolve_device("auto"))
    bare.encode(titles[:200])
    scorer.score(titles[:200])
    for _ in range(count):
        started = time.perf_counter()
        bare.encode(list(titles))
        rates = {"bare": len(titles) / (time.perf_counter() - started)}
        rates |= {name: len(titles) / run() for name, run in runs.items()}
        print(" ".join(f"{name} {value:,.0f}/s" for name, value in rates.items()), file=sys.stderr)
        yield rates


def run_on_memory(titles: Sequence[str], scorer: Scorer) -> float:
    """Return the seconds from the first message to the last acknowledgement on the memory broker."""
    broker = MemoryBroker({"raw": PARTITIONS, "enriched": PARTITIONS, "dead": PARTITIONS})
    for number, value in enumerate(write_postings(titles)):
        broker.append(TopicPartition("raw", number % PARTITIONS), value)
    source = MemorySource(broker, topic="raw", group_id="bench")
    return run_pipeline(source, MemorySink(broker), scorer, len(titles), Topics())


def run_on_kafka(titles: Sequence[str], scorer: Scorer, servers: str, *, once: bool = False) -> float:
    """Return the seconds from the first message to the last acknowledgement on a real Kafka, in exactly-once mode if `once`.

    All postings are in the topic before the clock starts.
    """
    with new_topics(servers) as topics:
        producer = Producer({"bootstrap.servers": servers})
        for number, value in enumerate(write_postings(titles)):
            producer.produce(topics.raw, value=value, partition=number % PARTITIONS)
        producer.flush(30)
        source, sink = make_clients(servers, topics, once=once)
        return run_pipeline(source, sink, scorer, len(titles), topics)


class TimedSource:
    """A source that notes when its first message came: joining a group takes seconds that no stream pays twice."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.first_message_at: float | None = None
        """In seconds of `time.perf_counter`."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the source has
        return getattr(self._source, name)

    def poll(self, max_count: int, timeout_s: float) -> Sequence[Message]:
        """See `Source.poll`."""
        messages = self._source.poll(max_count, timeout_s)
        if messages and self.first_message_at is None:
            self.first_message_at = time.perf_counter()
        return messages


def run_pipeline(source: Source, sink: Sink | KafkaTransactions, scorer: Scorer, count: int, topics: Topics) -> float:
    """Run the real loop until `count` records are acknowledged, and return the seconds since its first message."""
    metrics, timed = Metrics(), TimedSource(source)
    finished: list[float] = []

    def stop() -> bool:
        if (metrics.registry.get_sample_value("occustream_enriched_total") or 0) >= count:
            finished.append(time.perf_counter())
        return bool(finished)

    make_pipeline(cast("Source", timed), sink, scorer, metrics, topics, stop).run()
    return finished[0] - (timed.first_message_at or 0.0)


if __name__ == "__main__":
    main()
