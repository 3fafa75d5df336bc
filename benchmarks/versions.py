"""Titles per second through `Scorer.score` of two model versions, say one with a transformer and one with a static encoder.

From a title as posted to its codes, groups, decision and evidence, each title once, so that no cache helps. A transformer keeps
all cores busy from one process; token vectors are looked up so fast that Python itself is what there is to do, and a second
process, as a second consumer would be, helps. Both are measured, in alternating rounds, and the better one is quoted.

    python -m benchmarks.versions --registry frozen/ static/ --titles labelled.csv [--count 2000 20000] [--without exemplars]
"""

import argparse
import csv
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Sequence
from multiprocessing.synchronize import Barrier
from pathlib import Path

import torch

from benchmarks.throughput import machine
from consumer.model.serving_options import ServingOptions
from consumer.registry.folder import FolderRegistry
from consumer.registry.loader import ScorerLoader

BATCH = 256


def main() -> None:
    """Measure, print a line per way on standard error and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--registry", type=Path, nargs=2, required=True, help="the slower one first; of each, the version in service"
    )
    parser.add_argument("--titles", type=Path, required=True, help="CSV with the column TITLE_RAW")
    parser.add_argument("--count", type=int, nargs=2, default=(2_000, 20_000), help="titles asked of each (2000 20000)")
    parser.add_argument("--without", nargs="*", default=[], help="parts of the models not to use")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with options.titles.open(encoding="utf-8", newline="") as file:
        given = list(dict.fromkeys(row["TITLE_RAW"] for row in csv.DictReader(file)))
    cores = os.cpu_count() or 1
    found: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        for registry, count in zip(options.registry, options.count, strict=True):
            titles = distinct(given, count)
            for processes, threads in {(1, cores), (cores, 1)}:
                rate = titles_per_second(registry, titles, options.without, processes, threads)
                found.setdefault(f"{registry}: {processes} process(es) of {threads} thread(s)", []).append(rate)
    medians = {name: round(statistics.median(rates)) for name, rates in found.items()}
    for name, rate in medians.items():
        print(f"{name}: {rate:,} titles/s", file=sys.stderr)
    best = [max(rate for name, rate in medians.items() if name.startswith(f"{registry}: ")) for registry in options.registry]
    print(json.dumps({"benchmark": "versions", "titles_per_second": medians, "ratio": round(best[1] / best[0], 1), **machine()}))


def distinct(titles: Sequence[str], count: int) -> list[str]:
    """Return so many different titles, some with a number where there are not enough."""
    rounds = -(-count // len(titles))
    return [f"{title} {turn}" if turn else title for turn in range(rounds) for title in titles][:count]


def titles_per_second(registry: Path, titles: Sequence[str], without: Sequence[str], processes: int, threads: int) -> float:
    """Return the rate of all processes together, each with its share of the titles, from when all are ready."""
    context = multiprocessing.get_context("spawn")
    barrier, times = context.Barrier(processes), context.Queue()
    shares = [titles[start::processes] for start in range(processes)]
    workers = [context.Process(target=score, args=(registry, share, without, threads, barrier, times)) for share in shares]
    for worker in workers:
        worker.start()
    spans = [times.get() for _ in workers]
    for worker in workers:
        worker.join()
    seconds: float = max(end for _, end in spans) - min(start for start, _ in spans)
    return len(titles) / seconds


def score(
    registry: Path,
    titles: Sequence[str],
    without: Sequence[str],
    threads: int,
    barrier: Barrier,
    times: "multiprocessing.Queue[tuple[float, float]]",
) -> None:
    """Score the titles in this process; puts when it began and ended."""
    torch.set_num_threads(threads)
    found = FolderRegistry(registry)
    serving_options = ServingOptions(without=frozenset(without))  # type: ignore[arg-type] # parts by name
    scorer = ScorerLoader(found, device="cpu", serving_options=serving_options).load(found.read_current() or "")
    barrier.wait()
    started = time.perf_counter()
    for start in range(0, len(titles), BATCH):
        scorer.score(titles[start : start + BATCH])
    times.put((started, time.perf_counter()))


if __name__ == "__main__":
    main()
