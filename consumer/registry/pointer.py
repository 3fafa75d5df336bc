"""The pointer of a registry: which version is in service, and which were before. It is replaced in one step."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from consumer.errors import ArtifactError, RegistryError
from consumer.safe_files import read_file, replace_file
from schemas.artifact import VERSION_PATTERN

CURRENT = "CURRENT"
COPY = "CURRENT.copy"
"""The same again: a consumer that starts and finds the pointer broken reads it instead."""
VERSION = re.compile(VERSION_PATTERN)
MAX_POINTER_BYTES = 1 << 16
KEPT_PROMOTIONS = 20
"""How many earlier versions the pointer remembers for a rollback."""


def read_pointer(root: Path) -> tuple[str, ...]:
    """Return the version in service and those before it, newest first; none if nothing was promoted yet.

    Raises ArtifactError (pointer) if the file is not a pointer, and RegistryError if the operating system cannot read it.
    """
    return _read(root, CURRENT)


def read_copy(root: Path) -> tuple[str, ...]:
    """Return what the copy of the pointer names; nothing where there is none, or it is broken, too."""
    try:
        return _read(root, COPY)
    except (ArtifactError, RegistryError):
        return ()


def write_pointer(root: Path, versions: Sequence[str]) -> None:
    """Replace the pointer, then its copy, by one to `versions`, ordered as `read_pointer` returns them. Raises OSError."""
    for name in (CURRENT, COPY):
        with replace_file(root / name) as staged:
            pointer = {"version": versions[0], "previous": versions[1 : KEPT_PROMOTIONS + 1]}
            staged.write_text(json.dumps(pointer), encoding="utf-8")
            staged.chmod(0o644)  # a consumer is often another user


def _read(root: Path, name: str) -> tuple[str, ...]:
    path = root / name
    try:
        return _parse_versions(read_file(path, within=root, limit=MAX_POINTER_BYTES))
    except ArtifactError as error:
        if error.reason == "missing":
            return ()
        if error.reason == "unreadable":
            raise RegistryError(str(error)) from error
        text = f"{path} is no pointer ({error}); put it right with 'occustream-trainer promote VERSION'"
        raise ArtifactError("pointer", text) from error


def _parse_versions(raw: bytes) -> tuple[str, ...]:
    try:
        parsed = json.loads(raw)
        versions = (parsed["version"], *parsed.get("previous", ()))
        if all(VERSION.fullmatch(version) for version in versions):
            return versions
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    raise ArtifactError("pointer", "it names no versions")
