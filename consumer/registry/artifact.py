"""Writes the files of an artifact once, and reads them as untrusted input. Which version is in service is in `folder.py`.

Every byte has a digest: the manifest holds those of the other files, and its own as `checksum`.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save_file

from consumer.errors import ArtifactError
from consumer.model.mixture import Tensors
from consumer.safe_files import fsync, read_file
from schemas.artifact import CATEGORIES, EMBEDDINGS, FORMAT, MANIFEST, TITLES, Category, KnownTitle, Manifest, write_json

MAX_BYTES = {MANIFEST: 16 << 20, CATEGORIES: 16 << 20, TITLES: 128 << 20, EMBEDDINGS: 4 << 30}
"""The largest size of each file. Real ones have 0.1, 0.1, 4 and 50 MB."""
FILES = (CATEGORIES, TITLES, EMBEDDINGS)
CHECKSUM = "checksum"
DTYPES = (torch.float16, torch.bfloat16, torch.float32)
UNIT_TOLERANCE = 0.01
"""How far the length of a row may be from 1. Half precision needs this room."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """An artifact whose digests and shapes have been checked, in host memory."""

    manifest: Manifest
    tensors: Tensors


def write_artifact(folder: Path, manifest: Manifest, tensors: Tensors) -> Manifest:
    """Write all files of an artifact and wait until they are on the disk. Return the manifest with their digests."""
    stored = {"title": tensors.title, "line": tensors.line, "exemplars": tensors.exemplars, "body": tensors.body}
    save_file({name: tensor.contiguous().cpu() for name, tensor in stored.items() if tensor is not None}, folder / EMBEDDINGS)
    (folder / EMBEDDINGS).chmod(0o644)  # safetensors lets only its owner read a file; a consumer is often another user
    write_json(folder / CATEGORIES, [category.model_dump() for category in tensors.categories])
    (folder / TITLES).write_text(
        json.dumps([[t.title, t.category, round(t.weight, 3)] for t in tensors.titles], ensure_ascii=False), encoding="utf-8"
    )
    digests = {name: _sha256((folder / name).read_bytes()) for name in FILES}
    complete = manifest.model_copy(update={"files": digests})
    fields = complete.model_dump(mode="json")
    write_json(folder / MANIFEST, {**fields, CHECKSUM: checksum(fields)})
    for name in (*FILES, MANIFEST):
        fsync(folder / name)
    fsync(folder)
    return complete


def read_manifest(folder: Path, *, within: Path) -> Manifest:
    """Return the manifest of an artifact folder in the registry `within`. Raises ArtifactError."""
    path = folder / MANIFEST
    try:
        raw = read_file(path, within=within, limit=MAX_BYTES[MANIFEST])
    except ArtifactError as error:
        if error.reason == "missing":
            found = f"no artifact at {folder}: {MANIFEST} is not there"
            way_out = "'occustream-trainer list' shows the versions that are there, 'promote' puts one in service"
            raise ArtifactError("missing", f"{found}; {way_out}") from None
        raise
    _check_format_and_checksum(path, raw)
    try:
        manifest = Manifest.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        text = f"{path} is no manifest: {'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise ArtifactError("manifest", text) from error
    if manifest.version != folder.name:
        text = f"{path} says it is version {manifest.version!r}, but lies in folder {folder.name!r}"
        raise ArtifactError("manifest", text)
    return manifest


def read_artifact(folder: Path, *, within: Path) -> Artifact:
    """Return an artifact in the registry `within` after checking digests, shapes and contents. Raises ArtifactError."""
    manifest = read_manifest(folder, within=within)
    raw = {name: _read_checked(folder / name, manifest.files.get(name), within) for name in FILES}
    try:
        categories = tuple(Category.model_validate(row) for row in json.loads(raw[CATEGORIES]))
        titles = _parse_titles(raw[TITLES])
        stored = load(raw[EMBEDDINGS])
    except (ValueError, TypeError, KeyError, RecursionError, SafetensorError) as error:
        raise ArtifactError("content", f"artifact {folder} cannot be read: {error}") from error
    _check_rows(folder, categories, titles)
    for name, rows, dim in _list_matrices(manifest, len(categories), len(titles)):
        _check_matrix(f"artifact {folder}: {name}", stored.get(name), rows, dim)
    line = stored.get("line") if manifest.line_encoder else None
    body = stored.get("body") if manifest.body_encoder else None
    exemplars = stored.get("exemplars") if manifest.exemplars else None
    return Artifact(manifest, Tensors(categories, stored["title"].float(), line, exemplars, titles, body))


def checksum(fields: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a manifest's fields. Their order, and white space in the file, do not change it."""
    return _sha256(json.dumps({name: fields[name] for name in fields if name != CHECKSUM}, sort_keys=True).encode())


def _check_format_and_checksum(path: Path, raw: bytes) -> None:
    """Refuse a manifest of another format, and one that was changed after it was written. Raises ArtifactError."""
    try:
        fields = json.loads(raw)
        found = checksum(fields) if isinstance(fields, dict) else None
    except (ValueError, RecursionError) as error:
        raise ArtifactError("manifest", f"{path} is no manifest: {error}") from error
    if found is None:
        raise ArtifactError("manifest", f"{path} is no manifest: it holds no JSON object")
    if fields.get("format") != FORMAT:
        text = f"{path} has format {fields.get('format')!r:.20}; this program reads format {FORMAT}: train it again"
        raise ArtifactError("format", text)
    if fields.get(CHECKSUM) != found:
        raise ArtifactError("digest", f"{path} is damaged: its checksum is not that of its fields")


def _read_checked(path: Path, expected: str | None, within: Path) -> bytes:
    """Return the bytes of a file, whose SHA-256 must be the `expected` one. Raises ArtifactError."""
    if expected is None:
        raise ArtifactError("manifest", f"the manifest beside {path} does not list it")
    raw = read_file(path, within=within, limit=MAX_BYTES[path.name])
    if _sha256(raw) != expected:
        raise ArtifactError("digest", f"{path} is damaged: its sha256 is not the manifest's")
    return raw


def _parse_titles(raw: bytes) -> tuple[KnownTitle, ...]:
    """Return the known titles of a file of rows `[title, category, weight]`, a third of the size of as many JSON objects."""
    return tuple(KnownTitle(title=title, category=category, weight=weight) for title, category, weight in json.loads(raw))


def _check_rows(folder: Path, categories: tuple[Category, ...], titles: tuple[KnownTitle, ...]) -> None:
    if not categories:
        raise ArtifactError("content", f"artifact {folder} has no categories")
    if len({category.onet_code for category in categories}) < len(categories):
        raise ArtifactError("content", f"artifact {folder} has two categories of one code")
    if max((title.category for title in titles), default=0) >= len(categories):
        raise ArtifactError("content", f"artifact {folder} knows a title of a category that it does not have")


def _list_matrices(manifest: Manifest, categories: int, titles: int) -> Iterator[tuple[str, int, int]]:
    """Yield the name, rows and columns of every matrix that the manifest names. Raises ArtifactError (shape)."""
    yield "title", categories, manifest.encoder.dim
    if manifest.line_encoder:
        yield "line", categories, manifest.line_encoder.dim
    if manifest.body_encoder:
        yield "body", categories, manifest.body_encoder.dim
    if manifest.exemplars:
        yield "exemplars", manifest.exemplars.count, manifest.encoder.dim
        if titles < manifest.exemplars.count:
            raise ArtifactError("shape", f"version {manifest.version} has fewer known titles than exemplars")


def _check_matrix(what: str, matrix: torch.Tensor | None, rows: int, dim: int) -> None:
    if matrix is None or tuple(matrix.shape) != (rows, dim) or matrix.dtype not in DTYPES:
        found = "none" if matrix is None else f"embeddings of shape {tuple(matrix.shape)} in {matrix.dtype}"
        raise ArtifactError("shape", f"{what}: {found}, not {(rows, dim)} floats")
    lengths = matrix.float().norm(dim=1)
    if not bool(torch.isfinite(lengths).all()):
        raise ArtifactError("not_finite", f"{what}: a row holds NaN or infinite numbers")
    if bool((lengths < UNIT_TOLERANCE).any()):
        raise ArtifactError("zero_row", f"{what}: a row has length zero")
    if bool(((lengths - 1).abs() > UNIT_TOLERANCE).any()):
        raise ArtifactError("not_unit", f"{what}: a row has not length 1")


def _sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
