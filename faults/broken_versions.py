"""Artifacts that must not be served: each way leaves the registry pointing at something broken."""

import json
import pickle
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from faults.tampering import Damage, content, cut, flip, lie, point, sign, tensor, write_current
from faults.tiny_model import Versions
from schemas.artifact import CATEGORIES, EMBEDDINGS, MANIFEST, TITLES

Break = Callable[[Versions], None]


def _in_a_version(spoil: Damage) -> Break:
    """Publish a good version, spoil its folder, and only then point to it: nobody sees it whole."""

    def broken(versions: Versions) -> None:
        version = versions.publish(promote=False)
        root = versions.registry.root
        spoil(root / "versions" / version)
        point(root, version)

    return broken


def _flipped(folder: Path) -> None:
    flip(folder / EMBEDDINGS, 8 * ((folder / EMBEDDINGS).stat().st_size - 5) + 6)


def _half_a_table(folder: Path) -> None:
    rows = json.loads((folder / CATEGORIES).read_bytes())
    content(CATEGORIES, json.dumps(rows[: len(rows) // 2]))(folder)


def _with_row(row: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def change(matrix: torch.Tensor) -> torch.Tensor:
        return torch.cat((torch.full_like(matrix[:1], row), matrix[1:]))

    return change


def _other_encoder(folder: Path) -> None:
    encoder = json.loads((folder / MANIFEST).read_bytes())["encoder"]
    sign(folder, encoder={**encoder, "sha256": "0" * 64})


def _other_answers(folder: Path) -> None:
    first, second, *others = json.loads((folder / MANIFEST).read_bytes())["golden"]
    sign(folder, golden=[{**first, "onet_code": second["onet_code"]}, second, *others])


BREAKS: Mapping[str, Break] = {
    "truncated": _in_a_version(cut(EMBEDDINGS, 0.5)),
    "bit-flipped": _in_a_version(_flipped),
    "wrong dimension": _in_a_version(tensor("title", lambda matrix: matrix[:, :-1])),
    "NaN row": _in_a_version(tensor("title", _with_row(float("nan")))),
    "zero row": _in_a_version(tensor("title", _with_row(0.0))),
    "shuffled rows": _in_a_version(tensor("title", lambda matrix: matrix.roll(1, dims=0))),
    "another encoder": _in_a_version(_other_encoder),
    "lies about its name": _in_a_version(lie(version="v9998")),
    "lies about its format": _in_a_version(lie(format=99)),
    "lies about its answers": _in_a_version(_other_answers),
    "no manifest": _in_a_version(lambda folder: (folder / MANIFEST).unlink()),
    "no titles": _in_a_version(lambda folder: (folder / TITLES).unlink()),
    "half a table": _in_a_version(_half_a_table),
    "pickle": _in_a_version(content(EMBEDDINGS, pickle.dumps({"title": [[1.0]]}))),
    "no folder": _in_a_version(shutil.rmtree),
    "escapes": lambda versions: point(versions.registry.root, "../../../etc"),
    "pointer to nothing": lambda versions: point(versions.registry.root, "v9999"),
    "no pointer": lambda versions: write_current(versions.registry.root, "\x00{"),
}
"""By name: what leaves the registry pointing at something that no consumer may take up."""
