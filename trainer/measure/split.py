"""Choosing which postings to hold out: a part of the rows or titles, drawn with a seed, the latest ones, or those of a source."""

import hashlib
import random
import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
DrawnSplit = Literal["random", "title", "time", "digest"]
"""The kinds of split that hold out a share of the rows."""
SplitKind = Literal[DrawnSplit, "source"]
LEAST_SOURCE_ROWS = 30
"""A source with fewer rows is not held out: figures of it would be chance."""
MOST_SOURCES = 6
"""Only so many sources, the largest ones, are held out in turn: each takes fits of its own."""


@dataclass(frozen=True, slots=True)
class Split:
    """A way to hold rows out: a kind, and for the kind `source` the source whose rows are held out."""

    kind: SplitKind
    source: str | None = None

    @property
    def name(self) -> str:
        """The name that reports show."""
        return self.kind if self.source is None else f"{self.kind} {self.source}"


def hold_out(
    labels: Sequence[Hashable],
    titles: Sequence[str],
    *,
    share: float,
    seed: int,
    kind: DrawnSplit = "random",
    dates: Sequence[str | None] = (),
) -> list[bool]:
    """Return for each row whether it is held out.

    - `random`: about `share` of each label's rows. At least one row of a label stays in training.
    - `title`: about `share` of the distinct titles, each with all its rows, so that no title is on both sides.
    - `digest`: the same, but a hash of the title decides. A title that is held out once is held out in every run, whatever
      rows come or go. `seed` is not used.
    - `time`: the latest rows, about `share` of those whose entry in `dates` starts with an ISO date. The others stay in
      training.
    """
    if kind == "time":
        return _hold_out_latest(dates, share)
    if kind == "digest":
        return [_hash_to_share(title) < share for title in titles]
    rng = random.Random(seed)  # noqa: S311 - a split, not a secret
    if kind == "title":
        distinct = sorted(set(titles))
        chosen = set(rng.sample(distinct, round(share * len(distinct))))
        return [title in chosen for title in titles]
    rows_of: defaultdict[Hashable, list[int]] = defaultdict(list)
    for row, label in enumerate(labels):
        rows_of[label].append(row)
    held: set[int] = set()
    for rows in rows_of.values():
        # Rounding at random keeps the share of small categories correct on average.
        count = min(len(rows) - 1, int(share * len(rows) + rng.random()))
        held.update(rng.sample(rows, count))
    return [row in held for row in range(len(labels))]


def list_sources(sources: Sequence[str | None]) -> list[str]:
    """Return the sources to hold out in turn, the largest first: MOST_SOURCES at most, each of LEAST_SOURCE_ROWS at least."""
    counts = Counter(source for source in sources if source)
    found = [source for source, rows in counts.items() if rows >= LEAST_SOURCE_ROWS]
    return sorted(found, key=lambda source: (-counts[source], source))[:MOST_SOURCES]


def draw_calibration_rows(
    labels: Sequence[Hashable], titles: Sequence[str], tested: Sequence[bool], *, calibration: float, rounds: int = 1, seed: int
) -> list[list[bool]]:
    """Return for each round which rows to calibrate on. No row is chosen twice, and none that is `tested`.

    Half of the rows to calibrate on are drawn as rows, and half as whole titles. Titles that training has met and new titles
    are calibrated separately, and both kinds need enough rows.
    """
    taken, parts = list(tested), [[False] * len(tested) for _ in range(rounds)]
    halves: tuple[DrawnSplit, DrawnSplit] = ("random", "title")
    for turn, (part, half) in enumerate(product(parts, halves), start=1):
        rest = [row for row, is_taken in enumerate(taken) if not is_taken]
        chosen = hold_out(
            [labels[row] for row in rest], [titles[row] for row in rest], share=calibration / 2, seed=seed + turn, kind=half
        )
        for row, is_chosen in zip(rest, chosen, strict=True):
            part[row] = part[row] or is_chosen
            taken[row] = is_chosen
    return parts


def _hold_out_latest(dates: Sequence[str | None], share: float) -> list[bool]:
    """Return which rows are the latest. Rows of one day stay together: the first day held out is held out whole."""
    days = [date[:10] if date and ISO_DATE.match(date) else None for date in dates]
    dated = sorted((day for day in days if day), reverse=True)
    if not dated:
        return [False] * len(days)
    first = dated[min(round(share * len(dated)), len(dated)) - 1] if share * len(dated) >= 1 else dated[0]
    return [day is not None and day >= first for day in days]


def _hash_to_share(title: str) -> float:
    """Return a number from 0 to 1 that looks random and is always the same for the same title."""
    return int.from_bytes(hashlib.sha256(title.encode("utf-8", "surrogatepass")).digest()[:8], "big") / 2**64
