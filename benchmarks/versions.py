"""Titles per second through `Scorer.score` of two model versions, say one with a transformer and one with a static encoder.

Each title is scored once, from the text as posted to its codes, groups, decision and evidence, so that no cache helps. A
transformer keeps all cores busy from one process. Token vectors are looked up so fast that most of the time goes into Python
itself, so a second process helps, as a second consumer would. Both ways are measured, in alternating rounds, and the faster one
is quoted.

    python -m benchmarks.versions --registry frozen/ static/ --titles labelled.csv [--count 2000 20000] [--without exemplars]
"""

import argparse
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Sequence
from multiprocessing.synchronize import Barrier
from pathlib import Path

import torch

from benchmarks.inputs import read_titles
from benchmarks.machine import print_result
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
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each way (3)")
    options = parser.parse_args()
    given = read_titles(options.titles)
    cores = os.cpu_count() or 1
    found: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        for registry, count in zip(options.registry, options.count, strict=True):
            titles = make_distinct(given, count)
            for processes, threads in {(1, cores), (cores, 1)}:
                rate = measure_rate(registry, titles, options.without, processes, threads)
                found.setdefault(f"{registry}: {processes} process(es) of {threads} thread(s)", []).append(rate)
    medians = {name: round(statistics.median(rates)) for name, rates in found.items()}
    for name, rate in medians.items():
        print(f"{name}: {rate:,} titles/s", file=sys.stderr)
    best = [max(rate for name, rate in medians.items() if name.startswith(f"{registry}: ")) for registry in options.registry]
    print_result("versions", titles_per_second=medians, ratio=round(best[1] / best[0], 1))


def make_distinct(titles: Sequence[str], count: int) -> list[str]:
    """Return `count` distinct titles; where there are not enough, further ones get a number."""
    rounds = -(-count // len(titles))
    return [f"{title} {turn}" if turn else title for turn in range(rounds) for title in titles][:count]


def measure_rate(registry: Path, titles: Sequence[str], without: Sequence[str], processes: int, threads: int) -> float:
    """Return the titles per second of all processes together; each scores its share, and the clock starts when all are ready."""
    context = multiprocessing.get_context("spawn")
    barrier, times = context.Barrier(processes), context.Queue()
    shares = [titles[start::processes] for start in range(processes)]
    workers = [context.Process(target=score_share, args=(registry, share, without, threads, barrier, times)) for share in shares]
    for worker in workers:
        worker.start()
    spans = [times.get() for _ in workers]
    for worker in workers:
        worker.join()
    seconds: float = max(end for _, end in spans) - min(start for start, _ in spans)
    return len(titles) / seconds


def score_share(
    registry: Path,
    titles: Sequence[str],
    without: Sequence[str],
    threads: int,
    barrier: Barrier,
    times: "multiprocessing.Queue[tuple[float, float]]",
) -> None:
    """Score the titles in this process, and put the moments of its start and its end into `times`."""
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
