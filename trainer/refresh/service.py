"""The refresh service, read from top to bottom: look -> triggers -> candidate -> gate -> publish -> prune."""

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
from trainer.refresh.candidate import Refreshed, refresh
from trainer.refresh.gate import GateLimits
from trainer.refresh.metrics import Metrics
from trainer.refresh.watched_files import Look, Watch

Outcome = Literal["promoted", "rejected", "failed", "skipped", "nothing"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshPolicy:
    """When to refresh. `retry_s`: after a failure, so long before the next try."""

    every_s: float | None = None
    min_new: int = 100
    min_interval_s: float = 300.0
    retry_s: float = 30.0
    look_s: float = 10.0
    keep: int = 10


class StopAsked(Exception):
    """The service was told to stop while it was refreshing: nothing was published."""


class RefreshService:
    """Refreshes the model when there is a reason to, and puts a candidate in service that passes the gate.

    Bad data, and a registry or encoder out of reach, are logged, counted and tried again; the service goes on.
    """

    def __init__(
        self,
        options: TrainOptions,
        policy: RefreshPolicy,
        limits: GateLimits,
        watch: Watch,
        *,
        metrics: Metrics,
        stop: Callable[[], bool],
        drift: Callable[[], Sequence[str]] = lambda: (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take `drift`, which tells in what ways the market has moved, and `clock`, seconds since 1970."""
        self._options = options
        self._policy = policy
        self._limits = limits
        self._watch = watch
        self._metrics = metrics
        self._stop = stop
        self._drift = drift
        self._clock = clock
        self._registry = FolderRegistry(options.registry)
        self._retry_at = float("-inf")
        self._met: tuple[str, frozenset[str]] = "", frozenset()
        self._told: dict[str, str] = {}
        self.version: str | None = None
        """The version in service, as of the last look."""

    def run(self, wait: Callable[[float], object], check_background: Callable[[], None]) -> None:
        """Look and refresh until told to stop; `wait` sleeps so many seconds or until then.

        `check_background` raises BackgroundFailed when a thread that reads for this service died.
        """
        while not self._stop():
            check_background()
            self.turn()
            wait(self._policy.look_s)

    def turn(self, *, hold_back: bool = True) -> Outcome:
        """Look once and refresh if there is a reason to; `hold_back` False ignores min_interval_s: whoever asks has waited."""
        if hold_back and self._clock() < self._retry_at:
            return "nothing"
        try:
            self.version = self._registry.read_current()
            self._metrics.in_service(self.version)
            look = self._watch.look()
            self._metrics.waiting.set(look.new_rows)
            triggers = self._triggers(look)
            if not triggers:
                return "nothing"
            if hold_back and triggers != ["first"] and self._too_soon():
                return self._count("skipped")
            return self._refresh(look, triggers)
        except StopAsked:
            log.info("told to stop: the refresh was broken off, nothing was published")
            return "nothing"
        except (OccustreamError, TableError, OSError, ValueError) as error:
            log.warning("refresh failed, tried again in %.0f s at the earliest: %s", self._policy.retry_s, error)
        except Exception:  # whatever data or libraries come up with: the version in service stays, and so does the service
            log.exception("refresh failed by an unexpected error, tried again in %.0f s at the earliest", self._policy.retry_s)
        self._retry_at = self._clock() + self._policy.retry_s
        return self._count("failed")

    def live(self) -> str | None:
        """Return None: the loop looks after its own threads, and a refresh may take hours."""
        return None

    def ready(self) -> str | None:
        """Return None once a version is in service, else what is missing."""
        return None if self.version is not None else "no version is in service yet"

    def _triggers(self, look: Look) -> list[str]:
        """Return the names of the reasons to refresh now; none while there is no row to learn from."""
        if look.unmatched:
            self._tell("files", f"no file at: {', '.join(look.unmatched)}")
        if not look.rows:
            return []
        if self.version is None:
            return ["first"]
        policy, seen, drifted = self._policy, self._watch.seen, self._drift()
        if drifted and not look.new_rows:
            self._tell("drift", f"drift, but no new labelled posting to learn from: {'; '.join(drifted)}")
        found = {
            "schedule": policy.every_s is not None and self._clock() - seen.at >= policy.every_s,
            "postings": look.new_rows >= policy.min_new,
            "unseen_codes": bool({code for code, count in look.new_codes.items() if count} - self._codes_met() - {UNCLASSIFIED}),
            "onet": look.onet != seen.onet and seen.at > 0,
            "drift": bool(drifted) and look.new_rows > 0,  # on the same rows the same model would come out again
        }
        return [name for name, holds in found.items() if holds]

    def _codes_met(self) -> frozenset[str]:
        """Return the codes that the version in service has a labelled posting of. Raises ArtifactError."""
        if self.version and self._met[0] != self.version:
            categories = self._registry.load(self.version).tensors.categories
            self._met = self.version, frozenset(c.onet_code for c in categories if c.postings)
        return self._met[1]

    def _too_soon(self) -> bool:
        """Return whether the last refresh is too recent; a clock that was put back does not hold refreshes up."""
        return 0 <= self._clock() - self._watch.seen.at < self._policy.min_interval_s

    def _refresh(self, look: Look, triggers: list[str]) -> Outcome:
        started = time.monotonic()
        log.info("refreshing for: %s (%d new rows)", ", ".join(triggers), look.new_rows)
        for trigger in triggers:
            self._metrics.triggers.labels(trigger).inc()
        options = replace(self._options, postings=look.files)
        made = refresh(options, self._limits, self._step, triggers=triggers)
        # A rejected candidate's rows count as seen, too: what there is would come to the same.
        self._watch.remember(look, at=self._clock())
        self._show(made, time.monotonic() - started)
        if made.verdict.passed:
            self.version = made.manifest.version
            self._metrics.in_service(self.version)
            log.info("version %s is in service", self.version)
        for reason in made.verdict.reasons:
            log.error("version %s is rejected, the one in service stays: %s", made.manifest.version, reason)
        if removed := self._registry.prune(self._policy.keep):
            log.info("removed old versions %s", ", ".join(removed))
        return self._count("promoted" if made.verdict.passed else "rejected")

    def _show(self, made: Refreshed, seconds: float) -> None:
        self._metrics.seconds.observe(seconds)
        self._metrics.rows.set(made.rows)
        self._metrics.embedded.set(made.embedded)
        self._metrics.waiting.set(0)
        self._metrics.judged(made.manifest.metrics)

    def _step(self, what: str) -> None:
        """Report a step of a refresh; between steps it can be broken off. Raises StopAsked."""
        if self._stop():
            raise StopAsked
        log.info(what)

    def _tell(self, what: str, text: str) -> None:
        """Log what stays true for long once, not at every look."""
        if text != self._told.get(what):
            self._told[what] = text
            log.warning(text)

    def _count(self, outcome: Outcome) -> Outcome:
        self._metrics.refreshes.labels(outcome).inc()
        return outcome
