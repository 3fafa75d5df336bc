"""One group of consumers over three topics of its own, and the check of its records."""

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from consumer.messages import Message
from faults.cluster import Cluster, wait_until
from faults.feed import Feed
from faults.findings_check import Findings, compare
from faults.processes import ConsumerProcess, ConsumerProcesses
from faults.strikes import Strike
from faults.topics import Progress, read_topic

PARTITIONS = 6
MAX_TOPIC_BYTES = 8_000_000
"""Of a message of the input topic and, if not told otherwise, of the topics that are written."""
SESSION_S = 4.0
"""A consumer that sends no heartbeat stays in its group for so long."""


class ConsumerGroup:
    """A group, its topics and its consumers; a consumer keeps its slot over restarts."""

    def __init__(
        self,
        cluster: Cluster,
        processes: ConsumerProcesses,
        *,
        exactly_once: bool,
        registry: Path,
        directory: Path,
        seed: float,
        servers: str = "",
        isolate_output: bool = False,
        written_bytes: int = MAX_TOPIC_BYTES,
    ) -> None:
        """Create the topics. `servers` are the addresses for the consumers, by default the cluster's own.

        `written_bytes`: the largest message that the enriched and the dead-letter topic take.

        `isolate_output`: the enriched topic needs `output_node` for every record. That node coordinates neither the group nor
        its transactions, and leads no partition of the topic: Kafka (4.3.1, 4.4.0) does not end a transaction in a partition
        without a leader (KAFKA-20734), and records aborted there are committed with the next transaction.
        """
        name = uuid.uuid4().hex[:8]
        self.cluster = cluster
        self.exactly_once = exactly_once
        self.group_id = f"group-{name}"
        self.input_topic, self.output_topic, self.dead_letter_topic = (f"{kind}-{name}" for kind in ("raw", "enriched", "dead"))
        shape: dict[str, Any] = {"partitions": PARTITIONS, "max_message_bytes": str(written_bytes)}
        cluster.create_topics(self.input_topic, **{**shape, "max_message_bytes": str(MAX_TOPIC_BYTES)})
        cluster.create_topics(self.dead_letter_topic, **shape)
        self.output_node = cluster.uninvolved_node(self.group_id, self.transactional_id(0)) if isolate_output else 0
        leader = next(node for node in cluster.nodes if node != self.output_node)
        cluster.create_topics(self.output_topic, **shape, nodes=[leader, self.output_node] if isolate_output else ())
        self.feed = Feed(cluster.servers, self.input_topic, partitions=PARTITIONS, seed=seed)
        self.progress = Progress(cluster.servers, self.group_id, self.input_topic)
        self.started: list[ConsumerProcess] = []
        self.revived = 0
        self._latest: dict[int, tuple[ConsumerProcess, Callable[[], ConsumerProcess]]] = {}
        self._processes = processes
        self._directory = directory
        self._settings = {
            "bootstrap-servers": servers or cluster.servers,
            "input-topic": self.input_topic,
            "output-topic": self.output_topic,
            "dead-letter-topic": self.dead_letter_topic,
            "group-id": self.group_id,
            "registry": str(registry),
            "delivery": "exactly-once" if exactly_once else "at-least-once",
            "device": "cpu",
            "http-host": "127.0.0.1",
            "http-port": "0",
            "batch-max-count": "100",
            "commit-interval-s": "0.3",
            "reload-interval-s": "0.2",
        }

    def transactional_id(self, slot: int) -> str:
        """Return the transactional id of the consumer in a slot."""
        return f"{self.group_id}/slot-{slot}"

    def coordinator(self) -> int:
        """Return the node that coordinates the commits of the consumer in slot 0: of transactions, or of the group's offsets."""
        if self.exactly_once:
            return self.cluster.coordinator("__transaction_state", self.transactional_id(0))
        return self.cluster.coordinator("__consumer_offsets", self.group_id)

    def start(
        self, slot: int, *flags: str, strikes: Sequence[Strike] = (), static: bool | None = None, classic: bool = True
    ) -> ConsumerProcess:
        """Start the consumer of a slot. `static`: it has a name of its own in the group, by default if transactions need one."""
        instance = [f"--instance-id=slot-{slot}"] if (self.exactly_once if static is None else static) else []
        timeouts = [f"--kafka=session.timeout.ms={1_000 * SESSION_S:.0f}", "--kafka=heartbeat.interval.ms=500"] if classic else []
        settings = [f"--{name}={value}" for name, value in self._settings.items()]
        log = self._directory / f"{self.group_id}-{len(self.started)}-slot-{slot}.log"
        process = self._processes.start(["run", *settings, *instance, *timeouts, *flags], log, strikes=strikes)
        self.started.append(process)
        self._latest[slot] = process, lambda: self.start(slot, *flags, static=static, classic=classic)
        return process

    def start_and_strike(
        self,
        slot: int,
        strike: Strike,
        *flags: str,
        struck: Callable[[ConsumerProcess], bool],
        timeout_s: float,
        static: bool | None = None,
    ) -> ConsumerProcess:
        """Start the consumer of a slot, wait until it was struck, and return it.

        One that Kafka shuts out before that, as on a machine that stood still for a session, is started again with its strike.
        Raises TimeoutError with the end of its log; RuntimeError where it ended otherwise.
        """
        process = self.start(slot, *flags, strikes=[strike], static=static)
        deadline = time.monotonic() + timeout_s
        while not struck(process):
            if process.status == 1:
                process = self.start(slot, *flags, strikes=[strike], static=static)
                self.revived += 1
            if not struck(process):  # it may end of its strike between two looks
                process.raise_if_ended()
            if time.monotonic() >= deadline:
                raise TimeoutError(
                    f"no strike after {strike.step} within {timeout_s:.0f} s; the log ends:\n{process.log()[-2_000:]}"
                )
            time.sleep(0.05)
        return process

    def latest(self, slot: int) -> ConsumerProcess:
        """Return the consumer of a slot that was started last."""
        return self._latest[slot][0]

    def revive(self) -> None:
        """Start consumers again that ended with status 1, as an orchestrator would: a group may shut one out for good."""
        for process, restart in list(self._latest.values()):
            if process.status == 1:
                restart()
                self.revived += 1

    def is_ready(self, slot: int) -> bool:
        """Return whether the consumer of a slot says that it is ready; start it again if it was shut out."""
        self.revive()
        process = self.latest(slot)
        return process.status is None and process.ready

    @property
    def running(self) -> list[ConsumerProcess]:
        """The consumers that have not ended."""
        return [process for process in self.started if process.status is None]

    @property
    def rebalances(self) -> int:
        """How often a consumer was given partitions."""
        return sum(process.log().count(": assigned ") for process in self.started)

    def _revive_and_check(self) -> bool:
        """Return whether the group has committed all messages that were fed."""
        self.revive()
        return self.progress.has_committed(self.feed.sent)

    def finish(self, timeout_s: float = 180.0) -> tuple[Findings, list[str]]:
        """Wait until all messages are committed, stop the consumers, and return what came out and what is wrong with it."""
        self.feed.flush()
        problems = []
        try:
            wait_until(self._revive_and_check, "all is committed", timeout_s)
        except TimeoutError as error:
            problems.append(f"{error}: {self.progress.committed()} of {self.feed.sent}")
        ended = [(process, process.stop()) for process in self.running]
        forced = sum(process.was_forced for process, _status in ended)
        if wrong := [status for process, status in ended if status and not process.was_forced]:
            problems.append(f"consumers ended with {wrong}, not 0")
        if crashed := sum("unexpected error" in process.log() for process in self.started):
            problems.append(f"{crashed} consumers ended by an unexpected error")
        findings = replace(compare(*self.read()), forced_ends=forced, revived=self.revived)
        if missing := self.feed.sent - findings.sent:
            problems.append(f"{missing} messages that were fed are not in the input topic: the feeder lost them")
        self.progress.close()
        return findings, problems + findings.problems(exactly_once=self.exactly_once)

    def read(self) -> tuple[list[Message], list[Message], list[Message]]:
        """Return the messages of the three topics: inputs, enriched records, dead letters."""
        inputs, enriched, dead = (
            read_topic(self.cluster.servers, topic) for topic in (self.input_topic, self.output_topic, self.dead_letter_topic)
        )
        return inputs, enriched, dead
