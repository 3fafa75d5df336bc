"""The version that a consumer starts with: the one in service, or the newest one before it that can be loaded.

Later versions are taken up by `reloader.py`.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from consumer.errors import ArtifactError, EncoderError, RegistryError
from consumer.metrics import Metrics
from consumer.model.scorer import Scorer
from consumer.registry.folder import ModelRegistry
from consumer.registry.loader import ScorerLoader

LOOK_S = 0.5
"""Between two looks for a first version."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FirstVersion:
    """The scorer that a consumer starts with, and the version in service if that one was refused."""

    scorer: Scorer
    refused: str | None


def load_first_version(loader: ScorerLoader, metrics: Metrics, *, timeout_s: float, stop: threading.Event) -> FirstVersion | None:
    """Return the first version that can be loaded. Return None if there is none in `timeout_s`, or if `stop` is set before.

    A version that is refused is counted, and the one that was in service before it is tried. Raises what the first refusal
    raised if there is none, or RegistryError if the registry could not be read in all that time.
    """
    versions = wait_for_versions(lambda: _read_versions(loader.registry, metrics), timeout_s=timeout_s, stop=stop)
    if not versions:
        return None
    first_error: ArtifactError | EncoderError | None = None
    for version in versions:
        try:
            scorer = loader.load(version)
        except (ArtifactError, EncoderError) as error:
            metrics.reloads.labels("refused", error.reason).inc()
            log.error("version %s is refused: %s", version, error)  # noqa: TRY400 - one line
            first_error = first_error or error
            continue
        if first_error is not None:
            log.error("version %s serves, which was in service before version %s", version, versions[0])
        return FirstVersion(scorer, versions[0] if first_error is not None else None)
    raise first_error or RegistryError("the registry names no version")


def _read_versions(registry: ModelRegistry, metrics: Metrics) -> Sequence[str]:
    """Return what the pointer names; what its copy names where it is broken. Raises RegistryError, ArtifactError."""
    try:
        versions = registry.read_versions()
    except ArtifactError as error:
        if not (versions := registry.read_copy()):
            raise
        metrics.reloads.labels("unavailable", error.reason).inc()
        log.error("%s; until then the copy of the pointer counts, which names version %s", error, versions[0])  # noqa: TRY400
    else:
        metrics.registry_read.set_to_current_time()
    return versions


def wait_for_versions(read: Callable[[], Sequence[str]], *, timeout_s: float, stop: threading.Event) -> Sequence[str]:
    """Return the promoted versions as soon as there are any; none if `timeout_s` passes or `stop` is set before.

    Raises what reading raises, once the time has passed.
    """
    waited_s = 0.0
    while True:
        try:
            versions = read()
        except (RegistryError, ArtifactError):
            if waited_s >= timeout_s:
                raise
            versions = ()
        if versions or waited_s >= timeout_s or stop.wait(LOOK_S):
            return versions
        waited_s += LOOK_S
