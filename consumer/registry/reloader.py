"""Takes up new model versions without a restart: load and check on a thread, hand over between batches."""

import logging
import threading
import time
from collections.abc import Callable

from consumer.errors import ArtifactError, EncoderError, RefusalReason, RegistryError
from consumer.metrics import Metrics
from consumer.model.scorer import Scorer
from consumer.process.background import Background
from consumer.registry.loader import ScorerLoader

REFUSED_RETRY_S = 30.0

log = logging.getLogger(__name__)


class Reloader:
    """Watches the registry's pointer. `take` is called by the loop; the rest runs on a thread of its own."""

    def __init__(self, loader: ScorerLoader, *, serving: str, metrics: Metrics, interval_s: float = 1.0) -> None:
        self._loader = loader
        self._serving = serving
        self._refused: str | None = None
        self._refused_at = 0.0
        self._metrics = metrics
        self._interval_s = interval_s
        self._ready: Scorer | None = None
        self._stop = threading.Event()
        self._thread = Background("reloader", self._watch)

    def start(self) -> None:
        """Start watching."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching; waits for a look in progress."""
        self._stop.set()
        self._thread.join(5.0)

    def take(self) -> Scorer | None:
        """Return a new scorer once when there is one. Raises BackgroundFailed if the watching thread died."""
        self._thread.check()
        ready, self._ready = self._ready, None
        return ready

    def look(self) -> None:
        """Look once: load the version the pointer names if it is new; on any fault keep what serves."""
        try:
            version = self._loader.registry.current()
        except (ArtifactError, RegistryError) as error:
            reason = error.reason if isinstance(error, ArtifactError) else "unreadable"
            self._report("unavailable", reason, f"the registry cannot be read, the model in service stays: {error}")
            return
        if version is None or version == self._serving or (version == self._refused and self._too_soon()):
            return
        try:
            scorer = self._loader.load(version)
        except RegistryError as error:
            self._report(
                "unavailable", "unreadable", f"version {version} cannot be read yet, the model in service stays: {error}"
            )
            return
        except (ArtifactError, EncoderError) as error:
            self._refused = version
            self._refused_at = time.monotonic()
            self._report("refused", error.reason, f"version {version} is refused, the model in service stays: {error}")
            return
        self._serving = version
        self._ready = scorer
        self._metrics.reloads.labels("loaded", "none").inc()

    def _too_soon(self) -> bool:
        """Return whether to wait on: a refused version is tried again later, a shared folder may have shown half of it."""
        return time.monotonic() - self._refused_at < REFUSED_RETRY_S

    def _watch(self) -> None:
        while not self._stop.wait(self._interval_s):
            self.look()

    def _report(self, outcome: str, reason: RefusalReason, text: str) -> None:
        self._metrics.reloads.labels(outcome, reason).inc()
        log.error(text)


def wait_for_version(current: Callable[[], str | None], *, timeout_s: float, stop: threading.Event) -> str | None:
    """Return the promoted version as soon as there is one; None when `timeout_s` passes or `stop` is set first."""
    waited_s = 0.0
    while (version := current()) is None and waited_s < timeout_s and not stop.wait(0.5):
        waited_s += 0.5
    return version
