"""Where model versions live: a folder of artifacts and a pointer to the one in service.

    REGISTRY/versions/<version>/{manifest.json, categories.json, embeddings.safetensors}
    REGISTRY/CURRENT            {"version": ..., "previous": [...]}, replaced atomically

A version appears by one rename and never changes after it; the pointer moves by one rename.
"""

import contextlib
import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from consumer.encoder import file_sha256
from consumer.errors import ArtifactError, RegistryError
from schemas.artifact import CATEGORIES, EMBEDDINGS, FORMAT, MANIFEST, VERSION_PATTERN, Category, Manifest, write_json

CURRENT = "CURRENT"
VERSION = re.compile(VERSION_PATTERN)
KEPT_PROMOTIONS = 20
"""How many earlier versions the pointer remembers for `rollback`."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A loaded, checksummed artifact. `embeddings` is `(categories, dim)` float32 in host memory."""

    manifest: Manifest
    categories: tuple[Category, ...]
    embeddings: torch.Tensor


class ModelRegistry(Protocol):
    """Where versions are published, promoted and loaded."""

    def current(self) -> str | None:
        """Return the version in service, None when nothing was promoted yet. Raises RegistryError, ArtifactError."""
        ...

    def load(self, version: str) -> Artifact:
        """Return a version after every check that needs no encoder. Raises ArtifactError."""
        ...


class FolderRegistry:
    """A registry in a folder, local or shared. Any number of readers; writers take turns by a lock file."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def current(self) -> str | None:
        """Return the promoted version, None when there is none yet."""
        pointer = self._pointer()
        return pointer[0] if pointer else None

    def versions(self) -> list[Manifest]:
        """Return the manifests of all versions that can be read, oldest first."""
        manifests = []
        for folder in sorted((self.root / "versions").glob("*")):
            with contextlib.suppress(ArtifactError):
                manifests.append(read_manifest(folder))
        return sorted(manifests, key=lambda m: (m.trained_at, m.version))

    def load(self, version: str) -> Artifact:
        """Return a version, its files checked against the manifest. Raises ArtifactError."""
        return read_artifact(self._folder(version))

    def check_writable(self) -> None:
        """Raise RegistryError if nothing could be published here; asked before hours of training, not after."""
        with self._writing():
            pass

    def publish(self, manifest: Manifest, categories: tuple[Category, ...], embeddings: torch.Tensor) -> Manifest:
        """Store a version, complete or not at all; does not promote it. Returns the manifest with the file digests.

        Raises RegistryError when the folder cannot be written or the version exists.
        """
        with self._writing():
            target = self._folder(manifest.version)
            if target.exists():
                raise RegistryError(f"version {manifest.version} is already in {self.root}")
            target.parent.mkdir(parents=True, exist_ok=True)
            staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=self.root))
            try:
                complete = _write_artifact(staging, manifest, categories, embeddings)
                staging.chmod(0o755)
                staging.rename(target)
            except BaseException:
                shutil.rmtree(staging, ignore_errors=True)
                raise
            _fsync(target.parent)
        return complete

    def promote(self, version: str) -> None:
        """Put a version in service, after checking its files. Raises ArtifactError, RegistryError."""
        with self._writing():
            self.load(version)
            try:
                pointer = self._pointer() or ()
            except ArtifactError:
                pointer = ()  # promoting is how a broken pointer is mended
            self._point([version, *(v for v in pointer if v != version)])

    def rollback(self) -> str:
        """Put the version before the current one back in service and return it. Raises RegistryError when there is none."""
        with self._writing():
            pointer = self._pointer() or ()
            if len(pointer) < 2:  # noqa: PLR2004 - the current one and one before it
                raise RegistryError(f"{self.root / CURRENT} knows no earlier version to roll back to")
            self.load(pointer[1])
            self._point(list(pointer[1:]))
            return pointer[1]

    def _folder(self, version: str) -> Path:
        if not VERSION.fullmatch(version):
            raise ArtifactError(f"{version!r} is no version name")
        return self.root / "versions" / version

    def _pointer(self) -> tuple[str, ...] | None:
        """Return the current version and those before it, newest first."""
        path = self.root / CURRENT
        try:
            raw = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise RegistryError(f"{path} cannot be read: {error}") from error
        try:
            parsed = json.loads(raw)
            versions = (parsed["version"], *parsed.get("previous", ()))
            well_named = all(VERSION.fullmatch(version) for version in versions)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            well_named = False
        if not well_named:
            raise ArtifactError(f"{path} is no pointer; put it right with 'occustream-trainer promote VERSION'")
        return versions

    def _point(self, versions: list[str]) -> None:
        with tempfile.NamedTemporaryFile("w", dir=self.root, prefix=".current-", delete=False, encoding="utf-8") as file:
            json.dump({"version": versions[0], "previous": versions[1 : KEPT_PROMOTIONS + 1]}, file)
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).chmod(0o644)
        Path(file.name).replace(self.root / CURRENT)
        _fsync(self.root)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the writers' lock; turn any refusal of the file system into a RegistryError."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with (self.root / ".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise RegistryError(f"registry {self.root} cannot be written: {error.strerror or error}") from error
        except SafetensorError as error:  # what a full disk is called while the embeddings are written
            raise RegistryError(f"registry {self.root} cannot be written: {error}") from error


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of an artifact folder. Raises ArtifactError."""
    path = folder / MANIFEST
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise ArtifactError(f"no artifact at {folder}: {MANIFEST} is not there") from None
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ArtifactError(f"{path} is no manifest: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    if manifest.format != FORMAT:
        raise ArtifactError(f"{path} has format {manifest.format}; this program reads format {FORMAT}")
    if manifest.version != folder.name:
        raise ArtifactError(f"{path} says it is version {manifest.version!r}, but lies in folder {folder.name!r}")
    return manifest


def read_artifact(folder: Path) -> Artifact:
    """Return an artifact after checking digests, shapes and contents. Raises ArtifactError."""
    manifest = read_manifest(folder)
    for name in (CATEGORIES, EMBEDDINGS):
        _check_digest(folder / name, manifest.files.get(name))
    try:
        rows = json.loads((folder / CATEGORIES).read_bytes())
        categories = tuple(Category.model_validate(row) for row in rows)
        embeddings = load_file(folder / EMBEDDINGS)["embeddings"].float()
    except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
        raise ArtifactError(f"artifact {folder} cannot be read: {error}") from error
    if not categories:
        raise ArtifactError(f"artifact {folder} has no categories")
    if embeddings.shape != (len(categories), manifest.encoder.dim):
        expected = (len(categories), manifest.encoder.dim)
        raise ArtifactError(f"artifact {folder} has embeddings of shape {tuple(embeddings.shape)}, not {expected}")
    return Artifact(manifest, categories, embeddings)


def _write_artifact(folder: Path, manifest: Manifest, categories: tuple[Category, ...], embeddings: torch.Tensor) -> Manifest:
    save_file({"embeddings": embeddings.contiguous().cpu()}, folder / EMBEDDINGS)
    (folder / EMBEDDINGS).chmod(0o644)  # safetensors writes for its owner only; a consumer is often somebody else
    write_json(folder / CATEGORIES, [category.model_dump() for category in categories])
    digests = {name: file_sha256(folder / name) for name in (CATEGORIES, EMBEDDINGS)}
    complete = manifest.model_copy(update={"files": digests})
    write_json(folder / MANIFEST, complete.model_dump(mode="json"))
    for name in (CATEGORIES, EMBEDDINGS, MANIFEST):
        _fsync(folder / name)
    _fsync(folder)
    return complete


def _check_digest(path: Path, expected: str | None) -> None:
    if expected is None:
        raise ArtifactError(f"the manifest beside {path} does not list it")
    try:
        found = file_sha256(path)
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}") from error
    if found != expected:
        raise ArtifactError(f"{path} is damaged: its sha256 is not the manifest's")


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
