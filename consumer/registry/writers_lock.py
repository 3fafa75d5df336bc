"""The lock by which the writers of a registry take turns, and the removal of what a killed writer left half made."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

from consumer.errors import RegistryError
from consumer.safe_files import STAGED_PREFIX

STAGING_PREFIX, REMOVED_PREFIX = ".staging-", ".removed-"
"""How the names of folders begin that are being made or removed."""


@contextlib.contextmanager
def hold_lock(root: Path) -> Iterator[None]:
    """Hold the lock of the registry at `root`, which is made if needed, during the block; wait for another writer first.

    Half-made files and folders that are found with the lock held come from a writer that failed or was killed: they are removed.
    Raises RegistryError for whatever the file system refuses, also within the block.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        root.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(root / ".lock", flags, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            _remove_leftovers(root)
            try:
                yield
            except BaseException:
                _remove_leftovers(root)
                raise
        finally:
            os.close(descriptor)
    except OSError as error:
        raise RegistryError(f"registry {root} cannot be written: {error.strerror or error}") from error
    except SafetensorError as error:  # a full disk, while the embeddings are written
        raise RegistryError(f"registry {root} cannot be written: {error}") from error


def _remove_leftovers(root: Path) -> None:
    for prefix in (STAGING_PREFIX, REMOVED_PREFIX):
        for folder in root.glob(f"{prefix}*"):
            shutil.rmtree(folder, ignore_errors=True)
    for file in root.glob(f"{STAGED_PREFIX}*"):
        file.unlink(missing_ok=True)
