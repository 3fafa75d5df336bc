"""Every metric of the consumer, once, with its help text."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import product
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector

from consumer.batcher import Trigger
from consumer.errors import DEAD_LETTER_REASONS, REFUSAL_REASONS
from consumer.feeds.kinds import DELETE_ACTIONS, DELETE_KINDS, ENVELOPES
from consumer.messages import TopicPartition
from schemas.events import Decision, ModelInfo, Reason

STAGES = ("decode", "score", "encode", "produce")
RELOADS = (
    ("loaded", "none"),
    *(("refused", reason) for reason in REFUSAL_REASONS if reason not in ("pointer", "no_answer")),
    *(("unavailable", reason) for reason in ("pointer", "missing", "unreadable", "no_answer")),
)
"""The labels (outcome, reason) of a reload."""
FAST_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
END_TO_END_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200)
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)


class Metrics:
    """The consumer's metrics in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self.messages = Counter("occustream_messages_total", "Messages read from the input topic.", registry=registry)
        self.enriched = Counter("occustream_enriched_total", "Enriched postings acknowledged by the broker.", registry=registry)
        self.dead_letters = Counter(
            "occustream_dead_letters_total", "Dead letters acknowledged by the broker.", ["reason"], registry=registry
        )
        self.dead_letters_abridged = Counter(
            "occustream_dead_letters_abridged_total",
            "Dead letters without their message's value, because their topic does not take the whole.",
            registry=registry,
        )
        self.deletes = Counter(
            "occustream_deletes_total",
            "Messages that say a posting is gone, by what said so and what became of them.",
            ["envelope", "action"],
            registry=registry,
        )
        self.envelopes = Counter(
            "occustream_envelopes_total", "Envelopes that were taken off messages.", ["envelope"], registry=registry
        )
        self.bad_share = Gauge(
            "occustream_bad_share",
            "Dead letters among the last bad_share_window messages, 0 to 1; above bad_share_limit the consumer ends.",
            registry=registry,
        )
        self.decisions = Counter(
            "occustream_decisions_total",
            "Enriched postings, by accept, review or unclassified.",
            ["decision"],
            registry=registry,
        )
        self.rules = Counter(
            "occustream_rules_total",
            "Enriched postings whose decision a rule lowered, by the rule.",
            ["reason"],
            registry=registry,
        )
        self.batches = Counter(
            "occustream_batches_total", "Micro-batches by the limit that closed them.", ["trigger"], registry=registry
        )
        self.batch_size = Histogram("occustream_batch_size", "Messages per micro-batch.", buckets=BATCH_SIZES, registry=registry)
        self.stage_seconds = Histogram(
            "occustream_stage_seconds",
            "Seconds a micro-batch spent in a stage.",
            ["stage"],
            buckets=FAST_SECONDS,
            registry=registry,
        )
        self.end_to_end_seconds = Histogram(
            "occustream_end_to_end_seconds",
            "Seconds from a message's timestamp to the acknowledgement of its record.",
            buckets=END_TO_END_SECONDS,
            registry=registry,
        )
        self.lag = Gauge(
            "occustream_lag_messages", "Messages not read yet, per partition.", ["topic", "partition"], registry=registry
        )
        self.in_flight = Gauge(
            "occustream_in_flight_messages", "Messages whose record is not acknowledged yet.", registry=registry
        )
        self.model_info = Gauge(
            "occustream_model_info",
            "1 for the model version in service.",
            ["version", "encoder_id", "taxonomy_version"],
            registry=registry,
        )
        self.model_trained_at = Gauge(
            "occustream_model_trained_at_timestamp_seconds", "When the model in service was trained.", registry=registry
        )
        self.registry_read = Gauge(
            "occustream_registry_read_timestamp_seconds",
            "When the registry named a version last; the start of the process, if it never did.",
            registry=registry,
        )
        self.registry_read.set_to_current_time()
        self.reloads = Counter(
            "occustream_reloads_total",
            "Attempts to load a new model version, by outcome and reason.",
            ["outcome", "reason"],
            registry=registry,
        )
        self.assigned = Gauge(
            "occustream_assigned_partitions", "Input partitions of this consumer; 0 while no broker answers.", registry=registry
        )
        self.ready = Gauge("occustream_ready", "1 while /readyz answers 200, else 0.", registry=registry)
        self.revokes = Counter("occustream_revokes_total", "Partitions taken away.", ["kind"], registry=registry)
        self.undelivered = Counter(
            "occustream_undelivered_total", "Records that the broker refused, counted at each try.", registry=registry
        )
        self.blocked = Gauge(
            "occustream_blocked", "1 while records do not get through and nothing more is read.", registry=registry
        )
        self.commits = Counter("occustream_commits_total", "Commits sent to the group.", registry=registry)
        self.commits_refused = Counter(
            "occustream_commits_refused_total", "Commits that the group refused; they are sent again.", registry=registry
        )
        self.offset_resets = Counter(
            "occustream_offset_resets_total",
            "Partitions whose committed offset no longer existed, so that reading went on at another one.",
            registry=registry,
        )
        self.messages_gone = Counter(
            "occustream_messages_gone_total", "Messages that offset resets skipped, as far as known.", registry=registry
        )
        self._served: tuple[str, str, str] | None = None
        self._export_zeros()

    def _export_zeros(self) -> None:
        """Export every series from the start: a rate over a series that appears late misses its first increase."""
        for metric, values in (
            (self.dead_letters, DEAD_LETTER_REASONS),
            (self.decisions, get_args(Decision)),
            (self.rules, get_args(Reason)),
            (self.batches, get_args(Trigger)),
            (self.stage_seconds, STAGES),
            (self.revokes, ("revoked", "lost")),
            (self.envelopes, [name for name in ENVELOPES if name != "removed"]),
        ):
            for value in values:
                metric.labels(value)
        for kind, action in product(DELETE_KINDS, DELETE_ACTIONS):
            self.deletes.labels(kind, action)
        for outcome, reason in RELOADS:
            self.reloads.labels(outcome, reason)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure the seconds that one micro-batch spends in a stage."""
        started = time.perf_counter()
        yield
        self.stage_seconds.labels(name).observe(time.perf_counter() - started)

    def serving(self, model: ModelInfo) -> None:
        """Export `model` as the one in service."""
        before, self._served = self._served, (model.version, model.encoder_id, model.taxonomy_version)
        self.model_info.labels(*self._served).set(1)
        if before is not None and before != self._served:
            self.model_info.remove(*before)
        self.model_trained_at.set(model.trained_at.timestamp())

    def offset_reset(self, partition: TopicPartition, gone: int | None) -> None:  # noqa: ARG002 - see OffsetEvents
        """Count a reset, and the messages that it skipped."""
        self.offset_resets.inc()
        self.messages_gone.inc(max(0, gone or 0))

    def commit_refused(self) -> None:
        """Count a commit that the group refused."""
        self.commits_refused.inc()

    def lags(self, lags: Mapping[TopicPartition, int]) -> None:
        """Export the lag of the partitions that are ours, and of no others."""
        self.lag.clear()
        for (topic, partition), messages in lags.items():
            self.lag.labels(topic, str(partition)).set(messages)
