"""The titles and the models that benchmarks measure with."""

import csv
import json
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from consumer.model.scorer import Scorer
from consumer.model.serving_options import Precision, ServingOptions
from consumer.registry.folder import FolderRegistry
from consumer.registry.loader import ScorerLoader
from deploy.feed import events
from deploy.feed_shapes import flat_row


def read_titles(file: Path) -> list[str]:
    """Return the distinct titles in the column TITLE_RAW of a CSV file, in the order of the file."""
    with file.open(encoding="utf-8-sig", newline="") as lines:
        return list(dict.fromkeys(row["TITLE_RAW"] for row in csv.DictReader(lines)))


def choose_titles(file: Path | None, count: int) -> list[str]:
    """Return `count` distinct titles, shuffled: from a CSV file, or the built-in ones with places added.

    Raises SystemExit where there are not so many.
    """
    titles = read_titles(file) if file else _made_up_titles(20 * count)
    if len(titles) < count:
        raise SystemExit(f"only {len(titles)} distinct titles; lower --count")
    return random.Random(0).sample(titles, count)  # noqa: S311 - a sample, not a secret


def _made_up_titles(postings: int) -> list[str]:
    values = (
        json.loads(event.value) for event in islice(events(shapes=[flat_row], broken_share=0.0, deleted_share=0.0), postings)
    )
    return list(dict.fromkeys(value["TITLE_RAW"] for value in values))


def write_postings(titles: Sequence[str]) -> Iterator[bytes]:
    """Yield a posting per title, as JSON."""
    for number, title in enumerate(titles):
        yield json.dumps({"ID": f"p{number}", "TITLE_RAW": title}).encode()


def publish_category_names(registry: Path) -> Path:
    """Publish a version that knows the 1,016 occupation names and nothing else, and return the registry's folder."""
    options = ["--postings", "starter", "--method", "direct", "--registry", str(registry)]
    subprocess.run([sys.executable, "-m", "trainer", "train", *options], check=True, capture_output=True)
    return registry


def load_scorer(registry: Path, precision: Precision, without: Sequence[str]) -> Scorer:
    """Return the serving scorer of the version in service, without its cache of titles and the parts named in `without`."""
    folder = FolderRegistry(registry)
    serving_options = ServingOptions(without=frozenset(without))  # type: ignore[arg-type] # parts by name
    loader = ScorerLoader(folder, precision=precision, cache_size=0, serving_options=serving_options)
    return loader.load(folder.read_current() or "")
