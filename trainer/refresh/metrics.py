"""All metrics of the refresh service, each with its help text."""

import math
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector

from trainer.refresh.drift import WindowFigures

OUTCOMES = ("promoted", "rejected", "failed", "skipped")
TRIGGERS = ("first", "schedule", "postings", "unseen_codes", "onet", "drift")
REFRESH_SECONDS = (1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400)


class Metrics:
    """The refresh service's metrics in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self.refreshes = Counter(
            "occustream_trainer_refreshes_total",
            "Refreshes by outcome; skipped: there was a reason, but it was too soon.",
            ["outcome"],
            registry=registry,
        )
        self.triggers = Counter(
            "occustream_trainer_triggers_total", "Reasons that refreshes were started for.", ["trigger"], registry=registry
        )
        self.seconds = Histogram(
            "occustream_trainer_refresh_seconds", "Seconds a refresh took.", buckets=REFRESH_SECONDS, registry=registry
        )
        self.rows = Gauge("occustream_trainer_rows", "Labelled postings of the last refresh.", registry=registry)
        self.embedded = Gauge("occustream_trainer_embedded_titles", "Titles the last refresh had to embed.", registry=registry)
        self.figure = Gauge("occustream_trainer_figure", "Held-out figures of the last candidate.", ["figure"], registry=registry)
        self.waiting = Gauge("occustream_trainer_waiting_rows", "New labelled postings not trained on yet.", registry=registry)
        self.labelled = Counter(
            "occustream_trainer_labelled_total",
            "Messages read from the topic of labelled postings, by outcome.",
            ["outcome"],
            registry=registry,
        )
        self.enriched = Counter(
            "occustream_trainer_enriched_total", "Enriched events read for drift, by outcome.", ["outcome"], registry=registry
        )
        self.drift = Gauge(
            "occustream_trainer_drift_psi", "Stability index of the last window against the reference.", ["by"], registry=registry
        )
        self.unsure = Gauge(
            "occustream_trainer_unsure_ratio", "Share of the last window that was not accepted.", registry=registry
        )
        self.similarity = Gauge("occustream_trainer_similarity", "Mean cosine of rank 1 in the last window.", registry=registry)
        self.version_info = Gauge(
            "occustream_trainer_version_info", "1 for the version in service.", ["version"], registry=registry
        )
        for metric, values in (
            (self.refreshes, OUTCOMES),
            (self.triggers, TRIGGERS),
            (self.labelled, ("stored", "again", "invalid")),
            (self.enriched, ("counted", "delete", "invalid")),
        ):
            for value in values:
                metric.labels(value)
        self._version: str | None = None
        self._clear_window()

    def show_figures(self, figures: Mapping[str, float]) -> None:
        """Show the figures of a candidate."""
        for name in ("top_1", "macro_top_1", "ece"):
            if name in figures:
                self.figure.labels(name).set(figures[name])

    def show_window(self, window: WindowFigures, shifts: Mapping[str, float]) -> None:
        """Show a full window of enriched events."""
        self.unsure.set(window.unsure_share)
        self.similarity.set(window.similarity)
        for name, index in shifts.items():
            self.drift.labels(name).set(index)

    def show_version(self, version: str | None) -> None:
        """Show the version in service. When it changes, the figures of the last version's window are cleared."""
        if version != self._version:
            self._version = version
            self._clear_window()
        self.version_info.clear()
        if version is not None:
            self.version_info.labels(version).set(1)

    def _clear_window(self) -> None:
        """Show no figures until a window is full: a 0 would look measured, and an old figure would keep an alarm on."""
        self.unsure.set(math.nan)
        self.similarity.set(math.nan)
        self.drift.clear()
