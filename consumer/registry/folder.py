"""Where model versions live: a folder of artifacts and a pointer to the one in service.

    REGISTRY/versions/<version>/{manifest.json, categories.json, titles.json, embeddings.safetensors}
    REGISTRY/encoders/<sha256>/ encoders that only this registry has: fine-tuned, distilled, token vectors
    REGISTRY/CURRENT            {"version": ..., "previous": [...]}, replaced atomically

A version appears by one rename and never changes after it; the pointer moves by one rename.
"""

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from safetensors import SafetensorError

from consumer.errors import ArtifactError, CurrentMoved, RegistryError
from consumer.model.encoder_folder import weights_sha256
from consumer.model.mixture import Tensors
from consumer.registry.artifact import Artifact, read_artifact, read_manifest, write_artifact
from consumer.registry.pointer import CURRENT, VERSION, read_pointer, write_pointer
from consumer.safe_files import STAGED_PREFIX, fsync, resolve_within
from schemas.artifact import Manifest

STAGING, REMOVED = ".staging-", ".removed-"
ANY = "*"
"""What `instead_of` is where it does not matter; no version is called so."""
SHA256 = re.compile("[0-9a-f]{64}")
YOUNG_S = 3_600.0
"""How long an encoder that no version names is kept: a version naming it may be about to come."""


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
        return next(iter(read_pointer(self.root)), None)

    def versions(self) -> list[Manifest]:
        """Return the manifests of all versions that can be read, oldest first."""
        manifests = []
        for folder in sorted((self.root / "versions").glob("*")):
            with contextlib.suppress(ArtifactError):
                manifests.append(read_manifest(folder, within=self.root))
        return sorted(manifests, key=lambda m: (m.trained_at, m.version))

    def unreadable(self) -> dict[str, str]:
        """Return the versions whose manifest cannot be read, and the one in service if it is gone, each with the reason."""
        names = {folder.name for folder in (self.root / "versions").glob("*")} | set(read_pointer(self.root)[:1])
        found = {}
        for name in sorted(names):
            try:
                read_manifest(self._folder(name), within=self.root)
            except ArtifactError as error:
                found[name] = str(error)
        return found

    def load(self, version: str) -> Artifact:
        """Return a version, its files checked against the manifest. Raises ArtifactError."""
        return read_artifact(self._folder(version), within=self.root)

    def encoder_folder(self, sha256: str) -> Path | None:
        """Return where the registry keeps the encoder with these weights, None if it does not. Raises ArtifactError for links."""
        folder = self.root / "encoders" / sha256
        if not SHA256.fullmatch(sha256) or not folder.is_dir():
            return None
        resolve_within(folder, self.root)
        for path in folder.rglob("*"):
            if path.is_symlink():  # `add_encoder` stores none
                raise ArtifactError("path", f"{path} is a link; an encoder in a registry is a folder of files")
        return folder

    def add_encoder(self, source: Path) -> str:
        """Keep a copy of an encoder that no other place has; returns the sha256 of its weights. Raises RegistryError."""
        sha256 = weights_sha256(source)
        with self._writing():
            if self.encoder_folder(sha256) is None:
                (self.root / "encoders").mkdir(exist_ok=True)
                staging = Path(tempfile.mkdtemp(prefix=STAGING, dir=self.root))
                shutil.copytree(source, staging, dirs_exist_ok=True)
                for path in (staging, *staging.rglob("*")):
                    path.chmod(0o755 if path.is_dir() else 0o644)
                    fsync(path)
                staging.rename(self.root / "encoders" / sha256)
                fsync(self.root / "encoders")
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
            return self._store(manifest, tensors)

    def release(self, manifest: Manifest, tensors: Tensors, *, instead_of: str | None = ANY) -> Manifest:
        """Store a version and put it in service in one step, as `publish` and `promote` do.

        `instead_of` is the version that this one was found no worse than, None where there was none: raises CurrentMoved, with
        nothing stored, when another is in service by now.
        """
        with self._writing():
            if instead_of != ANY and (current := self.current()) != instead_of:
                raise CurrentMoved(f"version {current} is in service by now, not {instead_of}")
            complete = self._store(manifest, tensors)
            self._promote(complete.version)
        return complete

    def promote(self, version: str) -> None:
        """Put a version in service, after checking its files. Raises ArtifactError, RegistryError."""
        with self._writing():
            self._promote(version)

    def rollback(self) -> str:
        """Put the last version before the current one that is whole back in service and return it.

        Raises RegistryError when there is none.
        """
        with self._writing():
            pointer = read_pointer(self.root)
            broken = []
            for place, version in enumerate(pointer[1:], start=1):
                try:
                    self.load(version)
                except ArtifactError as error:
                    broken.append(str(error))
                    continue
                write_pointer(self.root, pointer[place:])
                return version
            why = f": {broken[0]}" if broken else ""
            raise RegistryError(f"{self.root / CURRENT} knows no earlier version to roll back to{why}")

    def prune(self, keep: int) -> list[str]:
        """Remove the oldest versions beyond `keep`, and encoders that none of the others names; returns what was removed.

        The version in service and the one before it always stay; `rollback` forgets the removed ones. Raises RegistryError,
        ArtifactError for a pointer that cannot be read: then nothing is removed.
        """
        with self._writing():
            pointer, manifests = read_pointer(self.root), self.versions()
            spare = [m.version for m in manifests if m.version not in pointer[:2]]
            removed = spare[: max(0, len(manifests) - keep)]
            if kept := [version for version in pointer if version not in removed]:
                write_pointer(self.root, kept)
            for version in removed:
                self._remove(self._folder(version))
            self._remove_unnamed_encoders()
        return removed

    def _store(self, manifest: Manifest, tensors: Tensors) -> Manifest:
        target = self._folder(manifest.version)
        if target.exists():
            raise RegistryError(f"version {manifest.version} is already in {self.root}")
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=STAGING, dir=self.root))
        complete = write_artifact(staging, manifest, tensors)
        staging.chmod(0o755)
        staging.rename(target)
        fsync(target.parent)
        return complete

    def _promote(self, version: str) -> None:
        self.load(version)
        try:
            pointer = read_pointer(self.root)
        except ArtifactError:
            pointer = ()  # promoting is how a broken pointer is mended
            if (self.root / CURRENT).is_dir():
                self._remove(self.root / CURRENT)
        write_pointer(self.root, [version, *(v for v in pointer if v != version)])

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
        going = Path(tempfile.mkdtemp(prefix=REMOVED, dir=self.root))
        folder.rename(going / folder.name)
        shutil.rmtree(going, ignore_errors=True)

    def _folder(self, version: str) -> Path:
        if not VERSION.fullmatch(version):
            raise ArtifactError("path", f"{version!r} is no version name")
        return self.root / "versions" / version

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the writers' lock; turn any refusal of the file system into a RegistryError.

        Whatever is half made when nobody else writes is of a writer that failed or was killed, and is removed.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                self._clear()
                try:
                    yield
                except BaseException:
                    self._clear()
                    raise
            finally:
                os.close(lock)
        except OSError as error:
            raise RegistryError(f"registry {self.root} cannot be written: {error.strerror or error}") from error
        except SafetensorError as error:  # what a full disk is called while the embeddings are written
            raise RegistryError(f"registry {self.root} cannot be written: {error}") from error

    def _clear(self) -> None:
        for prefix in (STAGING, REMOVED):
            for left in self.root.glob(f"{prefix}*"):
                shutil.rmtree(left, ignore_errors=True)
        for left in self.root.glob(f"{STAGED_PREFIX}*"):
            left.unlink(missing_ok=True)
