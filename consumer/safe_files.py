"""Plain, bounded reads of files that somebody else may have written: regular ones, inside one folder, of a size at most."""

import os
import stat
from pathlib import Path

from consumer.errors import ArtifactError


def read(path: Path, *, within: Path, limit: int) -> bytes:
    """Return the bytes of a regular file; links are followed as long as they lead to a place in `within`.

    Never waits for a writer, as reading a pipe would. Raises ArtifactError: missing, path, too_large (more than `limit`
    bytes), unreadable.
    """
    try:
        raw = _read(path, inside(path, within), limit)
    except FileNotFoundError:
        raise ArtifactError("missing", f"{path} is not there") from None
    except OSError as error:
        raise ArtifactError("unreadable", f"{path} cannot be read: {error.strerror}") from error
    return raw


def inside(path: Path, folder: Path) -> Path:
    """Return where a path leads once links are followed. Raises ArtifactError if that is outside of `folder`."""
    real = Path(os.path.realpath(path))
    if not real.is_relative_to(os.path.realpath(folder)):
        raise ArtifactError("path", f"{path} leads to {real}, out of {folder}")
    return real


def _read(path: Path, real: Path, limit: int) -> bytes:
    _check(path, os.lstat(real), limit)  # before it is opened: opening a device may do something
    descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        _check(path, found, limit)
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(found.st_size)
    finally:
        os.close(descriptor)


def _check(path: Path, found: os.stat_result, limit: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ArtifactError("path", f"{path} is no regular file")
    if found.st_size > limit:
        raise ArtifactError("too_large", f"{path} has {found.st_size:,} bytes, more than {limit:,}")
