"""The registry: a folder of model versions, and a pointer to the one in service.

    REGISTRY/versions/<version>/  manifest.json, categories.json, titles.json, embeddings.safetensors
    REGISTRY/encoders/<sha256>/   an encoder that only this registry has: fine-tuned, distilled, token vectors
    REGISTRY/CURRENT              {"version": ..., "previous": [...]}, and the same in CURRENT.copy

A version appears by one rename and never changes afterwards; the pointer is replaced by one rename. The registry is treated as
untrusted input: no code in it is executed, no link out of it is followed, and no read can block.
"""

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from consumer.errors import ArtifactError, CurrentMoved, RegistryError
from consumer.model.encoder_folder import weights_sha256
from consumer.model.mixture import Tensors
from consumer.registry.ages import is_long_unused, rank_age, read_clock
from consumer.registry.artifact import Artifact, read_artifact, read_manifest, write_artifact
from consumer.registry.pointer import CURRENT, VERSION, read_copy, read_pointer, write_pointer
from consumer.registry.writers_lock import REMOVED_PREFIX, STAGING_PREFIX, hold_lock
from consumer.safe_files import fsync, resolve_within
from schemas.artifact import Manifest

ANY_VERSION = "*"
"""The value of `instead_of` that allows any version to be replaced. No version can have this name."""
SHA256 = re.compile("[0-9a-f]{64}")
YOUNG_S = 3_600.0
"""How long an encoder is kept after it was first found without a version: that may not be published yet."""


class ModelRegistry(Protocol):
    """Knows which model version is in service, and loads versions and their encoders."""

    def read_current(self) -> str | None:
        """Return the version in service, or None if nothing was promoted yet. Raises RegistryError, ArtifactError."""
        ...

    def read_versions(self) -> Sequence[str]:
        """Return the version in service and those that were before it, newest first. Raises RegistryError, ArtifactError."""
        ...

    def read_copy(self) -> Sequence[str]:
        """Return the same from a copy, for when the pointer itself is broken; nothing where there is none."""
        ...

    def load(self, version: str) -> Artifact:
        """Return a version after all checks that need no encoder. Raises ArtifactError."""
        ...

    def find_encoder(self, sha256: str) -> Path | None:
        """Return the folder in which the registry keeps the encoder with these weights, or None if it does not."""
        ...


class FolderRegistry:
    """A registry in a folder, local or shared. It can have any number of readers. A lock file makes writers take turns."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read_current(self) -> str | None:
        """Return the version in service, or None if nothing was promoted yet. Raises RegistryError, ArtifactError."""
        return next(iter(read_pointer(self.root)), None)

    def read_versions(self) -> Sequence[str]:
        """Return the version in service and those that were before it, newest first. Raises RegistryError, ArtifactError."""
        return read_pointer(self.root)

    def read_copy(self) -> Sequence[str]:
        """Return the same from the copy that each promotion writes; nothing where there is none."""
        return read_copy(self.root)

    def list_versions(self) -> list[Manifest]:
        """Return the manifests of all versions that can be read, oldest first."""
        manifests = []
        for folder in sorted((self.root / "versions").glob("*")):
            with contextlib.suppress(ArtifactError):
                manifests.append(read_manifest(folder, within=self.root))
        return sorted(manifests, key=lambda m: (m.trained_at, m.version))

    def explain_unreadable(self) -> dict[str, str]:
        """Return each version whose manifest cannot be read, with the reason. The version in service is one if it is gone."""
        names = {folder.name for folder in (self.root / "versions").glob("*")} | set(read_pointer(self.root)[:1])
        reasons = {}
        for name in sorted(names):
            try:
                read_manifest(self._version_folder(name), within=self.root)
            except ArtifactError as error:
                reasons[name] = str(error)
        return reasons

    def load(self, version: str) -> Artifact:
        """Return a version after checking its files against the manifest. Raises ArtifactError."""
        return read_artifact(self._version_folder(version), within=self.root)

    def find_encoder(self, sha256: str) -> Path | None:
        """Return the folder of the encoder with these weights, or None if it is not here. Raises ArtifactError for links."""
        folder = self.root / "encoders" / sha256
        if not SHA256.fullmatch(sha256) or not folder.is_dir():
            return None
        resolve_within(folder, self.root)
        for path in folder.rglob("*"):
            if path.is_symlink():  # `add_encoder` never stores one
                raise ArtifactError("path", f"{path} is a link; an encoder in a registry is a folder of files")
        return folder

    def add_encoder(self, source: Path) -> str:
        """Copy an encoder that is nowhere else into the registry. Return the sha256 of its weights. Raises RegistryError."""
        sha256 = weights_sha256(source)
        with hold_lock(self.root):
            if self.find_encoder(sha256) is None:
                (self.root / "encoders").mkdir(exist_ok=True)
                staging = Path(tempfile.mkdtemp(prefix=STAGING_PREFIX, dir=self.root))
                shutil.copytree(source, staging, dirs_exist_ok=True)
                for path in (staging, *staging.rglob("*")):
                    path.chmod(0o755 if path.is_dir() else 0o644)
                    fsync(path)
                staging.rename(self.root / "encoders" / sha256)
                fsync(self.root / "encoders")
            else:
                os.utime(self.root / "encoders" / sha256)  # young again, so that it is not pruned before its version is published
        return sha256

    def check_writable(self) -> None:
        """Raise RegistryError if nothing can be published here. Ask before hours of training, not after."""
        with hold_lock(self.root):
            pass

    def publish(self, manifest: Manifest, tensors: Tensors) -> Manifest:
        """Store a version, complete or not at all, without promoting it. Return the manifest with the file digests.

        Raises RegistryError if the folder cannot be written or the version exists already.
        """
        with hold_lock(self.root):
            return self._store(manifest, tensors)

    def release(self, manifest: Manifest, tensors: Tensors, *, instead_of: str | None = ANY_VERSION) -> Manifest:
        """Store a version and put it in service, as `publish` and `promote` do, but in one step.

        `instead_of` is the version that this one may replace, or None if there was none: that is what it was compared with. If
        another version is in service by now, nothing is stored, and CurrentMoved is raised.
        """
        with hold_lock(self.root):
            if instead_of != ANY_VERSION and (current := self.read_current()) != instead_of:
                raise CurrentMoved(f"version {current} is in service by now, not {instead_of}")
            complete = self._store(manifest, tensors)
            self._promote(complete.version)
        return complete

    def promote(self, version: str) -> None:
        """Put a version in service after checking its files. Raises ArtifactError, RegistryError."""
        with hold_lock(self.root):
            self._promote(version)

    def roll_back(self) -> str:
        """Put the last version before the current one back in service, and return its name. Broken versions are skipped.

        Raises RegistryError if there is no earlier version that can be loaded.
        """
        with hold_lock(self.root):
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
        """Remove the oldest versions beyond `keep`, and encoders that no version names. Return the removed versions.

        Ages are by the clock of the file system; a version that claims to come from the future counts as the oldest.
        The version in service and the one before it always stay. `roll_back` forgets the removed ones. Raises RegistryError, and
        ArtifactError if the pointer cannot be read; then nothing is removed.
        """
        with hold_lock(self.root):
            pointer, now = read_pointer(self.root), read_clock(self.root)
            manifests = sorted(self.list_versions(), key=lambda m: rank_age(m, self._version_folder(m.version), now))
            spare = [m.version for m in manifests if m.version not in pointer[:2]]
            removed = spare[: max(0, len(manifests) - keep)]
            if kept := [version for version in pointer if version not in removed]:
                write_pointer(self.root, kept)
            for version in removed:
                self._remove(self._version_folder(version))
            self._remove_unnamed_encoders(now)
        return removed

    def _store(self, manifest: Manifest, tensors: Tensors) -> Manifest:
        target = self._version_folder(manifest.version)
        if target.exists():
            raise RegistryError(f"version {manifest.version} is already in {self.root}")
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=STAGING_PREFIX, dir=self.root))
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
            pointer = ()  # promoting is the way to repair a broken pointer
            if (self.root / CURRENT).is_dir():
                self._remove(self.root / CURRENT)
        write_pointer(self.root, [version, *(v for v in pointer if v != version)])

    def _remove_unnamed_encoders(self, now: float) -> None:
        """Remove the encoders that no version has named for long: a trainer stores an encoder before its version."""
        manifests = self.list_versions()
        if len(manifests) < len(list((self.root / "versions").glob("*"))):
            return  # a version that cannot be read may need any of them
        named = {ref.sha256 for m in manifests for ref in (m.encoder, m.line_encoder, m.body_encoder) if ref}
        for folder in (self.root / "encoders").glob("*"):
            if folder.name not in named and is_long_unused(folder, now, young_s=YOUNG_S):
                self._remove(folder)

    def _remove(self, folder: Path) -> None:
        """Move a folder away in one step, then remove it, so that no reader finds half of it."""
        doomed = Path(tempfile.mkdtemp(prefix=REMOVED_PREFIX, dir=self.root))
        folder.rename(doomed / folder.name)
        shutil.rmtree(doomed, ignore_errors=True)

    def _version_folder(self, version: str) -> Path:
        if not VERSION.fullmatch(version):
            raise ArtifactError("path", f"{version!r} is no version name")
        return self.root / "versions" / version
