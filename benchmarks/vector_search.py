"""Exact against approximate search over a model's own vectors, on the same titles: the reason why serving searches exactly.

Some 10^3 categories and 10^4 to 10^5 exemplars make one matrix product per batch. It is bound by memory, and costs a title a
fraction of what the encoder costs. An approximate index saves part of that fraction, and misses some neighbours.

    python -m benchmarks.vector_search --registry registry/ [--version VERSION] [--queries 2000]
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import faiss
import numpy as np
import pyarrow.parquet as pq
import torch

import consumer  # noqa: F401 - quiets OpenMP before torch starts it
from benchmarks.machine import print_result
from consumer.registry.folder import FolderRegistry
from trainer.export_vectors import TABLE, export

K = 50
BATCH = 256


def main() -> None:
    """Measure, print a line per way on standard error and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--registry", type=Path, required=True, help="the registry of the model whose vectors are searched")
    parser.add_argument("--version", help="of the registry (default: the one in service)")
    parser.add_argument("--queries", type=int, default=2_000, help="titles to search for (2000)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, whose median time is quoted (5)")
    options = parser.parse_args()
    matrix = read_vectors(options.registry, options.version)
    batches = draw_queries(matrix, options.queries)
    truth = np.concatenate([search_exactly(matrix)(batch) for batch in batches])
    figures = {}
    for name, make_search in SEARCHES.items():
        figures[name] = measure(make_search(matrix), batches, truth, options.rounds)
        print(name, figures[name], file=sys.stderr)
    print_result("vector_search", vectors=len(matrix), dim=matrix.shape[1], figures=figures)


def draw_queries(matrix: np.ndarray, count: int) -> list[np.ndarray]:
    """Return batches of queries `(BATCH, dim)` that are near known titles, as postings are, but not equal to them."""
    rng = np.random.default_rng(0)
    drawn = matrix[rng.choice(len(matrix), min(count, len(matrix)), replace=False)]
    queries = drawn + 0.02 * rng.normal(size=drawn.shape).astype("float32")
    return np.array_split(queries, -(-len(queries) // BATCH))


def measure(search: "Search", batches: Sequence[np.ndarray], truth: np.ndarray, rounds: int) -> dict[str, float]:
    """Return the median time of a title in microseconds, and how many of the true neighbours `(queries, K)` were found."""
    seconds, found = [], truth
    for _ in range(rounds):
        started = time.perf_counter()
        found = np.concatenate([search(batch) for batch in batches])
        seconds.append(time.perf_counter() - started)
    recall = np.mean([len(set(a) & set(b)) / K for a, b in zip(found.tolist(), truth.tolist(), strict=True)])
    return {
        "us_per_title": round(statistics.median(seconds) / len(truth) * 1e6, 1),
        "recall_at_50": round(float(recall), 4),
        "same_nearest": round(float((found[:, 0] == truth[:, 0]).mean()), 4),
    }


def read_vectors(registry: Path, version: str | None) -> np.ndarray:
    """Return a version's vectors `(rows, dim)`, as exported."""
    folder = FolderRegistry(registry)
    with tempfile.TemporaryDirectory() as work:
        export(folder.load(version or folder.read_current() or ""), Path(work), lambda line: print(line, file=sys.stderr))
        column = pq.read_table(Path(work) / TABLE)["vector"].combine_chunks()
        matrix: np.ndarray = column.flatten().to_numpy().reshape(len(column), -1).copy()
    return matrix


Search = Callable[[np.ndarray], np.ndarray]
"""From queries `(n, dim)` to the row numbers of their nearest `(n, K)`, nearest first."""


def search_exactly(matrix: np.ndarray) -> Search:
    """Search as serving does: one product, one top-k."""
    rows = torch.from_numpy(matrix)
    return lambda queries: (torch.from_numpy(queries) @ rows.T).topk(K, dim=1).indices.numpy()


def search_flat_index(matrix: np.ndarray) -> Search:
    """Search exactly with FAISS."""
    return _search_index(faiss.IndexFlatIP(matrix.shape[1]), matrix)


def search_hnsw(matrix: np.ndarray) -> Search:
    """Search a graph of 32 neighbours a node."""
    index = faiss.IndexHNSWFlat(matrix.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efSearch = 64
    return _search_index(index, matrix)


def search_cells(matrix: np.ndarray) -> Search:
    """Search the 8 nearest of 256 cells."""
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(matrix.shape[1]), matrix.shape[1], 256, faiss.METRIC_INNER_PRODUCT)
    index.train(matrix)
    index.nprobe = 8
    return _search_index(index, matrix)


def _search_index(index: faiss.Index, matrix: np.ndarray) -> Search:
    index.add(matrix)
    return lambda queries: index.search(np.ascontiguousarray(queries), K)[1]


SEARCHES: dict[str, Callable[[np.ndarray], Search]] = {
    "exact, torch": search_exactly,
    "exact, FAISS flat": search_flat_index,
    "HNSW 32": search_hnsw,
    "IVF 256, 8 probes": search_cells,
}
"""By name: makers of a search over a matrix `(rows, dim)`."""


if __name__ == "__main__":
    main()
