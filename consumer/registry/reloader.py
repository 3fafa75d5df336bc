"""Takes up new model versions without a restart: load and check on a thread, hand over between batches."""

import gc
import logging
import threading
import time
from collections.abc import Callable, Mapping

import torch

from consumer.errors import ArtifactError, EncoderError, RefusalReason, RegistryError
from consumer.metrics import Metrics
from consumer.model.encoder import Encoder, load_encoder
from consumer.model.mixture import Mixture
from consumer.model.scorer import Scorer, check_serveable
from consumer.model.serving_options import AS_TRAINED, Precision, Switches
from consumer.process.background import Background
from consumer.registry.artifact import Artifact
from consumer.registry.folder import ModelRegistry
from schemas.artifact import EncoderRef

REFUSED_RETRY_S = 30.0

log = logging.getLogger(__name__)

LOOK_EVERY = 20_000
"""Objects made and not yet ended at which the garbage collector looks for cycles among them."""


class ScorerLoader:
    """Turns a version name into a Scorer that has passed every check."""

    def __init__(
        self,
        registry: ModelRegistry,
        *,
        encoder: str | None = None,
        device: str = "auto",
        precision: Precision = "auto",
        top_n: int = 5,
        cache_size: int = 0,
        switches: Switches = AS_TRAINED,
    ) -> None:
        """Take options; `encoder` overrides where the artifact's encoder lies, its weights must be the same."""
        self.registry = registry
        self._encoder_name = encoder
        self._device = device
        self._precision = precision
        self._top_n = top_n
        self._cache_size = cache_size
        self._switches = switches
        self._encoders: dict[EncoderRef, Encoder] = {}

    def load(self, version: str) -> Scorer:
        """Return the scorer of a version. Raises ArtifactError or EncoderError, and then keeps nothing of it."""
        artifact = self.registry.load(version)
        manifest = artifact.manifest
        encoders = {manifest.encoder: self._encoder_of(version, manifest.encoder, self._encoder_name)}
        for ref in (manifest.line_encoder, manifest.body_encoder):
            if ref:
                encoders[ref] = self._encoder_of(version, ref, None)
        scorer = self._scorer(artifact, encoders, AS_TRAINED)
        check_serveable(scorer)  # as it was published; the switches are the user's own
        if self._switches != AS_TRAINED:
            scorer = self._scorer(artifact, encoders, self._switches)
        self._encoders = encoders
        _leave_alone()
        return scorer

    def _scorer(self, artifact: Artifact, encoders: Mapping[EncoderRef, Encoder], switches: Switches) -> Scorer:
        manifest, encoder = artifact.manifest, encoders[artifact.manifest.encoder]
        try:
            mixture = Mixture(artifact.tensors, manifest.mix, manifest.exemplars, encoder.device, switches=switches)
        except ValueError as error:
            raise ArtifactError("shape", f"version {manifest.version}: {error}") from error
        except torch.OutOfMemoryError as error:
            raise ArtifactError("too_large", f"version {manifest.version} has no room on {encoder.device}: {error}") from error
        return Scorer(
            manifest,
            encoder,
            mixture,
            line_encoder=encoders[manifest.line_encoder] if manifest.line_encoder else None,
            body_encoder=encoders[manifest.body_encoder] if manifest.body_encoder else None,
            top_n=self._top_n,
            cache_size=self._cache_size,
        )

    def _encoder_of(self, version: str, ref: EncoderRef, override: str | None) -> Encoder:
        """Return the encoder in use if it is the one asked for, else load it: as told, from the registry, or by its name."""
        for used in self._encoders.values():
            if (used.ref.sha256, used.ref.max_seq_length) == (ref.sha256, ref.max_seq_length):
                return _of_dim(version, used, ref)
        wanted = override or str(self.registry.encoder_folder(ref.sha256) or ref.id)
        try:
            encoder = load_encoder(wanted, device=self._device, max_seq_length=ref.max_seq_length, precision=self._precision)
        except OSError as error:
            raise EncoderError(f"the encoder {wanted!r} cannot be read: {error}") from error
        if encoder.ref.sha256 != ref.sha256:
            raise EncoderError(
                f"the artifact was made with another encoder than {wanted!r}: it names {ref.id!r} with weights sha256 "
                f"{ref.sha256}, these are {encoder.ref.sha256}. Point --encoder at the right folder, or train again with this one"
            )
        return _of_dim(version, encoder, ref)


def _leave_alone() -> None:
    """Set all that is there apart from the garbage collector, until the next version is loaded.

    A version is tens of thousands of objects that live as long as it does: walking them took a third of a CPU's time. Those of
    a version that is gone are garbage in cycles (an encoder's modules): frozen once, they must be let go or nothing frees them.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def _of_dim(version: str, encoder: Encoder, ref: EncoderRef) -> Encoder:
    if encoder.ref.dim != ref.dim:
        raise ArtifactError("encoder", f"version {version} says its encoder has {ref.dim} dimensions; it has {encoder.ref.dim}")
    return encoder


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
