"""What /livez and /readyz answer, from the start of a process on: first for the steps before the loop, then for the loop."""

import time
from collections.abc import Callable

from consumer.pipeline import Pipeline


class Health:
    """The health of a consumer. Each method may be called from any thread."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pipeline: Pipeline | None = None
        self.begin("it has just started")

    def begin(self, step: str) -> None:
        """Note which step before the loop is under way, in words for people."""
        self._step, self._began = step, self._clock()

    def follow(self, pipeline: Pipeline) -> None:
        """Answer for the loop from now on."""
        self._pipeline = pipeline

    def live(self) -> str | None:
        """Return what is wrong with the loop. Before there is one, a restart would mend nothing."""
        return self._pipeline.live() if self._pipeline is not None else None

    def ready(self) -> str | None:
        """Return why no posting would be enriched now; None when one would."""
        if self._pipeline is not None:
            return self._pipeline.ready()
        return f"not serving yet, {self._step} ({self._clock() - self._began:.0f} s)"
