"""The export of a version's vectors to other systems: a Parquet table and, if faiss is installed, a FAISS index."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from consumer.errors import ConfigError
from consumer.registry.artifact import Artifact
from trainer.options import Say

TABLE, INDEX = "vectors.parquet", "vectors.faiss"
NO_INDEX = f"no {INDEX}: faiss is not installed (pip install faiss-cpu)"


def export(artifact: Artifact, folder: Path, say: Say) -> int:
    """Write the category embeddings and the exemplars of a version to `folder`; returns the number of rows.

    Columns: `kind` (category, exemplar), `onet_code`, `onet_title`, `title` (a known title, or the occupation's own), `weight`
    (in postings), `vector` (`(dim,)` float32, length 1). The index holds the same rows in the same order and searches by inner
    product, which is the cosine here. Files of an earlier export are replaced once all new ones are written. Raises
    ConfigError if the folder cannot be written.
    """
    table = _make_table(artifact)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as staging:
            pq.write_table(table, Path(staging, TABLE), compression="zstd")
            indexed = _write_index(_stack_vectors(artifact), Path(staging, INDEX))
            (folder / INDEX).unlink(missing_ok=True)  # an old index must never stand beside the new table: its rows are others
            for name in (TABLE, INDEX) if indexed else (TABLE,):
                Path(staging, name).replace(folder / name)
    except (OSError, RuntimeError) as error:  # RuntimeError is FAISS's
        raise ConfigError(f"{folder} cannot be written: {getattr(error, 'strerror', None) or error}") from error
    say(f"wrote {table.num_rows:,} vectors to {folder / TABLE}")
    say(f"wrote a FAISS index of the same rows to {folder / INDEX}" if indexed else NO_INDEX)
    return int(table.num_rows)


def _make_table(artifact: Artifact) -> pa.Table:
    rows, matrix = list(_list_rows(artifact)), _stack_vectors(artifact)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])
    columns = list(zip(*rows, strict=True))
    manifest = artifact.manifest
    about = {"version": manifest.version, "encoder": manifest.encoder.id, "encoder_sha256": manifest.encoder.sha256}
    names = ("kind", "onet_code", "onet_title", "title", "weight")
    table = pa.table({**{name: pa.array(column) for name, column in zip(names, columns, strict=True)}, "vector": vectors})
    return table.replace_schema_metadata({f"occustream.{name}": value for name, value in about.items()})


def _list_rows(artifact: Artifact) -> Iterator[tuple[str, str, str, str, float]]:
    categories = artifact.tensors.categories
    for category in categories:
        yield "category", category.onet_code, category.onet_title, category.onet_title, float(category.postings)
    count = artifact.manifest.exemplars.count if artifact.manifest.exemplars else 0
    for known in artifact.tensors.titles[:count]:
        category = categories[known.category]
        yield "exemplar", category.onet_code, category.onet_title, known.title, known.weight


def _stack_vectors(artifact: Artifact) -> np.ndarray:
    """Return all vectors as unit rows `(rows, dim)` float32, categories first, then exemplars."""
    tensors = artifact.tensors
    parts = [tensors.title.float().numpy()]
    if artifact.manifest.exemplars and tensors.exemplars is not None:
        parts.append(tensors.exemplars.float().numpy())
    matrix = np.concatenate(parts)
    unit: np.ndarray = np.ascontiguousarray(matrix / np.linalg.norm(matrix, axis=1, keepdims=True), dtype="float32")
    return unit


def _write_index(matrix: np.ndarray, path: Path) -> bool:
    """Write the index; returns False, and writes nothing, if faiss is not installed."""
    try:
        import faiss  # noqa: PLC0415 - an optional extra that takes seconds to import
    except ImportError:
        return False
    index = faiss.IndexFlatIP(matrix.shape[1])
    index.add(matrix)
    faiss.write_index(index, str(path))
    return True
