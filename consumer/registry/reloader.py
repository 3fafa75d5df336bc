"""Takes up new model versions without a restart: a thread loads and checks them, the loop takes them between two batches."""

import logging
import threading
import time

from consumer.errors import ArtifactError, EncoderError, RefusalReason, RegistryError
from consumer.metrics import Metrics
from consumer.model.scorer import Scorer
from consumer.process.background import BackgroundThread
from consumer.registry.loader import ScorerLoader

REFUSED_RETRY_S = 30.0
"""How long a refused version is left alone: a shared folder may have shown half of it, so that it is tried again later."""
SILENT_S = 30.0
"""A registry that has not answered for so long is reported: a shared folder may hang, and nothing can interrupt the read."""
SAY_AGAIN_S = 60.0
"""Between two log lines about a registry that stays out of reach."""

log = logging.getLogger(__name__)


class Reloader:
    """Watches which version the registry's pointer names. The loop calls `take`; all else runs on a thread of its own."""

    def __init__(
        self, loader: ScorerLoader, *, serving: str, metrics: Metrics, refused: str | None = None, interval_s: float = 1.0
    ) -> None:
        """Watch for a version other than `serving`. `refused`: the one that the start has just refused, if any."""
        self._loader = loader
        self._serving = serving
        self._refused = refused
        self._refused_at = time.monotonic()
        self._metrics = metrics
        self._interval_s = interval_s
        self._ready: Scorer | None = None
        self._stop = threading.Event()
        self._thread = BackgroundThread("reloader", self._watch)
        self._waits_for: tuple[str, float] | None = None  # what the thread waits for, and since when (monotonic seconds)
        self._trouble: str | None = None  # the reason that the log has named last
        self._say_at = 0.0

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
        self._notice_silence()
        ready, self._ready = self._ready, None
        return ready

    def look(self) -> None:
        """Load the version that the pointer names, if it is new. Whatever is wrong with it, the model in service stays."""
        self._waits_for = "its pointer", time.monotonic()
        try:
            version = self._read_pointer()
            if version is not None and version != self._serving and not (version == self._refused and self._refused_just_now()):
                self._waits_for = f"version {version}", time.monotonic()
                self._load(version)
        finally:
            self._waits_for = None

    def _read_pointer(self) -> str | None:
        """Return the version in service, or None if that is not known now."""
        try:
            version = self._loader.registry.read_current()
        except (ArtifactError, RegistryError) as error:
            reason = error.reason if isinstance(error, ArtifactError) else "unreadable"
            self._note_trouble(reason, f"the registry cannot be read: {error}")
            return None
        if version is None:
            self._note_trouble("missing", "the registry names no version any more: it is gone, or was emptied")
            return None
        self._metrics.registry_read.set_to_current_time()
        if self._trouble is not None:
            self._trouble = None
            log.info("the registry can be read again")
        return version

    def _load(self, version: str) -> None:
        try:
            scorer = self._loader.load(version)
        except RegistryError as error:
            self._note_trouble("unreadable", f"version {version} cannot be read yet: {error}")
            return
        except (ArtifactError, EncoderError) as error:
            self._refused, self._refused_at = version, time.monotonic()
            self._metrics.reloads.labels("refused", error.reason).inc()
            log.error("version %s is refused, the model in service stays: %s", version, error)  # noqa: TRY400 - one line
            return
        self._serving = version
        self._ready = scorer
        self._metrics.reloads.labels("loaded", "none").inc()

    def _refused_just_now(self) -> bool:
        return time.monotonic() - self._refused_at < REFUSED_RETRY_S

    def _watch(self) -> None:
        while not self._stop.wait(self._interval_s):
            self.look()

    def _notice_silence(self) -> None:
        """Report a look that does not end. The loop calls it: the thread that looks cannot."""
        waits_for = self._waits_for
        if waits_for is None or (silent_s := time.monotonic() - waits_for[1]) < SILENT_S or time.monotonic() < self._say_at:
            return
        self._note_trouble("no_answer", f"the registry has not answered for {silent_s:.0f} s, asked for {waits_for[0]}")

    def _note_trouble(self, reason: RefusalReason, text: str) -> None:
        """Count that the registry is out of reach. Log it, unless the log has just said so."""
        self._metrics.reloads.labels("unavailable", reason).inc()
        if reason != self._trouble or time.monotonic() >= self._say_at:
            self._trouble, self._say_at = reason, time.monotonic() + SAY_AGAIN_S
            log.error("%s; the model in service stays", text)
