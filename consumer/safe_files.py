"""Files that others write or read at the same time: bounded reads of untrusted files, and replacing a file in one step."""

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from consumer.errors import ArtifactError

STAGED_PREFIX = ".new-"
"""How the name of a file begins that is to replace another, until it does. Only a killed writer leaves such a file behind."""


def read_file(path: Path, *, within: Path, limit: int) -> bytes:
    """Return the bytes of a regular file of at most `limit` bytes. Links are followed as long as they stay in `within`.

    The read never blocks, as reading a pipe would. Raises ArtifactError with the reason missing, path, too_large or unreadable.
    """
    try:
        return _read_regular(path, resolve_within(path, within), limit)
    except FileNotFoundError:
        raise ArtifactError("missing", f"{path} is not there") from None
    except OSError as error:
        raise ArtifactError("unreadable", f"{path} cannot be read: {error.strerror}") from error


def resolve_within(path: Path, folder: Path) -> Path:
    """Return where a path leads once links are followed. Raises ArtifactError (path) if that is outside of `folder`."""
    real = Path(os.path.realpath(path))
    if not real.is_relative_to(os.path.realpath(folder)):
        raise ArtifactError("path", f"{path} leads to {real}, out of {folder}")
    return real


@contextlib.contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Give the block a path to write to, then put the file written there in the place of `path`, in one step.

    A reader finds the old file or the new one, whole, also after a crash: file and folder are on the disk when this returns.
    If the block raises, the old file stays. The mode of the new file is what the block gives it. Raises OSError.
    """
    staged = path.with_name(f"{STAGED_PREFIX}{path.name}-{secrets.token_hex(8)}")  # no enemy can put a link at this name first
    try:
        yield staged
        fsync(staged)
        staged.replace(path)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise
    fsync(path.parent)


def fsync(path: Path) -> None:
    """Wait until a file or folder is on the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_regular(path: Path, real: Path, limit: int) -> bytes:
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
    """Refuse what is not a regular file of at most `limit` bytes. Error messages name `path`."""
    if not stat.S_ISREG(found.st_mode):
        raise ArtifactError("path", f"{path} is no regular file")
    if found.st_size > limit:
        raise ArtifactError("too_large", f"{path} has {found.st_size:,} bytes, more than {limit:,}")
