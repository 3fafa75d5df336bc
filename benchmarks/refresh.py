"""Time of a refresh with 1,000 new titles over 60,000 cached ones, and the time until a running consumer serves the version.

Two real commands run in processes of their own. `occustream-trainer serve` makes a first version and then meets a file of
postings whose titles it never saw. `occustream-consumer run` serves on the embedded broker, and its /metrics names the version.
A refresh is timed from the moment the file is there until the new version is promoted. Only new titles are cleaned and embedded;
the rest of the time goes into reading, a fit without held-out rows, the gate, the fit to all rows and publishing.

    python -m benchmarks.refresh --postings labelled.csv --onet db_29_3_text/ [--new 1000]
"""

import argparse
import contextlib
import csv
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.machine import print_result
from consumer.registry.folder import FolderRegistry
from deploy.local_stack import (
    embedded_broker,
    free_port,
    read_lag_and_version,
    running_consumer,
    topic_names,
    touched_topics,
)
from schemas.text import clean_title, title_key
from trainer.measure.figures import Figures

LOOK_S = 0.05
SERVED_S = 60.0


def main() -> None:
    """Measure and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--postings", type=Path, required=True, help="labelled postings, CSV with the column TITLE_RAW")
    parser.add_argument("--onet", required=True, help="O*NET text release; all its titles are used")
    parser.add_argument("--new", type=int, default=1_000, help="titles of the second refresh that the first did not have (1000)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="occustream-refresh-") as work:
        print_result("refresh", **measure(Path(work), options.postings, options.onet, options.new))


def measure(work: Path, postings: Path, onet: str, new_titles: int) -> Figures:
    """Have a service make a first version and refresh it on new titles while a consumer serves; return times and figures."""
    folder, registry = work / "labelled", FolderRegistry(work / "registry")
    folder.mkdir()
    old, new = split_rows(postings, new_titles)
    write_rows(folder / "old.csv", old)
    write_rows(work / "new.csv", new)
    with contextlib.ExitStack() as stack:
        began = time.monotonic()
        service = stack.enter_context(running_service(work, folder, onet, registry.root))
        first = wait_promoted(registry, service, after=None)
        first_s = time.monotonic() - began
        port = stack.enter_context(serving_consumer(registry.root))
        started = time.monotonic()
        (work / "new.csv").rename(folder / "new.csv")
        version = wait_promoted(registry, service, after=first)
        promoted_at = time.monotonic()
        wait_served(port, version)
        served_s = time.monotonic() - promoted_at
        manifest = registry.load(version).manifest
    return {
        "first_seconds": round(first_s, 1),
        "refresh_seconds": round(promoted_at - started, 1),
        "served_after_promotion_seconds": round(served_s, 2),
        "reasons": manifest.training.get("reasons"),
        "cached_titles": manifest.training["distinct_titles"] - new_titles,
        "new_titles": new_titles,
        "metrics": {name: manifest.metrics[name] for name in ("rows", "top_1", "top_5", "ece")},
    }


@contextlib.contextmanager
def running_service(work: Path, folder: Path, onet: str, registry: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run `occustream-trainer serve` over the labelled files in `folder`; stop it at the end."""
    command = [sys.executable, "-m", "trainer", "serve", "--postings", str(folder), "--onet", onet, "--onet-titles", "100000"]
    command += ["--registry", str(registry), "--state", str(work / "state"), "--http-port", str(free_port())]
    command += ["--look-s", "1", "--min-interval-s", "1"]
    service = subprocess.Popen(command)
    try:
        yield service
    finally:
        service.terminate()
        service.wait()


@contextlib.contextmanager
def serving_consumer(registry: Path) -> Iterator[int]:
    """Run a consumer on the embedded broker, and yield the port of its metrics."""
    with contextlib.ExitStack() as stack:
        servers, topics, port = stack.enter_context(embedded_broker()), topic_names(), free_port()
        stack.enter_context(touched_topics(servers, topics.values()))
        stack.enter_context(running_consumer(servers, topics, registry, port, embedded=True))
        yield port


def split_rows(postings: Path, count: int) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Draw `count` titles at random; return the rows with other titles, and the rows with these."""
    with postings.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    keys = [title_key(clean_title(row["TITLE_RAW"])) for row in rows]
    chosen = set(random.Random(0).sample(sorted(set(keys)), count))  # noqa: S311 - a sample
    parts: tuple[list[dict[str, str]], list[dict[str, str]]] = ([], [])
    for row, key in zip(rows, keys, strict=True):
        parts[key in chosen].append(row)
    return parts


def write_rows(path: Path, rows: Sequence[dict[str, str]]) -> None:
    """Write a CSV file of rows."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def wait_promoted(registry: FolderRegistry, service: subprocess.Popen[bytes], *, after: str | None) -> str:
    """Wait until another version than `after` is in service, and return it. Raises RuntimeError when the service ends."""
    while (version := registry.read_current()) == after or version is None:
        if service.poll() is not None:
            raise RuntimeError(f"the service ended with status {service.returncode}")
        time.sleep(LOOK_S)
    return version


def wait_served(port: int, version: str) -> None:
    """Wait until a consumer's metrics say that it serves `version`, at most `SERVED_S`."""
    deadline = time.monotonic() + SERVED_S
    while read_lag_and_version(port)[1] != version and time.monotonic() < deadline:
        time.sleep(LOOK_S)


if __name__ == "__main__":
    main()
