"""`make demo`: the whole product in one go, on an embedded broker or on KAFKA_BOOTSTRAP_SERVERS.

Trains on the built-in titles, runs the real consumer, streams postings through it, publishes a second model version midway,
and closes with a summary whose counts must add up. DEMO_KEEP=1 keeps it running until Ctrl-C.
"""

import contextlib
import json
import os
import re
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from consumer.kafka.client import IDEMPOTENT_PRODUCER
from deploy.feed import SENT_HEADER, events

PARTITIONS = 4
AT_LEAST = 3_000
AFTER_RELOAD = 500
RATE = 150.0
TIME_LIMIT_S = 170.0
SHOWCASE = "Part-time RN - Medical/Surgical Nampa (flexible schedule)"
EMBEDDED_FETCH_WAIT_MS = 10
"""The embedded broker answers a waiting fetch only when its time is up, not when a message comes."""
ON_TERMINAL = sys.stdout.isatty()


@dataclass
class Seen:
    """What came out so far."""

    enriched: int = 0
    dead_letters: int = 0
    twice: int = 0
    ids: set[str] = field(default_factory=set)
    by_version: Counter[str] = field(default_factory=Counter)
    by_reason: Counter[str] = field(default_factory=Counter)
    decisions: Counter[str] = field(default_factory=Counter)
    latencies_s: deque[float] = field(default_factory=lambda: deque(maxlen=2_000))
    examples: dict[str, str] = field(default_factory=dict)

    def take(self, message: Message) -> None:
        """Count one output record."""
        headers = dict(message.headers() or [])
        if sent := headers.get(SENT_HEADER):
            self.latencies_s.append((time.time_ns() - int(sent)) / 1e9)
        if reason := headers.get("dead-letter.reason"):
            self._once(":".join(_text(headers[f"dead-letter.{part}"]) for part in ("topic", "partition", "offset")))
            self.dead_letters += 1
            self.by_reason[_text(reason)] += 1
            return
        enriched = json.loads(message.value() or b"")
        self._once(enriched["event_id"])
        self.enriched += 1
        self.by_version[enriched["model"]["version"]] += 1
        self.decisions[enriched["decision"]] += 1
        title = enriched["posting"]["title"]
        if title == SHOWCASE or len(self.examples) < 6:  # noqa: PLR2004 - a handful
            best = enriched["occupations"][0]
            answer = f"{best['onet_code']}  {best['onet_title']}  (p {best['probability']:.2f}, {enriched['decision']})"
            self.examples[title] = answer

    def _once(self, event_id: str) -> None:
        self.twice += event_id in self.ids
        self.ids.add(event_id)


def main() -> int:
    """Run the demonstration; returns 0 when every posting that went in came out."""
    keep = os.environ.get("DEMO_KEEP") == "1"
    with contextlib.ExitStack() as stack:
        registry = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="occustream-demo-"))) / "registry"
        say("1/5  training category embeddings on the built-in titles (a toy next to a model trained on real labels)")
        first = train(registry, seed=0)
        cluster = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
        servers = cluster or stack.enter_context(embedded_broker())
        say(f"2/5  {'Kafka' if cluster else 'embedded broker'} at {servers}")
        topics = topic_names()
        stack.enter_context(created_topics(servers, topics.values()) if cluster else touched_topics(servers, topics.values()))
        port = free_port()
        say("3/5  starting the consumer")
        consumer = stack.enter_context(running_consumer(servers, topics, registry, port, embedded=not cluster))
        say(f"     metrics: http://127.0.0.1:{port}/metrics   health: /livez /readyz")
        say("4/5  streaming postings; a second model version is trained and published midway")
        seen, sent, broken, second = stream(servers, topics, registry, port, consumer, first)
        say("5/5  examples")
        for title, answer in sorted(seen.examples.items(), key=lambda item: item[0] != SHOWCASE):
            print(f"     {title}\n       -> {answer}")
        status = summary(seen, sent, broken, first, second)
        if keep:
            say(f"DEMO_KEEP=1: the consumer keeps running; metrics at http://127.0.0.1:{port}/metrics; Ctrl-C ends it")
            with contextlib.suppress(KeyboardInterrupt):
                keep_feeding(servers, topics)
        return status


def train(registry: Path, *, seed: int) -> str:
    """Train and publish with the real command line; returns the version."""
    done = subprocess.run(trainer_command(registry, seed), check=False, stdout=subprocess.PIPE)
    if done.returncode:
        raise SystemExit(f"demo: the trainer ended with status {done.returncode}, see above")
    return str(json.loads(done.stdout.splitlines()[-1])["version"])


def trainer_command(registry: Path, seed: int) -> list[str]:
    """Return the command that trains on the built-in titles."""
    return [sys.executable, "-m", "trainer", "train", "--postings", "starter", "--registry", str(registry), "--seed", str(seed)]


@contextlib.contextmanager
def embedded_broker() -> Iterator[str]:
    """Librdkafka's mock cluster: a broker inside this process. Good for a demonstration, no proof of delivery."""
    host = Producer({"bootstrap.servers": "ignored:9092", "test.mock.num.brokers": 1, "log_level": 0})
    brokers = host.list_topics(timeout=10).brokers.values()
    yield ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
    host.flush(1)


def topic_names() -> dict[str, str]:
    """Return topics of our own, so that a demonstration on a real cluster touches nobody's."""
    suffix = secrets.token_hex(3)
    return {name: f"occustream-demo-{suffix}.{name}" for name in ("raw", "enriched", "dead-letters")}


@contextlib.contextmanager
def created_topics(servers: str, topics: Iterable[str]) -> Iterator[None]:
    """Topics on a real cluster, deleted at the end."""
    names = list(topics)
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 3})
    try:
        for future in admin.create_topics([NewTopic(t, PARTITIONS, -1) for t in names], operation_timeout=15).values():
            future.result(20)
    except (KafkaException, TimeoutError) as error:
        reason = error.args[0].str() if isinstance(error, KafkaException) else "no answer within 20 s"
        raise SystemExit(f"demo: cannot create topics at {servers}: {reason}") from error
    yield
    admin.delete_topics(names, operation_timeout=10)
    admin.poll(1)


@contextlib.contextmanager
def touched_topics(servers: str, topics: Iterable[str]) -> Iterator[None]:
    """Topics on the embedded broker, which has no admin interface and creates what a producer asks about."""
    producer = Producer({"bootstrap.servers": servers})
    for topic in topics:
        producer.list_topics(topic, timeout=10)
    yield


@contextlib.contextmanager
def running_consumer(
    servers: str, topics: dict[str, str], registry: Path, port: int, *, embedded: bool
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the real consumer as a process of its own; SIGTERM drains it at the end."""
    settings = {
        "BOOTSTRAP_SERVERS": servers,
        "INPUT_TOPIC": topics["raw"],
        "OUTPUT_TOPIC": topics["enriched"],
        "DEAD_LETTER_TOPIC": topics["dead-letters"],
        "GROUP_ID": topics["raw"],
        "REGISTRY": str(registry),
        "HTTP_HOST": "127.0.0.1",
        "HTTP_PORT": str(port),
        "LOG_LEVEL": "ERROR",
        **({"KAFKA__FETCH_WAIT_MAX_MS": str(EMBEDDED_FETCH_WAIT_MS)} if embedded else {}),
    }
    environment = {**os.environ, **{f"OCCUSTREAM_{name}": value for name, value in settings.items()}}
    process = subprocess.Popen([sys.executable, "-m", "consumer", "run"], env=environment)
    try:
        wait_ready(process, port)
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        process.kill()


def wait_ready(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until the consumer says that it would enrich a posting now."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"demo: the consumer ended with status {process.returncode}, see above")
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2)
            return
        time.sleep(0.2)
    raise SystemExit("demo: the consumer was not ready within 60 s")


def stream(
    servers: str, topics: dict[str, str], registry: Path, port: int, consumer: subprocess.Popen[bytes], first: str
) -> tuple[Seen, int, int, str]:
    """Feed and read until the second version has enriched enough and everything is out; returns what was seen and sent."""
    producer = Producer({"bootstrap.servers": servers, **IDEMPOTENT_PRODUCER, "linger.ms": 5})
    reader = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": f"{topics['raw']}-reader",
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": EMBEDDED_FETCH_WAIT_MS,
        }
    )
    reader.subscribe([topics["enriched"], topics["dead-letters"]])
    seen, feed, trainer = Seen(), events(), None
    sent = broken = 0
    started = shown = time.monotonic()
    deadline = started + TIME_LIMIT_S
    showcase = json.dumps({"ID": "showcase", "TITLE_RAW": SHOWCASE}).encode()
    produce(producer, topics["raw"], b"showcase", showcase)
    sent += 1
    while time.monotonic() < deadline and consumer.poll() is None:
        newest = sum(n for version, n in seen.by_version.items() if version != first)
        done = sent >= AT_LEAST and newest >= AFTER_RELOAD
        while not done and sent < (time.monotonic() - started) * RATE:
            event = next(feed)
            produce(producer, topics["raw"], event.key, event.value)
            sent, broken = sent + 1, broken + event.broken
        if trainer is None and sent >= AT_LEAST / 3:
            say("     ... training the second version while postings flow")
            one_core = {**os.environ, "OMP_NUM_THREADS": "1"}  # leave the consumer one of two
            quiet = subprocess.DEVNULL
            trainer = subprocess.Popen(trainer_command(registry, 1), env=one_core, stdout=quiet, stderr=quiet)
        producer.poll(0)
        read(reader, seen)
        if time.monotonic() - shown >= 1:
            shown = time.monotonic()
            live_line(seen, port, shown - started)
        if done and seen.enriched + seen.dead_letters >= sent:
            break
    print()
    producer.flush(10)
    reader.close()
    if trainer is not None and trainer.wait(60):
        raise SystemExit(f"demo: training the second version ended with status {trainer.returncode}")
    second = next((version for version in seen.by_version if version != first), "none")
    return seen, sent, broken, second


def read(reader: Consumer, seen: Seen) -> None:
    """Take what has come out."""
    for message in reader.consume(500, 0.02):
        if message.error() is None:
            seen.take(message)


def produce(producer: Producer, topic: str, key: bytes, value: bytes) -> None:
    """Send one message, stamped so that its way through can be timed."""
    producer.produce(topic, key=key, value=value, headers=[(SENT_HEADER, str(time.time_ns()).encode())])


def live_line(seen: Seen, port: int, seconds: float) -> None:
    """Show the state of the stream: rewritten in place on a terminal, a line each elsewhere."""
    lag, version = scrape(port)
    p50, p99 = percentiles(seen.latencies_s)
    line = (
        f"     {seen.enriched + seen.dead_letters:6,} out  {(seen.enriched + seen.dead_letters) / seconds:5.0f} events/s  "
        f"p50 {p50 * 1000:5.0f} ms  p99 {p99 * 1000:5.0f} ms  lag {lag:4.0f}  model {version}"
    )
    print(f"\r{line}" if ON_TERMINAL else line, end="" if ON_TERMINAL else "\n", flush=True)


def scrape(port: int) -> tuple[float, str]:
    """Return total lag and model version from the consumer's own /metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    lags = re.findall(r"^occustream_lag_messages\{[^}]*\} (\S+)$", text, re.MULTILINE)
    version = re.search(r'^occustream_model_info\{(?:.*,)?version="([^"]+)"', text, re.MULTILINE)
    return sum(map(float, lags)), version[1] if version else "?"


def percentiles(latencies_s: deque[float]) -> tuple[float, float]:
    """Return p50 and p99 of the last events, in seconds."""
    if len(latencies_s) < 2:  # noqa: PLR2004 - quantiles need two
        return 0.0, 0.0
    cuts = statistics.quantiles(latencies_s, n=100)
    return cuts[49], cuts[98]


def summary(seen: Seen, sent: int, broken: int, first: str, second: str) -> int:
    """Print the closing counts; returns 0 if they add up and the second version was taken up."""
    versions = ", ".join(f"{version}: {count:,}" for version, count in seen.by_version.items())
    say("summary")
    print(f"     postings sent              {sent:6,}")
    print(f"     enriched                   {seen.enriched:6,}   by {versions}")
    print(f"     dead letters               {seen.dead_letters:6,}   {dict(seen.by_reason)} of {broken} broken messages sent")
    print(f"     decisions                  {dict(seen.decisions)}")
    good = seen.enriched + seen.dead_letters == sent and seen.dead_letters == broken and not seen.twice
    reloaded = seen.by_version[first] > 0 and seen.by_version[second] > 0
    verdict = "adds up" if good else "DOES NOT ADD UP"
    reload = "seen" if reloaded else "NOT SEEN"
    print(f"     sent = enriched + dead letters: {verdict}; seen twice: {seen.twice}; hot reload: {reload}")
    return 0 if good and reloaded else 1


def keep_feeding(servers: str, topics: dict[str, str]) -> None:
    """Feed slowly until interrupted."""
    producer = Producer({"bootstrap.servers": servers, "linger.ms": 5})
    for event in events(seed=1):
        produce(producer, topics["raw"], event.key, event.value)
        producer.poll(0)
        time.sleep(0.02)


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def say(text: str) -> None:
    """Print a heading."""
    print(f"\n{text}" if text[0].isalnum() else text, flush=True)


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
