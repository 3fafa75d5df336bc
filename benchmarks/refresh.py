"""How long a refresh takes, and until running consumers serve it: 1,000 new titles over 60,000 cached ones.

Both are the real commands in processes of their own: `occustream-trainer serve --once` twice, the second time with postings
whose titles the first one never saw, and `occustream-consumer run` on the embedded broker, whose /metrics says what it serves.
Only the new titles are embedded; what remains is reading, two fits to calibrate on, one for the gate's sake and publishing.

    python benchmarks/refresh.py --postings labelled.csv --onet db_29_3_text/ [--new 1000]
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

from throughput import machine

from consumer.registry import FolderRegistry
from schemas.text import normalise_title

from demo import (  # isort: skip # found by the path that throughput adds
    embedded_broker,
    free_port,
    running_consumer,
    scrape,
    topic_names,
    touched_topics,
)

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
        command = [sys.executable, "-m", "trainer", "serve", "--once", "--postings", str(folder), "--onet", options.onet]
        command += ["--onet-titles", "100000", "--registry", str(registry.root), "--state", str(work / "state")]
        first_s = seconds(command)
        first = registry.current()
        servers, topics, port = stack.enter_context(embedded_broker()), topic_names(), free_port()
        stack.enter_context(touched_topics(servers, topics.values()))
        stack.enter_context(running_consumer(servers, topics, registry.root, port, embedded=True))
        write(folder / "new.csv", new)
        started = time.monotonic()
        refresh = subprocess.Popen(command)
        while (version := registry.current()) == first and refresh.poll() is None:
            time.sleep(LOOK_S)
        promoted = time.monotonic()
        while scrape(port)[1] != version and time.monotonic() - promoted < 60:  # noqa: PLR2004 - seconds
            time.sleep(LOOK_S)
        served = time.monotonic()
        status = refresh.wait()
        ended = time.monotonic()
        manifest = registry.load(version or "").manifest
    print(
        json.dumps(
            {
                "benchmark": "refresh",
                "first_seconds": round(first_s, 1),
                "refresh_seconds": round(ended - started, 1),
                "served_after_promotion_seconds": round(served - promoted, 2) if version != first else None,
                "status": status,
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
    keys = [normalise_title(row["TITLE_RAW"]) for row in rows]
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


def seconds(command: Sequence[str]) -> float:
    """Run a command and return how long it took. Raises CalledProcessError where it fails."""
    started = time.monotonic()
    subprocess.run(command, check=True)
    return time.monotonic() - started


if __name__ == "__main__":
    main()
