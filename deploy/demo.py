"""`make demo`: the whole product in one go, on an embedded broker or on KAFKA_BOOTSTRAP_SERVERS.

The demonstration trains on the built-in titles, runs the real consumer, streams postings through it, publishes a second model
version midway, and closes with a summary whose counts must add up. DEMO_KEEP=1 keeps the consumer running until Ctrl-C. However
the demonstration is ended, short of SIGKILL, it ends the processes that it has started.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from confluent_kafka import Consumer, Producer

from consumer.kafka.client import IDEMPOTENT_PRODUCER, NO_NEW_TOPICS
from deploy.demo_received import SHOWCASE, Received
from deploy.feed import SENT_HEADER, Event, Kind, events
from deploy.feed_shapes import SHAPES
from deploy.local_stack import (
    EMBEDDED_FETCH_WAIT_MS,
    created_topics,
    embedded_broker,
    free_port,
    read_lag_and_version,
    running_consumer,
    topic_names,
    touched_topics,
    train,
    trainer_command,
)
from deploy.processes import leave_on_signals, running_process

AT_LEAST = 3_000
"""Postings that are sent."""
AFTER_RELOAD = 500
"""Postings that the second version enriches before the feed ends."""
RATE = 150.0
"""Postings a second."""
TIME_LIMIT_S = 400.0
ON_TERMINAL = sys.stdout.isatty()


def main() -> int:
    """Run the demonstration; return 0 when every posting that went in came out."""
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
        stream = Stream(servers, topics, registry, first_version=first)
        stream.run(consumer, port)
        say("5/5  examples")
        for title, answer in sorted(stream.received.examples.items(), key=lambda item: item[0] != SHOWCASE):
            print(f"     {title}\n       -> {answer}")
        status = print_summary(stream)
        if keep:
            say(f"DEMO_KEEP=1: the consumer keeps running; metrics at http://127.0.0.1:{port}/metrics; Ctrl-C ends it")
            with contextlib.suppress(KeyboardInterrupt):
                feed_slowly(servers, topics)
        return status


class Stream:
    """Postings on their way through the consumer, while a second model version is trained and published."""

    def __init__(self, servers: str, topics: dict[str, str], registry: Path, *, first_version: str) -> None:
        self.received = Received()
        self.sent: Counter[Kind] = Counter()
        self.first_version = first_version
        self._registry = registry
        self._raw = topics["raw"]
        self._feed = events()
        self._processes = contextlib.ExitStack()
        self._trainer: subprocess.Popen[bytes] | None = None
        self._producer = Producer({"bootstrap.servers": servers, **IDEMPOTENT_PRODUCER, **NO_NEW_TOPICS, "linger.ms": 5})
        properties = {
            "bootstrap.servers": servers,
            "group.id": f"{self._raw}-reader",
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": EMBEDDED_FETCH_WAIT_MS,
        }
        self._reader = Consumer(properties)
        self._reader.subscribe([topics["enriched"], topics["dead-letters"]])

    @property
    def second_version(self) -> str:
        """The version that followed the first, or `none` while no record came of another."""
        return next((version for version in self.received.by_version if version != self.first_version), "none")

    def run(self, consumer: subprocess.Popen[bytes], port: int) -> None:
        """Feed until the second version has enriched enough, and read until everything is out, or the time is up."""
        with self._processes:
            self._run(consumer, port)
            self._close()

    def _run(self, consumer: subprocess.Popen[bytes], port: int) -> None:
        started = shown = time.monotonic()
        self._send(Event(b"showcase", json.dumps({"ID": "showcase", "TITLE_RAW": SHOWCASE}).encode(), "posting"))
        while time.monotonic() < started + TIME_LIMIT_S and consumer.poll() is None:
            enough = self.sent.total() >= AT_LEAST and self.received.enriched_by_others(self.first_version) >= AFTER_RELOAD
            while not enough and self.sent.total() < (time.monotonic() - started) * RATE:
                self._send(next(self._feed))
            if self._trainer is None and self.sent.total() >= AT_LEAST / 3:
                self._train_second_version()
            self._producer.poll(0)
            self.received.read(self._reader)
            if time.monotonic() - shown >= 1:
                shown = time.monotonic()
                print_progress(self.received, port, shown - started)
            if enough and self.received.total >= self.sent.total():
                break

    def _send(self, event: Event) -> None:
        produce(self._producer, self._raw, event)
        self.sent[event.kind] += 1

    def _train_second_version(self) -> None:
        say("     ... training the second version while postings flow")
        one_core = {**os.environ, "OMP_NUM_THREADS": "1"}  # leave the consumer one of two
        quiet = subprocess.DEVNULL
        command = trainer_command(self._registry, 1)
        self._trainer = self._processes.enter_context(running_process(command, env=one_core, stdout=quiet, stderr=quiet))

    def _close(self) -> None:
        print()
        self._producer.flush(10)
        self._reader.close()
        if self._trainer is not None and self._trainer.wait(60):
            raise SystemExit(f"demo: training the second version ended with status {self._trainer.returncode}")


def produce(producer: Producer, topic: str, event: Event) -> None:
    """Send one message, with the time in a header, so that its way through the consumer can be timed."""
    producer.produce(topic, key=event.key, value=event.value, headers=[(SENT_HEADER, str(time.time_ns()).encode())])


def print_progress(received: Received, port: int, seconds: float) -> None:
    """Print the state of the stream after so many seconds: one line that is rewritten on a terminal, else a new line."""
    lag, version = read_lag_and_version(port)
    p50, p99 = received.latency_percentiles_s()
    line = (
        f"     {received.total:6,} out  {received.total / seconds:5.0f} events/s  "
        f"p50 {p50 * 1000:5.0f} ms  p99 {p99 * 1000:5.0f} ms  lag {lag:4.0f}  model {version}"
    )
    print(f"\r{line}" if ON_TERMINAL else line, end="" if ON_TERMINAL else "\n", flush=True)


def print_summary(stream: Stream) -> int:
    """Print the closing counts; return 0 if they add up and the consumer took up the second version, else 1."""
    received, sent = stream.received, stream.sent
    versions = ", ".join(f"{version}: {count:,}" for version, count in received.by_version.items())
    say("summary")
    print(f"     messages sent              {sent.total():6,}   in {len(SHAPES)} shapes: {', '.join(SHAPES)}")
    print(f"     enriched                   {received.enriched:6,}   by {versions}")
    print(f"     deletes forwarded          {received.deleted:6,}   of {sent['delete']} sent")
    reasons = dict(received.by_reason)
    print(f"     dead letters               {received.dead_letters:6,}   {reasons} of {sent['broken']} broken messages sent")
    print(f"     decisions                  {dict(received.decisions)}")
    came_out = {"posting": received.enriched, "delete": received.deleted, "broken": received.dead_letters}
    adds_up = came_out == sent and not received.twice
    reloaded = received.by_version[stream.first_version] > 0 and received.by_version[stream.second_version] > 0
    verdict = "adds up" if adds_up else "DOES NOT ADD UP"
    reload = "seen" if reloaded else "NOT SEEN"
    print(f"     sent = enriched + deletes + dead letters: {verdict}; seen twice: {received.twice}; hot reload: {reload}")
    return 0 if adds_up and reloaded else 1


def feed_slowly(servers: str, topics: dict[str, str]) -> None:
    """Feed 50 postings a second until interrupted."""
    producer = Producer({"bootstrap.servers": servers, **NO_NEW_TOPICS, "linger.ms": 5})
    for event in events(seed=1):
        produce(producer, topics["raw"], event)
        producer.poll(0)
        time.sleep(0.02)


def say(text: str) -> None:
    """Print a heading."""
    print(f"\n{text}" if text[0].isalnum() else text, flush=True)


if __name__ == "__main__":
    leave_on_signals()
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
