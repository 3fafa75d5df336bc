"""One group of consumers over three topics of its own: fed, struck, and judged by what came out."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from consumer.messages import Message
from faults.cluster import Cluster, wait_until
from faults.feed import Feed
from faults.findings_check import Findings, compare
from faults.processes import Process, Processes
from faults.strikes import Strike
from faults.topics import Progress, read_topic

PARTITIONS = 6
SESSION_S = 4.0
"""How long a consumer that says nothing stays in its group."""


class Trial:
    """Topics, a group, its consumers; a consumer is known by its slot, over restarts, too."""

    def __init__(
        self,
        cluster: Cluster,
        processes: Processes,
        *,
        once: bool,
        registry: Path,
        directory: Path,
        seed: float,
        servers: str = "",
        output_apart: bool = False,
    ) -> None:
        """Create the topics; `servers` are for the consumers, if they are not to take the cluster's own addresses.

        `output_apart`: nothing can be written to the enriched topic without `output_node`, which coordinates nothing of the
        group's, and leads no partition of that topic: Kafka 4.3 forgets to end a transaction in a partition without a leader
        (KAFKA-20734), and what was aborted there is committed with the next one.
        """
        name = uuid.uuid4().hex[:8]
        self.cluster = cluster
        self.once = once
        self.group = f"group-{name}"
        self.input, self.output, self.dead = (f"{kind}-{name}" for kind in ("raw", "enriched", "dead"))
        shape: dict[str, Any] = {"partitions": PARTITIONS, "max_message_bytes": "8000000"}
        cluster.create_topics(self.input, self.dead, **shape)
        self.output_node = cluster.without_part(self.group, self.transactional_id(0)) if output_apart else 0
        leader = next(node for node in cluster.nodes if node != self.output_node)
        cluster.create_topics(self.output, **shape, nodes=[leader, self.output_node] if output_apart else ())
        self.feed = Feed(cluster.servers, self.input, partitions=PARTITIONS, seed=seed)
        self.progress = Progress(cluster.servers, self.group, self.input)
        self.started: list[Process] = []
        self.revived = 0
        self._latest: dict[int, tuple[Process, Callable[[], Process]]] = {}
        self._processes = processes
        self._directory = directory
        self._settings = {
            "bootstrap-servers": servers or cluster.servers,
            "input-topic": self.input,
            "output-topic": self.output,
            "dead-letter-topic": self.dead,
            "group-id": self.group,
            "registry": str(registry),
            "delivery": "exactly-once" if once else "at-least-once",
            "device": "cpu",
            "http-host": "127.0.0.1",
            "http-port": "0",
            "batch-max-count": "100",
            "commit-interval-s": "0.3",
            "reload-interval-s": "0.2",
        }

    def transactional_id(self, slot: int) -> str:
        """Return the transactional id of the consumer in a slot."""
        return f"{self.group}/slot-{slot}"

    def start(
        self, slot: int, *flags: str, strikes: Sequence[Strike] = (), static: bool | None = None, classic: bool = True
    ) -> Process:
        """Start the consumer of a slot. `static`: it has its own name in the group; by default where transactions need one."""
        named = [f"--instance-id=slot-{slot}"] if (self.once if static is None else static) else []
        timeouts = [f"--kafka=session.timeout.ms={1_000 * SESSION_S:.0f}", "--kafka=heartbeat.interval.ms=500"] if classic else []
        settings = [f"--{name}={value}" for name, value in self._settings.items()]
        log = self._directory / f"{self.group}-{len(self.started)}-slot-{slot}.log"
        process = self._processes.start(["run", *settings, *named, *timeouts, *flags], log, strikes=strikes)
        self.started.append(process)
        self._latest[slot] = process, lambda: self.start(slot, *flags, static=static, classic=classic)
        return process

    def revive(self) -> None:
        """Start those anew that have ended by themselves, as an orchestrator would: a group may shut one out for good."""
        for process, again in list(self._latest.values()):
            if process.status == 1:
                again()
                self.revived += 1

    def at_work(self, slot: int) -> bool:
        """Return whether the consumer of a slot says that it is ready. One that was shut out is started anew."""
        self.revive()
        process = self._latest[slot][0]
        return process.status is None and process.ready

    @property
    def running(self) -> list[Process]:
        """The consumers that have not ended."""
        return [process for process in self.started if process.status is None]

    @property
    def rebalances(self) -> int:
        """How often a consumer was given partitions."""
        return sum(process.log().count(": assigned ") for process in self.started)

    def all_done(self) -> bool:
        """Return whether all that was fed has been committed."""
        return self.progress.done(self.feed.sent)

    def _revived_and_done(self) -> bool:
        self.revive()
        return self.all_done()

    def finish(self, timeout_s: float = 180.0) -> tuple[Findings, list[str]]:
        """Wait until all that was fed is done, stop the consumers, and return what came out and what is wrong with it."""
        self.feed.flush()
        problems = []
        try:
            wait_until(self._revived_and_done, "all is committed", timeout_s)
        except TimeoutError as error:
            problems.append(f"{error}: {self.progress.committed()} of {self.feed.sent}")
        ended = [(process, process.stop()) for process in self.running]
        forced = sum(process.forced for process, _status in ended)
        if wrong := [status for process, status in ended if status and not process.forced]:
            problems.append(f"consumers ended with {wrong}, not 0")
        if crashed := sum("unexpected error" in process.log() for process in self.started):
            problems.append(f"{crashed} consumers ended by an unexpected error")
        findings = replace(compare(*self.read()), forced_ends=forced, revived=self.revived)
        if missing := self.feed.sent - findings.sent:
            problems.append(f"{missing} messages that were fed are not in the input topic: the feeder lost them")
        self.progress.close()
        return findings, problems + findings.problems(once=self.once)

    def read(self) -> tuple[list[Message], list[Message], list[Message]]:
        """Return what is in the three topics: inputs, enriched records, dead letters."""
        inputs, enriched, dead = (read_topic(self.cluster.servers, topic) for topic in (self.input, self.output, self.dead))
        return inputs, enriched, dead
