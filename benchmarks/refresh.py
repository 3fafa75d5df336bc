"""How long a refresh takes, and until running consumers serve it: 1,000 new titles over 60,000 cached ones.

Both are the real commands in processes of their own: `occustream-trainer serve`, which makes a first version and then meets a
file of postings whose titles it never saw, and `occustream-consumer run` on the embedded broker, whose /metrics says what it
serves. A refresh is timed from the moment that file is there until the new version is promoted: only new titles are cleaned and
embedded; what remains is reading, a fit without held-out rows, the gate, the fit to all rows and publishing.

    python -m benchmarks.refresh --postings labelled.csv --onet db_29_3_text/ [--new 1000]
"""

import argparse
import contextlib
import csv
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.throughput import machine
from consumer.registry.folder import FolderRegistry
from deploy.demo import (
    embedded_broker,
    free_port,
    running_consumer,
    scrape,
    topic_names,
    touched_topics,
)
from schemas.text import clean_title, title_key

LOOK_S = 0.05


def main() -> None:
    """Measure and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--postings", type=Path, required=True, help="labelled postings, CSV with the column TITLE_RAW")
    parser.add_argument("--onet", required=True, help="O*NET text release; all its titles are used")
    parser.add_argument("--new", type=int, default=1_000, help="titles of the second refresh that the first did not have (1000)")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="occustream-refresh-")))
        folder, registry = work / "labelled", FolderRegistry(work / "registry")
        folder.mkdir()
        old, new = without_titles(options.postings, options.new)
        write(folder / "old.csv", old)
        command = [sys.executable, "-m", "trainer", "serve", "--postings", str(folder), "--onet", options.onet]
        command += ["--onet-titles", "100000", "--registry", str(registry.root), "--state", str(work / "state")]
        command += ["--look-s", "1", "--min-interval-s", "1", "--http-port", str(free_port())]
        began = time.monotonic()
        service = subprocess.Popen(command)
        stack.callback(service.wait)
        stack.callback(service.terminate)
        first = promoted(registry, service, after=None)
        first_s = time.monotonic() - began
        servers, topics, port = stack.enter_context(embedded_broker()), topic_names(), free_port()
        stack.enter_context(touched_topics(servers, topics.values()))
        stack.enter_context(running_consumer(servers, topics, registry.root, port, embedded=True))
        write(work / "new.csv", new)
        (work / "new.csv").rename(folder / "new.csv")
        started = time.monotonic()
        version = promoted(registry, service, after=first)
        ended = time.monotonic()
        while scrape(port)[1] != version and time.monotonic() - ended < 60:  # noqa: PLR2004 - seconds
            time.sleep(LOOK_S)
        served = time.monotonic()
        manifest = registry.load(version).manifest
    print(
        json.dumps(
            {
                "benchmark": "refresh",
                "first_seconds": round(first_s, 1),
                "refresh_seconds": round(ended - started, 1),
                "served_after_promotion_seconds": round(served - ended, 2),
                "reasons": manifest.training.get("reasons"),
                "cached_titles": manifest.training["distinct_titles"] - options.new,
                "new_titles": options.new,
                "metrics": {name: manifest.metrics[name] for name in ("rows", "top_1", "top_5", "ece")},
                **machine(),
            }
        )
    )


def without_titles(postings: Path, count: int) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Return the rows without `count` of the titles, drawn at random, and the rows with them."""
    with postings.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    keys = [title_key(clean_title(row["TITLE_RAW"])) for row in rows]
    chosen = set(random.Random(0).sample(sorted(set(keys)), count))  # noqa: S311 - a sample
    parts: tuple[list[dict[str, str]], list[dict[str, str]]] = ([], [])
    for row, key in zip(rows, keys, strict=True):
        parts[key in chosen].append(row)
    return parts


def write(path: Path, rows: Sequence[dict[str, str]]) -> None:
    """Write a CSV file of rows."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def promoted(registry: FolderRegistry, service: subprocess.Popen[bytes], *, after: str | None) -> str:
    """Wait for another version in service than `after` and return it. Raises RuntimeError when the service ends."""
    while (version := registry.read_current()) == after or version is None:
        if service.poll() is not None:
            raise RuntimeError(f"the service ended with status {service.returncode}")
        time.sleep(LOOK_S)
    return version


if __name__ == "__main__":
    main()
