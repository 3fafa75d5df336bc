"""Artifacts that must not be served: each way leaves the registry pointing at something broken."""

import json
import pickle
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from consumer.artifact import CHECKSUM, checksum
from consumer.encoder_files import file_sha256
from consumer.pointer import CURRENT
from faults.model import Versions
from schemas.artifact import CATEGORIES, EMBEDDINGS, MANIFEST, TITLES

Break = Callable[[Versions], None]


def point(root: Path, text: str) -> None:
    """Replace the registry's pointer, whatever it says; no check is made."""
    staged = root / ".current-by-hand"
    staged.write_text(text, encoding="utf-8")
    staged.replace(root / CURRENT)


def _in_a_version(spoil: Callable[[Path], None]) -> Break:
    """Publish a good version, spoil its folder, and only then point to it: nobody sees it whole."""

    def broken(versions: Versions) -> None:
        version = versions.publish(promote=False)
        root = versions.registry.root
        spoil(root / "versions" / version)
        point(root, json.dumps({"version": version, "previous": []}))

    return broken


def _embeddings(change: Callable[[torch.Tensor], torch.Tensor]) -> Break:
    """Change the category embeddings, with the digest of what they are then."""

    def spoil(folder: Path) -> None:
        stored = load_file(folder / EMBEDDINGS)
        save_file({**stored, "title": change(stored["title"]).contiguous()}, folder / EMBEDDINGS)
        _own_up(folder, EMBEDDINGS)

    return _in_a_version(spoil)


def _manifest(change: Callable[[dict[str, Any]], None]) -> Break:
    def spoil(folder: Path) -> None:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        change(manifest)
        _write(folder, manifest)

    return _in_a_version(spoil)


def _write(folder: Path, manifest: dict[str, Any]) -> None:
    """Store a manifest with the checksum that it has then."""
    (folder / MANIFEST).write_text(json.dumps({**manifest, CHECKSUM: checksum(manifest)}), encoding="utf-8")


def _own_up(folder: Path, name: str) -> None:
    """Have the manifest name the digest of what a file is now."""
    manifest = json.loads((folder / MANIFEST).read_bytes())
    manifest["files"][name] = file_sha256(folder / name)
    _write(folder, manifest)


def _truncated(folder: Path) -> None:
    whole = (folder / EMBEDDINGS).read_bytes()
    (folder / EMBEDDINGS).write_bytes(whole[: len(whole) // 2])


def _flipped(folder: Path) -> None:
    whole = bytearray((folder / EMBEDDINGS).read_bytes())
    whole[-5] ^= 0x40
    (folder / EMBEDDINGS).write_bytes(whole)


def _pickled(folder: Path) -> None:
    (folder / EMBEDDINGS).write_bytes(pickle.dumps({"title": [[1.0]]}))
    _own_up(folder, EMBEDDINGS)


def _half_a_table(folder: Path) -> None:
    rows = json.loads((folder / CATEGORIES).read_bytes())
    (folder / CATEGORIES).write_text(json.dumps(rows[: len(rows) // 2]), encoding="utf-8")
    _own_up(folder, CATEGORIES)


def _with_row(row: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def change(matrix: torch.Tensor) -> torch.Tensor:
        return torch.cat((torch.full_like(matrix[:1], row), matrix[1:]))

    return change


def _other_encoder(manifest: dict[str, Any]) -> None:
    manifest["encoder"]["sha256"] = "0" * 64


def _other_answers(manifest: dict[str, Any]) -> None:
    manifest["golden"][0]["onet_code"] = manifest["golden"][1]["onet_code"]


BREAKS: Mapping[str, Break] = {
    "truncated": _in_a_version(_truncated),
    "bit-flipped": _in_a_version(_flipped),
    "wrong dimension": _embeddings(lambda matrix: matrix[:, :-1]),
    "NaN row": _embeddings(_with_row(float("nan"))),
    "zero row": _embeddings(_with_row(0.0)),
    "shuffled rows": _embeddings(lambda matrix: matrix.roll(1, dims=0)),
    "another encoder": _manifest(_other_encoder),
    "lies about its name": _manifest(lambda manifest: manifest.update(version="v9998")),
    "lies about its format": _manifest(lambda manifest: manifest.update(format=99)),
    "lies about its answers": _manifest(_other_answers),
    "no manifest": _in_a_version(lambda folder: (folder / MANIFEST).unlink()),
    "no titles": _in_a_version(lambda folder: (folder / TITLES).unlink()),
    "half a table": _in_a_version(_half_a_table),
    "pickle": _in_a_version(_pickled),
    "no folder": _in_a_version(shutil.rmtree),
    "escapes": lambda versions: point(versions.registry.root, '{"version": "../../../etc", "previous": []}'),
    "pointer to nothing": lambda versions: point(versions.registry.root, '{"version": "v9999", "previous": []}'),
    "no pointer": lambda versions: point(versions.registry.root, "\x00{"),
}
"""By name: what leaves the registry pointing at something that no consumer may take up."""
