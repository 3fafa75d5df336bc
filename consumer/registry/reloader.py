"""Takes up new model versions without a restart: a thread loads and checks them, the loop takes them between two batches."""

import logging
import threading
import time
from collections.abc import Callable

from consumer.errors import ArtifactError, EncoderError, Reason, RegistryError
from consumer.metrics import Metrics
from consumer.model.scorer import Scorer
from consumer.process.background import BackgroundThread
from consumer.registry.loader import ScorerLoader

REFUSED_RETRY_S = 30.0
"""How long a refused version is left alone: a shared folder may have shown half of it, so that it is tried again later."""

log = logging.getLogger(__name__)


class Reloader:
    """Watches which version the registry's pointer names. The loop calls `take`; all else runs on a thread of its own."""

    def __init__(self, loader: ScorerLoader, *, serving: str, metrics: Metrics, interval_s: float = 1.0) -> None:
        self._loader = loader
        self._serving = serving
        self._refused: str | None = None
        self._refused_at = 0.0
        self._metrics = metrics
        self._interval_s = interval_s
        self._ready: Scorer | None = None
        self._stop = threading.Event()
        self._thread = BackgroundThread("reloader", self._watch)

    def start(self) -> None:
        """Start watching."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching. Waits for a look that is under way, at most 5 seconds."""
        self._stop.set()
        self._thread.join(5.0)

    def take(self) -> Scorer | None:
        """Return the scorer of a new version, once; None while there is none. Raises BackgroundFailed if the thread died."""
        self._thread.check()
        ready, self._ready = self._ready, None
        return ready

    def look(self) -> None:
        """Load the version that the pointer names, if it is new. Whatever is wrong with it, the model in service stays."""
        try:
            version = self._loader.registry.read_current()
        except (ArtifactError, RegistryError) as error:
            reason = error.reason if isinstance(error, ArtifactError) else "unreadable"
            self._report("unavailable", reason, f"the registry cannot be read, the model in service stays: {error}")
            return
        if version is None or version == self._serving or (version == self._refused and self._refused_just_now()):
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

    def _refused_just_now(self) -> bool:
        return time.monotonic() - self._refused_at < REFUSED_RETRY_S

    def _watch(self) -> None:
        while not self._stop.wait(self._interval_s):
            self.look()

    def _report(self, outcome: str, reason: Reason, text: str) -> None:
        self._metrics.reloads.labels(outcome, reason).inc()
        log.error(text)


def wait_for_version(read_current: Callable[[], str | None], *, timeout_s: float, stop: threading.Event) -> str | None:
    """Return the promoted version as soon as there is one. Return None if `timeout_s` passes or `stop` is set before."""
    waited_s = 0.0
    while (version := read_current()) is None and waited_s < timeout_s and not stop.wait(0.5):
        waited_s += 0.5
    return version
