"""What the worker processes of one test run share: a folder, and things in it that one of them makes for all."""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SHARED_FOLDER = pytest.StashKey[Path]()
"""Key of the folder in `config.stash`; it is gone when the run ends."""


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock that only one process can hold."""
    with path.open("w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make_once(path: Path, make: Callable[[Path], object]) -> Path:
    """Return `path`, filled by `make` in the process that asks first; the others wait until it is whole."""
    with locked(path.with_name(f"{path.name}.lock")):
        if not path.exists():
            unfinished = path.with_name(f"{path.name}.unfinished")
            make(unfinished)
            unfinished.rename(path)
    return path


def threads_per_worker(workers: int) -> int:
    """Return how many threads PyTorch may use in each worker, so that together they do not exceed the cores."""
    return max(1, (os.cpu_count() or 1) // workers)
