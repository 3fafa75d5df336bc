"""Events per second of the whole consumer over titles per second of the bare `SentenceTransformer.encode`, in one run.

The physics: on a CPU the encoder's arithmetic is nearly all the work, so the best a consumer can do is hide everything else
(JSON, scoring, Kafka) behind it: a ratio of 1. Above 1 it also computes less, by sorting over larger batches. Titles are
distinct, so that no cache helps. Rounds alternate between the two, since shared machines drift; medians of the rounds' ratios
are quoted. On Kafka both modes of delivery are measured. `--precision fp32` gives both the same arithmetic; `auto` lets the
consumer use what the hardware has.

    python -m benchmarks.throughput [--titles FILE.csv] [--count 2000] [--rounds 3] [--precision fp32] [--registry DIR]
"""

import argparse
import contextlib
import csv
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from consumer.batcher import Batcher, BatchPolicy
from consumer.codec import Codec
from consumer.delivery.at_least_once import AtLeastOnce, Delivery, ExactlyOnce
from consumer.delivery.dead_letter_share import BadShare
from consumer.kafka.sink import KafkaSink
from consumer.kafka.source import KafkaSource
from consumer.kafka.transactions import KafkaTransactions
from consumer.memory_broker import MemoryBroker, MemorySink, MemorySource
from consumer.messages import Message, Sink, Source, TopicPartition
from consumer.metrics import Metrics
from consumer.model.encoder import resolve_device
from consumer.model.encoder_folder import DEFAULT_ENCODER, find_encoder
from consumer.model.scorer import Scorer
from consumer.model.serving_options import Precision, ServingOptions
from consumer.pipeline import Pipeline
from consumer.registry.folder import FolderRegistry
from consumer.registry.loader import ScorerLoader
from deploy.feed import events
from deploy.kafka.local_kafka import LocalKafka, missing_tools

ROOT = Path(__file__).parent.parent
PARTITIONS = 4


def main() -> None:
    """Measure and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--titles", type=Path, help="a CSV with a column TITLE_RAW (default: made from the starter titles)")
    parser.add_argument("--count", type=int, default=2_000, help="distinct titles per round (2000)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each (3)")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "auto"), help="of the consumer's encoder (fp32)")
    parser.add_argument("--registry", type=Path, help="its version in service (default: the 1,016 category names, embedded)")
    parser.add_argument("--without", nargs="*", default=[], help="parts of the model not to use")
    parser.add_argument("--no-kafka", action="store_true", help="measure on the memory broker only")
    options = parser.parse_args()

    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - --help need not wait for it

    titles = distinct_titles(options.titles, options.count)
    bare = SentenceTransformer(str(find_encoder(DEFAULT_ENCODER)), device=resolve_device("auto"))
    with contextlib.ExitStack() as stack:
        registry = options.registry or category_names(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        scorer = make_scorer(registry, options.precision, options.without)
        brokers: dict[str, Callable[[], float]] = {"memory": lambda: on_memory(titles, scorer)}
        servers = None if options.no_kafka else stack.enter_context(real_kafka())
        if servers:
            brokers["kafka"] = lambda: on_kafka(titles, scorer, servers)
            brokers["kafka, exactly once"] = lambda: on_kafka(titles, scorer, servers, once=True)
        bare.encode(titles[:200])  # warm up both sides
        scorer.score(titles[:200])
        rounds = [measure(bare, titles, brokers) for _ in range(options.rounds)]
    medians = {name: statistics.median(figures[name] for figures in rounds) for name in rounds[0]}
    ratios = {name: statistics.median(r[name] / r["bare"] for r in rounds) for name in brokers}
    result = {
        "benchmark": "throughput",
        "model": f"a trained one, without {options.without}" if options.registry else "category names",
        "precision": options.precision,
        "distinct_titles": len(titles),
        "rounds": options.rounds,
        "per_second": {name: round(value) for name, value in medians.items()},
        "ratio_to_bare_encode": {name: round(value, 3) for name, value in ratios.items()},
        "kafka": "measured" if servers else "not here",
        **machine(),
    }
    print(json.dumps(result))


def measure(bare: object, titles: Sequence[str], brokers: dict[str, Callable[[], float]]) -> dict[str, float]:
    """One round: titles per second of the bare encoder, events per second on each broker."""
    started = time.perf_counter()
    bare.encode(list(titles))  # type: ignore[attr-defined]
    figures = {"bare": len(titles) / (time.perf_counter() - started)}
    for name, run in brokers.items():
        figures[name] = len(titles) / run()
    print(" ".join(f"{name} {value:,.0f}/s" for name, value in figures.items()), file=sys.stderr)
    return figures


def on_memory(titles: Sequence[str], scorer: Scorer) -> float:
    """Return the seconds from the first poll to the last acknowledgement on the memory broker."""
    broker = MemoryBroker({"raw": PARTITIONS, "enriched": PARTITIONS, "dead": PARTITIONS})
    for number, value in enumerate(postings(titles)):
        broker.append(TopicPartition("raw", number % PARTITIONS), value)
    source = MemorySource(broker, topic="raw", group_id="bench")
    return run_pipeline(source, MemorySink(broker), scorer, len(titles), Topics())


def on_kafka(titles: Sequence[str], scorer: Scorer, servers: str, *, once: bool = False) -> float:
    """Return the same on a real Kafka, in exactly-once mode if asked; the postings are there before the clock starts."""
    with kafka_topics(servers) as topics:
        producer = Producer({"bootstrap.servers": servers})
        for number, value in enumerate(postings(titles)):
            producer.produce(topics.raw, value=value, partition=number % PARTITIONS)
        producer.flush(30)
        source, sink = clients(servers, topics, once=once)
        return run_pipeline(source, sink, scorer, len(titles), topics)


class Topics(NamedTuple):
    """The topics of one run."""

    raw: str = "raw"
    enriched: str = "enriched"
    dead: str = "dead"


@contextlib.contextmanager
def kafka_topics(servers: str) -> Iterator[Topics]:
    """Yield new topics; they are deleted afterwards."""
    topics = Topics(*(f"bench-{time.time_ns()}.{name}" for name in Topics()))
    admin = AdminClient({"bootstrap.servers": servers})
    for future in admin.create_topics([NewTopic(t, PARTITIONS, 1) for t in topics], operation_timeout=15).values():
        future.result(20)
    time.sleep(1)  # until every client sees the topics
    yield topics
    admin.delete_topics(list(topics))


def clients(servers: str, topics: Topics, *, once: bool) -> tuple[KafkaSource, KafkaSink | KafkaTransactions]:
    """Return a consumer of a group of its own, and what writes its records."""
    properties, outputs = {"bootstrap.servers": servers}, (topics.enriched, topics.dead)
    sink = (
        KafkaTransactions(properties, topics=outputs, transactional_id=topics.raw)
        if once
        else KafkaSink(properties, topics=outputs)
    )
    sink.start()
    return KafkaSource({**properties, "group.id": topics.raw}, topic=topics.raw), sink


class Stamped:
    """A source that notes when its first message came: joining a group takes seconds that no stream pays twice."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.first: float | None = None

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the source has
        return getattr(self._source, name)

    def poll(self, max_count: int, timeout_s: float) -> Sequence[Message]:
        """See `Source.poll`."""
        messages = self._source.poll(max_count, timeout_s)
        if messages and self.first is None:
            self.first = time.perf_counter()
        return messages


def run_pipeline(source: Source, sink: Sink | KafkaTransactions, scorer: Scorer, count: int, topics: Topics) -> float:
    """Run the real loop until `count` records are acknowledged; returns the seconds since its first message."""
    metrics, stamped = Metrics(), Stamped(source)
    finished: list[float] = []

    def stop() -> bool:
        if (metrics.registry.get_sample_value("occustream_enriched_total") or 0) >= count:
            finished.append(time.perf_counter())
        return bool(finished)

    make_pipeline(cast("Source", stamped), sink, scorer, metrics, topics, stop).run()
    return finished[0] - (stamped.first or 0.0)


def make_pipeline(
    source: Source, sink: Sink | KafkaTransactions, scorer: Scorer, metrics: Metrics, topics: Topics, stop: Callable[[], bool]
) -> Pipeline:
    """Return the consumer's loop with its default settings."""
    codec = Codec(output_topic=topics.enriched, dead_letter_topic=topics.dead, max_message_bytes=1_000_000, max_title_chars=1_000)
    delivery: Delivery
    if isinstance(sink, KafkaTransactions):
        delivery = ExactlyOnce(source, sink, metrics, codec=codec, bad_share=BadShare())
    else:
        delivery = AtLeastOnce(source, sink, metrics, codec=codec, bad_share=BadShare())
    batcher = Batcher(BatchPolicy(256, 4_000_000, 0.02))
    return Pipeline(source=source, delivery=delivery, batcher=batcher, codec=codec, scorer=scorer, metrics=metrics, stop=stop)


def postings(titles: Sequence[str]) -> Iterator[bytes]:
    """Yield a JSON posting per title."""
    for number, title in enumerate(titles):
        yield json.dumps({"ID": f"p{number}", "TITLE_RAW": title}).encode()


def distinct_titles(file: Path | None, count: int) -> list[str]:
    """Return `count` distinct titles, shuffled: of a CSV, or the built-in ones with places added."""
    if file:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            titles = list(dict.fromkeys(row["TITLE_RAW"] for row in csv.DictReader(lines)))
    else:
        values = (json.loads(event.value) for event in islice(events(broken_share=0.0), 20 * count))
        titles = list(dict.fromkeys(value["TITLE_RAW"] for value in values))
    if len(titles) < count:
        raise SystemExit(f"only {len(titles)} distinct titles; lower --count")
    return random.Random(0).sample(titles, count)  # noqa: S311 - a sample, not a secret


def category_names(folder: Path) -> Path:
    """Return a registry whose version in service is the 1,016 occupation names and nothing else."""
    command = [sys.executable, "-m", "trainer", "train", "--postings", "starter", "--method", "direct", "--registry", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def make_scorer(folder: Path, precision: Precision, without: Sequence[str]) -> Scorer:
    """Return the serving scorer, without its cache, of the version in service."""
    registry = FolderRegistry(folder)
    serving_options = ServingOptions(without=frozenset(without))  # type: ignore[arg-type] # parts by name
    loader = ScorerLoader(registry, precision=precision, cache_size=0, serving_options=serving_options)
    return loader.load(registry.read_current() or "")


@contextlib.contextmanager
def real_kafka() -> Iterator[str | None]:
    """Yield the address of a real Kafka: KAFKA_BOOTSTRAP_SERVERS, else one started here, else None."""
    if servers := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        yield servers
    elif missing_tools():
        print(f"no Kafka: {', '.join(missing_tools())} missing", file=sys.stderr)
        yield None
    else:
        with tempfile.TemporaryDirectory() as folder, LocalKafka(Path(folder)) as kafka:
            yield kafka.bootstrap_servers


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False, cwd=ROOT)
    capabilities = torch.cpu.get_capabilities()
    return {
        "device": torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"{capabilities.get('cpu_name')}, {os.cpu_count()} cores",
        "avx512_bf16": bool(capabilities.get("avx512_bf16")),
        "torch": torch.__version__,
        "commit": commit.stdout.strip() or "unknown",
    }


if __name__ == "__main__":
    main()
