"""Plays scenarios: starts brokers when a scenario needs them, gives it a registry, and records what it found."""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Literal

from confluent_kafka import KafkaException

from faults.cluster import Cluster
from faults.consumer_group import MAX_TOPIC_BYTES, ConsumerGroup
from faults.processes import ConsumerProcesses
from faults.tiny_model import VersionPublisher

Size = Literal["short", "full"]
Delivery = Literal["at-least-once", "exactly-once"]
BOTH_DELIVERIES: tuple[Delivery, ...] = ("at-least-once", "exactly-once")


@dataclass
class Outcome:
    """What a scenario did and found; it is passed if there are no `reasons` why not."""

    done: Mapping[str, Any]
    found: Mapping[str, Any]
    reasons: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Scenario:
    """Faults to be played by `play`, with a `summary` of one line. The short form may take fewer nodes and one delivery only."""

    name: str
    summary: str
    play: Callable[["ScenarioRun"], Outcome]
    nodes: int = 1
    short_nodes: int = 1
    deliveries: tuple[Delivery, ...] = BOTH_DELIVERIES
    short_deliveries: tuple[Delivery, ...] = BOTH_DELIVERIES

    def nodes_and_deliveries(self, size: Size) -> tuple[int, tuple[Delivery, ...]]:
        """Return the number of nodes and the deliveries of a form of the scenario."""
        return (self.nodes, self.deliveries) if size == "full" else (self.short_nodes, self.short_deliveries)


class ScenarioRun:
    """One run of a scenario, with its cluster, its registry and its random numbers."""

    def __init__(self, suite: "Suite", nodes: int, *, delivery: Delivery, size: Size, seed: int) -> None:
        self.cluster = suite.cluster(nodes)
        self.publisher = suite.new_publisher()
        self.exactly_once = delivery == "exactly-once"
        self.full = size == "full"
        self.rng = Random(seed)  # noqa: S311 - faults to be repeated, no secrets
        self.directory = suite.directory
        self._suite = suite

    def new_group(
        self, *, servers: str = "", isolate_output: bool = False, written_bytes: int = MAX_TOPIC_BYTES
    ) -> ConsumerGroup:
        """Return a new consumer group with topics of its own."""
        return ConsumerGroup(
            self.cluster,
            self._suite.processes,
            exactly_once=self.exactly_once,
            registry=self.publisher.registry.root,
            directory=self._suite.directory,
            seed=self.rng.random(),
            servers=servers,
            isolate_output=isolate_output,
            written_bytes=written_bytes,
        )

    def by_size(self, short: int, full: int) -> int:
        """Return `short` in a short run, else `full`."""
        return full if self.full else short

    def say(self, text: str) -> None:
        """Show progress."""
        print(f"  {text}", file=sys.stderr, flush=True)


class Suite:
    """Owns the brokers, consumers and registries that are started. One cluster runs at a time."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.processes = ConsumerProcesses()
        self._cluster: Cluster | None = None
        self._registries = 0

    def cluster(self, nodes: int) -> Cluster:
        """Return a running cluster of so many nodes; start it if it does not run yet."""
        if self._cluster is not None and self._cluster.count != nodes:
            self._cluster.end()
            self._cluster = None
        if self._cluster is None:
            print(f"starting Kafka on {nodes} node{'s' * (nodes > 1)}", file=sys.stderr, flush=True)
            self._cluster = Cluster(self.directory / f"kafka-{nodes}-{time.monotonic_ns()}", nodes).__enter__()
        return self._cluster

    def new_publisher(self) -> VersionPublisher:
        """Return the publisher of a new registry that has one version in service."""
        self._registries += 1
        publisher = VersionPublisher(self.directory / f"registry-{self._registries}")
        publisher.publish()
        return publisher

    def play(self, scenario: Scenario, delivery: Delivery, *, size: Size, seed: int) -> dict[str, Any]:
        """Play a scenario and return its record."""
        print(f"{scenario.name} ({delivery}, {size})", file=sys.stderr, flush=True)
        nodes, _deliveries = scenario.nodes_and_deliveries(size)
        run = ScenarioRun(self, nodes, delivery=delivery, size=size, seed=seed)
        started = time.monotonic()
        try:
            outcome = scenario.play(run)
        except (TimeoutError, RuntimeError, KafkaException) as error:
            outcome = Outcome({}, {}, [f"{type(error).__name__}: {error}"])
        finally:
            self.processes.end()
        return {
            "scenario": scenario.name,
            "delivery": delivery,
            "size": size,
            "nodes": nodes,
            "passed": not outcome.reasons,
            "reasons": outcome.reasons,
            "done": dict(outcome.done),
            "found": dict(outcome.found),
            "seconds": round(time.monotonic() - started, 1),
            "seed": seed,
        }

    def end(self) -> None:
        """Kill the consumers and brokers that still run."""
        self.processes.end()
        if self._cluster is not None:
            self._cluster.end()
