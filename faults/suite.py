"""What scenarios have in common: brokers started when they are needed, a registry, and the record of a run."""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Literal

from confluent_kafka import KafkaException

from faults.cluster import Cluster
from faults.consumer_group import Trial
from faults.processes import Processes
from faults.tiny_model import Versions

Size = Literal["short", "full"]
Delivery = Literal["at-least-once", "exactly-once"]
BOTH: tuple[Delivery, ...] = ("at-least-once", "exactly-once")


@dataclass
class Outcome:
    """What a scenario did and found, and why it is not passed; empty: it is."""

    done: Mapping[str, Any]
    found: Mapping[str, Any]
    reasons: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A story of faults: `tells` it in a line, `play` plays it. In a short run, fewer nodes may do."""

    name: str
    tells: str
    play: Callable[["Scene"], Outcome]
    nodes: int = 1
    short_nodes: int = 1
    deliveries: tuple[Delivery, ...] = BOTH
    short_deliveries: tuple[Delivery, ...] = BOTH

    def parts(self, size: Size) -> tuple[int, tuple[Delivery, ...]]:
        """Return on how many nodes it is played, and with which deliveries."""
        return (self.nodes, self.deliveries) if size == "full" else (self.short_nodes, self.short_deliveries)


class Scene:
    """What one scenario has to play with."""

    def __init__(self, stage: "Stage", nodes: int, *, delivery: Delivery, size: Size, seed: int) -> None:
        self.cluster = stage.cluster(nodes)
        self.versions = stage.versions()
        self.once = delivery == "exactly-once"
        self.full = size == "full"
        self.rng = Random(seed)  # noqa: S311 - faults to be repeated, no secrets
        self._stage = stage

    def trial(self, *, servers: str = "", output_apart: bool = False) -> Trial:
        """Return a new group with topics of its own."""
        return Trial(
            self.cluster,
            self._stage.processes,
            once=self.once,
            registry=self.versions.registry.root,
            directory=self._stage.directory,
            seed=self.rng.random(),
            servers=servers,
            output_apart=output_apart,
        )

    def size(self, short: int, full: int) -> int:
        """Choose a number by the size of the run."""
        return full if self.full else short

    def say(self, text: str) -> None:
        """Show progress."""
        print(f"  {text}", file=sys.stderr, flush=True)


class Stage:
    """Owns what is started: brokers, consumers, registries. One cluster runs at a time."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.processes = Processes()
        self._cluster: Cluster | None = None
        self._registries = 0

    def cluster(self, nodes: int) -> Cluster:
        """Return running brokers, started if they do not run yet."""
        if self._cluster is not None and self._cluster.count != nodes:
            self._cluster.end()
            self._cluster = None
        if self._cluster is None:
            print(f"starting Kafka on {nodes} node{'s' * (nodes > 1)}", file=sys.stderr, flush=True)
            self._cluster = Cluster(self.directory / f"kafka-{nodes}-{time.monotonic_ns()}", nodes).__enter__()
        return self._cluster

    def versions(self) -> Versions:
        """Return a registry of its own with one version in service."""
        self._registries += 1
        versions = Versions(self.directory / f"registry-{self._registries}")
        versions.publish()
        return versions

    def play(self, scenario: Scenario, delivery: Delivery, *, size: Size, seed: int) -> dict[str, Any]:
        """Play a scenario and return its record."""
        print(f"{scenario.name} ({delivery}, {size})", file=sys.stderr, flush=True)
        nodes, _deliveries = scenario.parts(size)
        scene = Scene(self, nodes, delivery=delivery, size=size, seed=seed)
        started = time.monotonic()
        try:
            outcome = scenario.play(scene)
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
        """End all that still runs."""
        self.processes.end()
        if self._cluster is not None:
            self._cluster.end()
