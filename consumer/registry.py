"""Where model versions live: a folder of artifacts and a pointer to the one in service.

    REGISTRY/versions/<version>/{manifest.json, categories.json, titles.json, embeddings.safetensors}
    REGISTRY/encoders/<sha256>/ encoders that only this registry has: fine-tuned, distilled, token vectors
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
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from consumer.encoder import file_sha256, weights_sha256
from consumer.errors import ArtifactError, RegistryError
from consumer.mixture import Tensors
from schemas.artifact import (
    CATEGORIES,
    EMBEDDINGS,
    FORMAT,
    MANIFEST,
    TITLES,
    VERSION_PATTERN,
    Category,
    KnownTitle,
    Manifest,
    write_json,
)

CURRENT = "CURRENT"
FILES = (CATEGORIES, TITLES, EMBEDDINGS)
VERSION = re.compile(VERSION_PATTERN)
SHA256 = re.compile("[0-9a-f]{64}")
KEPT_PROMOTIONS = 20
"""How many earlier versions the pointer remembers for `rollback`."""
YOUNG_S = 3_600.0
"""How long an encoder that no version names is kept: a version naming it may be about to come."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A loaded, checksummed artifact, in host memory."""

    manifest: Manifest
    tensors: Tensors


class ModelRegistry(Protocol):
    """Where versions are published, promoted and loaded."""

    def current(self) -> str | None:
        """Return the version in service, None when nothing was promoted yet. Raises RegistryError, ArtifactError."""
        ...

    def load(self, version: str) -> Artifact:
        """Return a version after every check that needs no encoder. Raises ArtifactError."""
        ...

    def encoder_folder(self, sha256: str) -> Path | None:
        """Return where the registry keeps the encoder with these weights, None if it does not."""
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

    def encoder_folder(self, sha256: str) -> Path | None:
        """Return where the registry keeps the encoder with these weights, None if it does not."""
        folder = self.root / "encoders" / sha256
        return folder if SHA256.fullmatch(sha256) and folder.is_dir() else None

    def add_encoder(self, source: Path) -> str:
        """Keep a copy of an encoder that no other place has; returns the sha256 of its weights. Raises RegistryError."""
        sha256 = weights_sha256(source)
        with self._writing():
            if self.encoder_folder(sha256) is None:
                (self.root / "encoders").mkdir(exist_ok=True)
                staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=self.root))
                shutil.copytree(source, staging, dirs_exist_ok=True)
                for path in (staging, *staging.rglob("*")):
                    path.chmod(0o755 if path.is_dir() else 0o644)
                    _fsync(path)
                staging.rename(self.root / "encoders" / sha256)
                _fsync(self.root / "encoders")
            else:
                os.utime(self.root / "encoders" / sha256)  # asked for again: not to be pruned before its version is there
        return sha256

    def check_writable(self) -> None:
        """Raise RegistryError if nothing could be published here; asked before hours of training, not after."""
        with self._writing():
            pass

    def publish(self, manifest: Manifest, tensors: Tensors) -> Manifest:
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
                complete = _write_artifact(staging, manifest, tensors)
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

    def prune(self, keep: int) -> list[str]:
        """Remove the oldest versions beyond `keep`, and encoders that none of the others names; returns what was removed.

        The version in service and the one before it always stay; `rollback` forgets the removed ones. Raises RegistryError,
        ArtifactError for a pointer that cannot be read: then nothing is removed.
        """
        with self._writing():
            pointer, manifests = self._pointer() or (), self.versions()
            spare = [m.version for m in manifests if m.version not in pointer[:2]]
            removed = spare[: max(0, len(manifests) - keep)]
            if kept := [version for version in pointer if version not in removed]:
                self._point(kept)
            for version in removed:
                self._remove(self._folder(version))
            self._remove_unnamed_encoders()
        return removed

    def _remove_unnamed_encoders(self) -> None:
        """Remove encoders that no version names, except young ones: a trainer stores them before the version is there."""
        manifests = self.versions()
        if len(manifests) < len(list((self.root / "versions").glob("*"))):
            return  # one that cannot be read may need any of them
        named = {ref.sha256 for m in manifests for ref in (m.encoder, m.line_encoder, m.body_encoder) if ref}
        for folder in (self.root / "encoders").glob("*"):
            if folder.name not in named and time.time() - folder.stat().st_ctime > YOUNG_S:
                self._remove(folder)

    def _remove(self, folder: Path) -> None:
        """Remove a folder, from under its name at once: no reader finds half of it."""
        going = Path(tempfile.mkdtemp(prefix=".removed-", dir=self.root))
        folder.rename(going / folder.name)
        shutil.rmtree(going, ignore_errors=True)

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
    for name in FILES:
        _check_digest(folder / name, manifest.files.get(name))
    try:
        categories = tuple(Category.model_validate(row) for row in json.loads((folder / CATEGORIES).read_bytes()))
        titles = _read_titles(folder / TITLES)
        stored = load_file(folder / EMBEDDINGS)
        others = (stored.get("line"), stored.get("exemplars"), titles, stored.get("body"))
        tensors = Tensors(categories, stored["title"].float(), *others)
    except (OSError, ValueError, TypeError, KeyError, RecursionError, SafetensorError) as error:
        raise ArtifactError(f"artifact {folder} cannot be read: {error}") from error
    if not categories:
        raise ArtifactError(f"artifact {folder} has no categories")
    if max((title.category for title in titles), default=0) >= len(categories):
        raise ArtifactError(f"artifact {folder} knows a title of a category that it does not have")
    for name, tensor, rows, dim in _expected_shapes(manifest, tensors):
        if (None if tensor is None else tuple(tensor.shape)) != (rows, dim):
            found = "none" if tensor is None else f"embeddings of shape {tuple(tensor.shape)}"
            raise ArtifactError(f"artifact {folder}: {name}: {found}, not {(rows, dim)}")
    return Artifact(manifest, tensors)


def _expected_shapes(manifest: Manifest, tensors: Tensors) -> Iterator[tuple[str, torch.Tensor | None, int, int]]:
    """Yield the name, the tensor, and the rows and columns it must have, of every part that the manifest names."""
    yield "title", tensors.title, len(tensors.categories), manifest.encoder.dim
    if manifest.line_encoder:
        yield "line", tensors.line, len(tensors.categories), manifest.line_encoder.dim
    if manifest.body_encoder:
        yield "body", tensors.body, len(tensors.categories), manifest.body_encoder.dim
    if manifest.exemplars:
        yield "exemplars", tensors.exemplars, manifest.exemplars.count, manifest.encoder.dim
        if len(tensors.titles) < manifest.exemplars.count:
            raise ArtifactError(f"version {manifest.version} has fewer known titles than exemplars")


def _read_titles(path: Path) -> tuple[KnownTitle, ...]:
    """Read the rows `[title, category, weight]`: three times smaller than objects, and there are tens of thousands."""
    rows = json.loads(path.read_bytes())
    return tuple(KnownTitle(title=title, category=category, weight=weight) for title, category, weight in rows)


def _write_artifact(folder: Path, manifest: Manifest, tensors: Tensors) -> Manifest:
    stored = {"title": tensors.title, "line": tensors.line, "exemplars": tensors.exemplars, "body": tensors.body}
    save_file({name: tensor.contiguous().cpu() for name, tensor in stored.items() if tensor is not None}, folder / EMBEDDINGS)
    (folder / EMBEDDINGS).chmod(0o644)  # safetensors writes for its owner only; a consumer is often somebody else
    write_json(folder / CATEGORIES, [category.model_dump() for category in tensors.categories])
    (folder / TITLES).write_text(
        json.dumps([[t.title, t.category, round(t.weight, 3)] for t in tensors.titles], ensure_ascii=False), encoding="utf-8"
    )
    digests = {name: file_sha256(folder / name) for name in FILES}
    complete = manifest.model_copy(update={"files": digests})
    write_json(folder / MANIFEST, complete.model_dump(mode="json"))
    for name in (*FILES, MANIFEST):
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
