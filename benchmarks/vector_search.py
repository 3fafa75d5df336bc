"""Why serving uses the exact product: a model's own vectors searched exactly and by approximate indexes, on the same titles.

Some 10^3 categories and 10^4 to 10^5 exemplars are one matrix product of a batch: memory-bound, a fraction of what the encoder
costs a title. An approximate index saves part of that fraction, and pays with neighbours that it does not find.

    python -m benchmarks.vector_search --registry registry/ [--version VERSION] [--queries 2000]
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
import pyarrow.parquet as pq
import torch

import consumer  # noqa: F401 - quiets OpenMP before torch starts it
from benchmarks.throughput import machine
from consumer.registry.folder import FolderRegistry
from trainer.export_vectors import TABLE, export

K = 50
BATCH = 256


def main() -> None:
    """Measure, print a line per way on standard error and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--registry", type=Path, required=True)
    parser.add_argument("--version")
    parser.add_argument("--queries", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    matrix = vectors(options.registry, options.version)
    rng = np.random.default_rng(0)
    asked = matrix[rng.choice(len(matrix), min(options.queries, len(matrix)), replace=False)]
    asked = asked + 0.02 * rng.normal(size=asked.shape).astype("float32")  # near known titles, as postings are, not on them
    ways = {
        "exact, torch": exact(matrix),
        "exact, FAISS flat": flat(matrix),
        "HNSW 32": hnsw(matrix),
        "IVF 256, 8 probes": ivf(matrix),
    }
    truth = np.concatenate([ways["exact, torch"](part) for part in np.array_split(asked, -(-len(asked) // BATCH))])
    figures = {}
    for name, search in ways.items():
        seconds, found = [], truth
        for _ in range(options.rounds):
            started = time.perf_counter()
            found = np.concatenate([search(part) for part in np.array_split(asked, -(-len(asked) // BATCH))])
            seconds.append(time.perf_counter() - started)
        recall = np.mean([len(set(a) & set(b)) / K for a, b in zip(found.tolist(), truth.tolist(), strict=True)])
        first = float((found[:, 0] == truth[:, 0]).mean())
        figures[name] = {
            "us_per_title": round(statistics.median(seconds) / len(asked) * 1e6, 1),
            "recall_at_50": round(float(recall), 4),
            "same_nearest": round(first, 4),
        }
        print(name, figures[name], file=sys.stderr)
    print(
        json.dumps(
            {"benchmark": "vector_search", "vectors": len(matrix), "dim": matrix.shape[1], "figures": figures, **machine()}
        )
    )


def vectors(registry: Path, version: str | None) -> np.ndarray:
    """Return a version's vectors `(rows, dim)`, as exported."""
    folder = FolderRegistry(registry)
    with tempfile.TemporaryDirectory() as work:
        export(folder.load(version or folder.read_current() or ""), Path(work), lambda line: print(line, file=sys.stderr))
        column = pq.read_table(Path(work) / TABLE)["vector"].combine_chunks()
        matrix: np.ndarray = column.flatten().to_numpy().reshape(len(column), -1).copy()
    return matrix


Search = Callable[[np.ndarray], np.ndarray]


def exact(matrix: np.ndarray) -> Search:
    """Search as serving does: one product, one top-k."""
    rows = torch.from_numpy(matrix)
    return lambda asked: (torch.from_numpy(asked) @ rows.T).topk(K, dim=1).indices.numpy()


def flat(matrix: np.ndarray) -> Search:
    """Search exactly with FAISS."""
    return _of(faiss.IndexFlatIP(matrix.shape[1]), matrix)


def hnsw(matrix: np.ndarray) -> Search:
    """Search a graph of 32 neighbours a node."""
    index = faiss.IndexHNSWFlat(matrix.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efSearch = 64
    return _of(index, matrix)


def ivf(matrix: np.ndarray) -> Search:
    """Search the 8 nearest of 256 cells."""
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(matrix.shape[1]), matrix.shape[1], 256, faiss.METRIC_INNER_PRODUCT)
    index.train(matrix)
    index.nprobe = 8
    return _of(index, matrix)


def _of(index: faiss.Index, matrix: np.ndarray) -> Search:
    index.add(matrix)
    return lambda asked: index.search(np.ascontiguousarray(asked), K)[1]


if __name__ == "__main__":
    main()
