"""Attacks on a published version of the tiny model: the reason for which each is refused, and what does the damage."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from consumer.registry.artifact import CHECKSUM, MAX_BYTES, checksum
from faults.tampering import ALL_FILES, Damage, content, cut, lie, moved_out, replaced, sparse, tensor
from schemas.artifact import CATEGORIES, EMBEDDINGS, FORMAT, MANIFEST, TITLES, GoldenTitle
from tests.support.tiny_model import THRESHOLDS, BodyEncoder, LetterEncoder, LineEncoder, parts_with_body

ALL = parts_with_body()
TITLE, LINE, BODY = (kind.ref.model_dump() for kind in (LetterEncoder, LineEncoder, BodyEncoder))
DEEP = "[" * 200_000
CATEGORY = '{"onet_code": "%s", "onet_title": "%s"}'
NURSE, COOK, DRIVER = (CATEGORY % pair for pair in (("29-1141.00", "N"), ("35-2014.00", "C"), ("53-3032.00", "D")))
WELL = '[["Cook", 1, 1], ["Nurse", 0, 1], ["Driver", 2, 1], '


def changed(of: str, **changes: Any) -> dict[str, Any]:
    """A part of the manifest as it is, with some of its fields changed."""
    part: dict[str, Any] = ALL[of].model_dump(mode="json")
    return part | changes


def pickled(marker: Path) -> bytes:
    """A pickle that makes a file when it is loaded."""

    class Payload:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
            return os.mkdir, (str(marker),)

    return pickle.dumps(Payload())


def header(text: str, *, claimed: int | None = None) -> bytes:
    """A safetensors file of a header alone."""
    return (len(text) if claimed is None else claimed).to_bytes(8, "little") + text.encode()


MATRICES: dict[str, tuple[str, Callable[[torch.Tensor], torch.Tensor | None]]] = {
    "missing": ("shape", lambda _: None),
    "a row too few": ("shape", lambda t: t[:-1]),
    "a row too many": ("shape", lambda t: torch.cat((t, t[:1]))),
    "a column too few": ("shape", lambda t: t[:, :-1]),
    "one row instead of a matrix": ("shape", lambda t: t[0]),
    "of whole numbers": ("shape", lambda t: t.to(torch.int64)),
    "NaN": ("not_finite", lambda t: torch.where(torch.arange(len(t))[:, None] == 1, float("nan"), t)),
    "infinite": ("not_finite", lambda t: t / 0),
    "beyond single precision": ("not_finite", lambda t: t * 1e30),
    "a row of zeros": ("zero_row", lambda t: t * (torch.arange(len(t))[:, None] != 1)),
    "rows of length 1.1": ("not_unit", lambda t: t * 1.1),
    "rows of length 1e-3": ("zero_row", lambda t: t * 1e-3),
}
ATTACKS: dict[str, tuple[str, Damage]] = {
    "no folder": ("missing", shutil.rmtree),
    "a file where its folder should be": ("unreadable", lambda f: (shutil.rmtree(f), f.write_text(""))),
    **{f"no {name}": ("missing", replaced(name, lambda _: None)) for name in ALL_FILES},
    **{f"{name} is a folder": ("path", replaced(name, Path.mkdir)) for name in ALL_FILES},
    **{f"{name} is a pipe": ("path", replaced(name, os.mkfifo)) for name in ALL_FILES},
    **{f"{name} leads out of the registry": ("path", moved_out(name)) for name in ALL_FILES},
    **{f"{name} leads to a device": ("path", replaced(name, lambda p: p.symlink_to("/dev/zero"))) for name in ALL_FILES},
    **{f"{name} leads to itself": ("path", replaced(name, lambda p: p.symlink_to(p))) for name in ALL_FILES},
    **{f"{name} is huge": ("too_large", replaced(name, sparse(MAX_BYTES[name] + 1))) for name in ALL_FILES},
    **{f"{name} cut short": ("manifest" if name == MANIFEST else "digest", cut(name, 0.9)) for name in ALL_FILES},
    **{f"{name} is empty": ("manifest" if name == MANIFEST else "digest", cut(name, 0)) for name in ALL_FILES},
    # a manifest that lies
    "manifest of a later format": ("format", lie(format=99)),
    "manifest of an earlier format": ("format", lie(format=2)),
    "manifest of a format that is no number": ("format", lie(format="x" * 10_000)),
    "manifest of another version": ("manifest", lie(version="v3")),
    "manifest of a version that is a path": ("manifest", lie(version="../versions/v2")),
    "manifest lists no files": ("manifest", lie(files={})),
    "manifest lists the digests of another file": ("digest", lie(files=dict.fromkeys(ALL_FILES, "0" * 64))),
    "manifest is too deep": ("manifest", replaced(MANIFEST, lambda p: p.write_text(DEEP))),
    "manifest is a list": ("manifest", replaced(MANIFEST, lambda p: p.write_text("[]"))),
    "manifest is a list of names": ("manifest", replaced(MANIFEST, lambda p: p.write_text('["format"]'))),
    "manifest without checksum": ("digest", lambda f: (f / MANIFEST).write_text(json.dumps({"format": FORMAT}))),
    "manifest of nothing else": (
        "manifest",
        replaced(MANIFEST, lambda p: p.write_text(json.dumps({"format": FORMAT, CHECKSUM: checksum({"format": FORMAT})}))),
    ),
    "manifest is no UTF-8": ("manifest", replaced(MANIFEST, lambda p: p.write_bytes(b'{"a": "\xff"}'))),
    "trained at no time": ("manifest", lie(trained_at="yesterday")),
    "trained in the year 1, somewhere": ("manifest", lie(trained_at="0001-01-01T00:00:00")),
    "without calibration": ("manifest", lie(calibration=None)),
    "a mix without weights": ("manifest", lie(mix={"title_weight": 0})),
    "a mix of NaN": ("manifest", lie(mix=changed("mix", scale=float("nan")))),
    "a weight beyond all floats": ("manifest", lie(mix=changed("mix", body_weight=1e39))),
    "a scale beyond all floats": ("manifest", lie(mix=changed("mix", body_scale=1e39))),
    "a sharpness beyond all floats": (
        "manifest",
        lie(calibration=changed("calibration", body={**THRESHOLDS.model_dump(), "sharpness": 1e39})),
    ),
    "a vote that divides by nothing": ("golden", lie(exemplars=changed("exemplars", temperature=1e-60))),
    "more exemplars than there are": ("shape", lie(exemplars=changed("exemplars", count=4))),
    "more exemplars than anything": ("manifest", lie(exemplars=changed("exemplars", count=10**30))),
    "a taxonomy of a million characters": ("manifest", lie(taxonomy_version="x" * 1_000_000)),
    "a million golden titles": (
        "manifest",
        lie(golden=[GoldenTitle(title="x", onet_code="29-1141.00", score=1).model_dump()] * 1_001),
    ),
    "another template": ("format", lie(template="title-v0")),
    "no golden titles": ("golden", lie(golden=[])),
    "a golden title it gets wrong": (
        "golden",
        lie(golden=[{"title": "Cooks, Restaurant", "onet_code": "29-1141.00", "score": 1}]),
    ),
    "a golden score it does not reach": (
        "golden",
        lie(golden=[{"title": "Cooks, Restaurant", "onet_code": "35-2014.00", "score": 0.9}]),
    ),
    # another encoder
    "an encoder of other dimensions": ("shape", lie(encoder={**TITLE, "dim": 9})),
    "an encoder of lines of other dimensions": ("shape", lie(line_encoder={**LINE, "dim": 9})),
    "an encoder of bodies of other dimensions": ("shape", lie(body_encoder={**BODY, "dim": 9})),
    "an encoder that is nowhere": ("encoder", lie(encoder={**TITLE, "id": "no such/en coder", "sha256": "1"})),
    "an encoder of lines that is nowhere": (
        "encoder",
        lie(line_encoder={**LINE, "id": "token vectors of this", "sha256": "ab" * 32}),
    ),
    "an encoder whose digest is a path": (
        "encoder",
        lie(encoder={**TITLE, "id": "no such/en coder", "sha256": "../../versions"}),
    ),
    "an encoder whose name is longer than any path": ("encoder", lie(encoder={**TITLE, "id": "x" * 900, "sha256": "1"})),
    "an encoder whose name is a million characters": ("manifest", lie(encoder={**TITLE, "id": "x" * 1_000_000})),
    "an encoder whose name holds a NUL": ("encoder", lie(encoder={**TITLE, "id": "a\0b", "sha256": "1"})),
    "an encoder of no dimensions": ("manifest", lie(encoder={**TITLE, "dim": 0})),
    "an encoder that reads without end": ("manifest", lie(encoder={**TITLE, "max_seq_length": 10**30})),
    # categories
    "categories are no JSON": ("content", content(CATEGORIES, "[")),
    "categories are no list": ("content", content(CATEGORIES, "5")),
    "categories are too deep": ("content", content(CATEGORIES, DEEP)),
    "no categories at all": ("content", content(CATEGORIES, "[]")),
    "a category without code": ("content", content(CATEGORIES, '[{"onet_title": "Cooks"}]')),
    "a category twice": ("content", content(CATEGORIES, f"[{NURSE}, {COOK}, {NURSE}]")),
    "a category missing": ("content", content(CATEGORIES, f"[{NURSE}, {COOK}]")),
    "a category too many": ("shape", content(CATEGORIES, f"[{NURSE}, {COOK}, {DRIVER}, {CATEGORY % ('11-1011.00', 'E')}]")),
    "categories in another order": ("golden", content(CATEGORIES, f"[{COOK}, {NURSE}, {DRIVER}]")),
    "a category of a lone surrogate": (
        "content",
        content(CATEGORIES, f"[{NURSE}, {COOK}, {CATEGORY % ('53-3032.00', chr(92) + 'ud800')}]"),
    ),
    "a category of endless postings": ("content", content(CATEGORIES, f'[{NURSE[:-1]}, "postings": 1{"0" * 400}}}]')),
    # known titles
    "titles are no JSON": ("content", content(TITLES, "[")),
    "titles are too deep": ("content", content(TITLES, DEEP)),
    "titles are no list": ("content", content(TITLES, "5")),
    "a title of two columns": ("content", content(TITLES, '[["Cook", 1]]')),
    "a title of a category out of range": ("content", content(TITLES, f'{WELL}["Cook", 3, 1]]')),
    "a title of a negative category": ("content", content(TITLES, f'{WELL}["Cook", -1, 1]]')),
    "a title that weighs NaN": ("content", content(TITLES, f'{WELL}["Cook", 1, NaN]]')),
    "a title that weighs nothing": ("content", content(TITLES, f'{WELL}["Cook", 1, 0]]')),
    "a title that weighs a number without end": ("content", content(TITLES, f'{WELL}["Cook", 1, 1{"0" * 5_000}]]')),
    "fewer titles than exemplars": ("shape", content(TITLES, '[["Cook", 1, 1], ["Chef", 1, 1]]')),
    # embeddings
    "embeddings are no safetensors": ("content", content(EMBEDDINGS, b"pickle")),
    "a header longer than the file": ("content", content(EMBEDDINGS, header("{}", claimed=2**62))),
    "a header of nothing": ("content", content(EMBEDDINGS, header(""))),
    "a header that is too deep": ("content", content(EMBEDDINGS, header(DEEP))),
    "a header that promises a huge matrix": (
        "content",
        content(EMBEDDINGS, header('{"title": {"dtype": "F32", "shape": [4294967295, 4294967295], "data_offsets": [0, 8]}}')),
    ),
    "a header whose matrices overlap": (
        "content",
        content(
            EMBEDDINGS, header(json.dumps({n: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for n in "ab"})) + b"\0" * 4
        ),
    ),
    "a header of a type that nobody knows": (
        "content",
        content(EMBEDDINGS, header('{"title": {"dtype": "X9", "shape": [1], "data_offsets": [0, 4]}}') + b"\0" * 4),
    ),
    **{
        f"{name}: {what}": (reason, tensor(name, change))
        for name in ("title", "line", "exemplars", "body")
        for what, (reason, change) in MATRICES.items()
    },
    "rows in another order": ("golden", tensor("title", lambda t: t.flip(0))),
}
