"""Damage that an attacker may do to a version in a registry, with or without making the digests agree again."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from consumer.model.encoder_folder import file_sha256
from consumer.registry.artifact import CHECKSUM, FILES, checksum
from consumer.registry.pointer import CURRENT
from schemas.artifact import CATEGORIES, EMBEDDINGS, MANIFEST, TITLES

Damage = Callable[[Path], object]


def point(root: Path, version: object) -> None:
    """Move the pointer with none of the checks that `promote` makes."""
    write_current(root, json.dumps({"version": version, "previous": []}))


def write_current(root: Path, text: str) -> None:
    """Replace the pointer by whatever text, in one step."""
    staged = root / ".current-by-hand"
    staged.write_text(text, encoding="utf-8")
    staged.replace(root / CURRENT)


def sign(folder: Path, **changes: object) -> None:
    """Change the manifest and make every digest agree with what is there, so that only the change itself is wrong."""
    fields = json.loads((folder / MANIFEST).read_text())
    fields["files"] = {name: file_sha256(folder / name) for name in FILES}
    fields |= changes
    (folder / MANIFEST).write_text(json.dumps({**fields, CHECKSUM: checksum(fields)}))


def lie(**changes: object) -> Damage:
    """Let the manifest say something else, consistently."""
    return lambda folder: sign(folder, **changes)


def tensor(name: str, change: Callable[[torch.Tensor], torch.Tensor | None]) -> Damage:
    """Put another matrix under `name`, or none, consistently."""

    def damage(folder: Path) -> None:
        stored = load_file(folder / EMBEDDINGS)
        changed = {**stored, name: change(stored[name])}
        save_file({key: value.contiguous() for key, value in changed.items() if value is not None}, folder / EMBEDDINGS)
        sign(folder)

    return damage


def content(name: str, raw: str | bytes) -> Damage:
    """Put other bytes in a file, consistently."""

    def damage(folder: Path) -> None:
        (folder / name).write_bytes(raw.encode() if isinstance(raw, str) else raw)
        sign(folder)

    return damage


def cut(name: str, keep: float) -> Damage:
    """Leave only a share of a file."""
    return lambda folder: os.truncate(folder / name, int((folder / name).stat().st_size * keep))


def flip(path: Path, bit: int) -> None:
    """Turn one bit."""
    raw = bytearray(path.read_bytes())
    raw[bit // 8] ^= 1 << bit % 8
    path.write_bytes(raw)


def replaced(name: str, make: Callable[[Path], object]) -> Damage:
    """Put something else in a file's place, made by `make`."""

    def damage(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return damage


def moved_out(name: str) -> Damage:
    """Put a link in a file's place, to the very same bytes elsewhere."""

    def damage(folder: Path) -> None:
        elsewhere = folder.parents[1].with_name("elsewhere")
        elsewhere.mkdir(exist_ok=True)
        (folder / name).rename(elsewhere / name)
        (folder / name).symlink_to(elsewhere / name)

    return damage


def sparse(size: int) -> Callable[[Path], object]:
    """Make a file that says it has `size` bytes, and takes no room."""

    def make(path: Path) -> None:
        path.touch()
        os.truncate(path, size)

    return make


ALL_FILES = (MANIFEST, CATEGORIES, TITLES, EMBEDDINGS)
