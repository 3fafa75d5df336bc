"""Ways to break a registry: each leaves it pointing at a version that must not be served."""

import json
import pickle
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from faults.tampering import Damage, content, cut, flip, lie, point, sign, tensor, write_current
from faults.tiny_model import VersionPublisher
from schemas.artifact import CATEGORIES, EMBEDDINGS, MANIFEST, TITLES

BreakRegistry = Callable[[VersionPublisher], None]


def _publish_damaged(damage: Damage) -> BreakRegistry:
    """Publish a good version, damage its folder, and only then point to it: nobody sees it whole."""

    def broken(publisher: VersionPublisher) -> None:
        version = publisher.publish(promote=False)
        root = publisher.registry.root
        damage(root / "versions" / version)
        point(root, version)

    return broken


def _flip_last_bits(folder: Path) -> None:
    flip(folder / EMBEDDINGS, 8 * ((folder / EMBEDDINGS).stat().st_size - 5) + 6)


def _halve_categories(folder: Path) -> None:
    rows = json.loads((folder / CATEGORIES).read_bytes())
    content(CATEGORIES, json.dumps(rows[: len(rows) // 2]))(folder)


def _replace_first_row(row: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def change(matrix: torch.Tensor) -> torch.Tensor:
        return torch.cat((torch.full_like(matrix[:1], row), matrix[1:]))

    return change


def _name_another_encoder(folder: Path) -> None:
    encoder = json.loads((folder / MANIFEST).read_bytes())["encoder"]
    sign(folder, encoder={**encoder, "sha256": "0" * 64})


def _swap_golden_answers(folder: Path) -> None:
    first, second, *others = json.loads((folder / MANIFEST).read_bytes())["golden"]
    sign(folder, golden=[{**first, "onet_code": second["onet_code"]}, second, *others])


WAYS_TO_BREAK: Mapping[str, BreakRegistry] = {
    "truncated": _publish_damaged(cut(EMBEDDINGS, 0.5)),
    "bit-flipped": _publish_damaged(_flip_last_bits),
    "wrong dimension": _publish_damaged(tensor("title", lambda matrix: matrix[:, :-1])),
    "NaN row": _publish_damaged(tensor("title", _replace_first_row(float("nan")))),
    "zero row": _publish_damaged(tensor("title", _replace_first_row(0.0))),
    "shuffled rows": _publish_damaged(tensor("title", lambda matrix: matrix.roll(1, dims=0))),
    "another encoder": _publish_damaged(_name_another_encoder),
    "lies about its name": _publish_damaged(lie(version="v9998")),
    "lies about its format": _publish_damaged(lie(format=99)),
    "lies about its answers": _publish_damaged(_swap_golden_answers),
    "no manifest": _publish_damaged(lambda folder: (folder / MANIFEST).unlink()),
    "no titles": _publish_damaged(lambda folder: (folder / TITLES).unlink()),
    "half a table": _publish_damaged(_halve_categories),
    "pickle": _publish_damaged(content(EMBEDDINGS, pickle.dumps({"title": [[1.0]]}))),
    "no folder": _publish_damaged(shutil.rmtree),
    "escapes": lambda publisher: point(publisher.registry.root, "../../../etc"),
    "pointer to nothing": lambda publisher: point(publisher.registry.root, "v9999"),
    "no pointer": lambda publisher: write_current(publisher.registry.root, "\x00{"),
}
"""By name: functions that leave the registry pointing at something that no consumer may take up."""
