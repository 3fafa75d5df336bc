"""The refresh service, to be read from top to bottom: look -> triggers -> candidate -> gate -> publish -> prune."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from consumer.errors import OccustreamError
from consumer.registry.folder import FolderRegistry
from schemas.tables import TableError
from trainer.data.labels import UNCLASSIFIED
from trainer.options import TrainOptions
from trainer.refresh.candidate import RefreshResult, refresh
from trainer.refresh.gate import GateLimits
from trainer.refresh.metrics import Metrics
from trainer.refresh.watched_files import Snapshot, WatchedFiles

RefreshOutcome = Literal["promoted", "rejected", "failed", "skipped", "nothing"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshPolicy:
    """When to refresh, and how many versions to keep. `retry_s` is the pause after a failure."""

    every_s: float | None = None
    min_new: int = 100
    min_interval_s: float = 300.0
    retry_s: float = 30.0
    look_s: float = 10.0
    keep: int = 10


class RefreshStopped(Exception):
    """The service was told to stop during a refresh. Nothing was published."""


class RefreshService:
    """Refreshes the model when there is a reason to, and puts a candidate that passes the gate in service.

    If data is bad, or registry or encoder cannot be reached, that is logged and counted, and the service tries again.
    """

    def __init__(
        self,
        options: TrainOptions,
        policy: RefreshPolicy,
        limits: GateLimits,
        files: WatchedFiles,
        *,
        metrics: Metrics,
        stop: Callable[[], bool],
        drift: Callable[[], Sequence[str]] = lambda: (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take `drift`, which returns how the market has moved as sentences, and `clock`, which returns seconds since 1970."""
        self._options = options
        self._policy = policy
        self._limits = limits
        self._files = files
        self._metrics = metrics
        self._stop = stop
        self._drift = drift
        self._clock = clock
        self._registry = FolderRegistry(options.registry)
        self._retry_at = float("-inf")
        self._known_codes: tuple[str, frozenset[str]] = "", frozenset()
        self._last_warnings: dict[str, str] = {}
        self.version: str | None = None
        """The version in service, as of the last look."""

    def run(self, wait: Callable[[float], object], check_background: Callable[[], None]) -> None:
        """Look and refresh until told to stop. `wait` sleeps for so many seconds, or until the service is told to stop.

        `check_background` raises BackgroundFailed if a thread that reads for this service died.
        """
        while not self._stop():
            check_background()
            self.refresh_if_due()
            wait(self._policy.look_s)

    def refresh_if_due(self, *, respect_pauses: bool = True) -> RefreshOutcome:
        """Look once, and refresh if there is a reason to.

        With `respect_pauses` False neither the interval between refreshes nor the pause after a failure is waited for.
        """
        if respect_pauses and self._clock() < self._retry_at:
            return "nothing"
        try:
            return self._look_and_refresh(respect_pauses=respect_pauses)
        except RefreshStopped:
            log.info("told to stop: the refresh was broken off, nothing was published")
            return "nothing"
        except (OccustreamError, TableError, OSError, ValueError) as error:
            log.warning("refresh failed, tried again in %.0f s at the earliest: %s", self._policy.retry_s, error)
        except Exception:  # an error of the data or of a library must not end the service: the version in service stays
            log.exception("refresh failed by an unexpected error, tried again in %.0f s at the earliest", self._policy.retry_s)
        self._retry_at = self._clock() + self._policy.retry_s
        return self._count("failed")

    def _look_and_refresh(self, *, respect_pauses: bool) -> RefreshOutcome:
        self.version = self._registry.read_current()
        self._metrics.show_version(self.version)
        found = self._files.look()
        self._metrics.waiting.set(found.new_rows)
        triggers = self._find_triggers(found)
        if not triggers:
            return "nothing"
        if respect_pauses and triggers != ["first"] and self._is_too_soon():
            return self._count("skipped")
        return self._refresh(found, triggers)

    def live(self) -> str | None:
        """Return None, which means alive: the loop checks its own threads, and a refresh may take hours."""
        return None

    def ready(self) -> str | None:
        """Return None once a version is in service, otherwise what is missing."""
        return None if self.version is not None else "no version is in service yet"

    def _find_triggers(self, found: Snapshot) -> list[str]:
        """Return the names of the reasons to refresh now. Without a row to learn from there is none."""
        if found.unmatched:
            self._warn_once("files", f"no file at: {', '.join(found.unmatched)}")
        if not found.rows:
            return []
        if self.version is None:
            return ["first"]
        policy, last, drift = self._policy, self._files.last_refresh, self._drift()
        if drift and not found.new_rows:
            self._warn_once("drift", f"drift, but no new labelled posting to learn from: {'; '.join(drift)}")
        new_codes = {code for code, count in found.new_codes.items() if count}
        triggers = {
            "schedule": policy.every_s is not None and self._clock() - last.at >= policy.every_s,
            "postings": found.new_rows >= policy.min_new,
            "unseen_codes": bool(new_codes - self._read_known_codes() - {UNCLASSIFIED}),
            "onet": found.onet != last.onet and last.at > 0,
            "drift": bool(drift) and found.new_rows > 0,  # the same rows would give the same model again
        }
        return [name for name, holds in triggers.items() if holds]

    def _read_known_codes(self) -> frozenset[str]:
        """Return the codes that the version in service has a labelled posting of. Raises ArtifactError."""
        if self.version and self._known_codes[0] != self.version:
            categories = self._registry.load(self.version).tensors.categories
            self._known_codes = self.version, frozenset(c.onet_code for c in categories if c.postings)
        return self._known_codes[1]

    def _is_too_soon(self) -> bool:
        """Return whether the last refresh is too recent. If the clock was set back, it is not."""
        return 0 <= self._clock() - self._files.last_refresh.at < self._policy.min_interval_s

    def _refresh(self, found: Snapshot, triggers: list[str]) -> RefreshOutcome:
        started = time.monotonic()
        log.info("refreshing for: %s (%d new rows)", ", ".join(triggers), found.new_rows)
        for trigger in triggers:
            self._metrics.triggers.labels(trigger).inc()
        options = replace(self._options, postings=found.files)
        result = refresh(options, self._limits, self._report_step, triggers=triggers)
        # The rows of a rejected candidate count as seen: trained on again, they would give the same candidate.
        self._files.remember(found, at=self._clock())
        self._show_refresh(result, time.monotonic() - started)
        if result.verdict.passed:
            self.version = result.manifest.version
            self._metrics.show_version(self.version)
            log.info("version %s is in service", self.version)
        for reason in result.verdict.reasons:
            log.error("version %s is rejected, the one in service stays: %s", result.manifest.version, reason)
        if removed := self._registry.prune(self._policy.keep):
            log.info("removed old versions %s", ", ".join(removed))
        return self._count("promoted" if result.verdict.passed else "rejected")

    def _show_refresh(self, result: RefreshResult, seconds: float) -> None:
        self._metrics.seconds.observe(seconds)
        self._metrics.rows.set(result.rows)
        self._metrics.embedded.set(result.embedded)
        self._metrics.waiting.set(0)
        self._metrics.show_figures(result.manifest.metrics)

    def _report_step(self, what: str) -> None:
        """Log a step of a refresh. Raises RefreshStopped if the service was told to stop: a refresh ends between two steps."""
        if self._stop():
            raise RefreshStopped
        log.info(what)

    def _warn_once(self, what: str, text: str) -> None:
        """Log a warning unless it is the same as the last one about `what`, so that it does not come at every look."""
        if text != self._last_warnings.get(what):
            self._last_warnings[what] = text
            log.warning(text)

    def _count(self, outcome: RefreshOutcome) -> RefreshOutcome:
        self._metrics.refreshes.labels(outcome).inc()
        return outcome
