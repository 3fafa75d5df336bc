"""Logs once when records stop getting through, and once when they get through again."""

import logging
import time
from collections.abc import Callable

log = logging.getLogger(__name__)


class TroubleLog:
    """What was logged last about the trouble of a delivery."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None

    def note(self, trouble: str | None) -> None:
        """Take the reason why records do not get through now; None while they do."""
        if trouble is not None and self._since is None:
            self._since = self._clock()
            log.warning("records do not get through, nothing more is read: %s", trouble)
        elif trouble is None and self._since is not None:
            log.warning("records get through again, after %.0f s; reading goes on", self._clock() - self._since)
            self._since = None
