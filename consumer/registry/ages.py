"""How old things in a registry are, by the clock of its file system. This machine's own clock may be a year ahead."""

import os
import tempfile
from pathlib import Path

from schemas.artifact import Manifest

SLACK_S = 86_400.0
"""How far ahead of the file system's clock a time may be and still be believed."""
_SEEN = 1.0
"""The time of change that marks a folder as found without a use."""


def read_clock(root: Path) -> float:
    """Return the time of the file system that holds a folder, in seconds since 1970."""
    with tempfile.TemporaryFile(dir=root) as file:
        return os.fstat(file.fileno()).st_mtime


def rank_age(manifest: Manifest, folder: Path, now: float) -> tuple[float, float, str]:
    """Return a key that sorts versions from the oldest to the youngest.

    A version is never younger than its folder: the clock of its trainer may have been ahead. Times of the future are not
    believed; such versions count as the oldest.
    """
    trained_at = manifest.trained_at.timestamp()
    stored_at = min(trained_at, folder.stat().st_ctime)
    return stored_at if stored_at <= now + SLACK_S else 0.0, trained_at, manifest.version


def is_long_unused(folder: Path, now: float, *, young_s: float) -> bool:
    """Return whether an earlier call found this folder unused, at least `young_s` seconds ago. The first call notes it.

    So a clock that jumps ahead makes nothing old. A folder that is touched meanwhile is no longer noted.
    """
    status = folder.stat()
    if status.st_mtime != _SEEN:
        os.utime(folder, (_SEEN, _SEEN))
        return False
    return now - status.st_ctime > young_s
