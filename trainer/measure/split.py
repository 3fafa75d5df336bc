"""Choosing which postings to hold out: a part of the rows or of the titles, drawn with a seed, or the latest ones."""

import hashlib
import random
import re
from collections import defaultdict
from collections.abc import Hashable, Sequence
from itertools import product
from typing import Literal

ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
SplitKind = Literal["random", "title", "time", "digest"]


def hold_out(
    labels: Sequence[Hashable],
    titles: Sequence[str],
    *,
    share: float,
    seed: int,
    kind: SplitKind = "random",
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


def split_three_ways(
    labels: Sequence[Hashable],
    titles: Sequence[str],
    dates: Sequence[str | None],
    *,
    holdout: float,
    calibration: float,
    rounds: int = 1,
    seed: int,
    kind: SplitKind,
) -> tuple[list[bool], list[list[bool]]]:
    """Return which rows to measure on, and for each round which rows to calibrate on. No row is chosen twice.

    Half of the rows to calibrate on are drawn as rows, and half as whole titles. Titles that training has met and new titles
    are calibrated separately, and both kinds need enough rows.
    """
    tested = hold_out(labels, titles, share=holdout, seed=seed, kind=kind, dates=dates)
    taken, parts = list(tested), [[False] * len(tested) for _ in range(rounds)]
    halves: tuple[SplitKind, SplitKind] = ("random", "title")
    for turn, (part, half) in enumerate(product(parts, halves), start=1):
        rest = [row for row, is_taken in enumerate(taken) if not is_taken]
        chosen = hold_out(
            [labels[row] for row in rest], [titles[row] for row in rest], share=calibration / 2, seed=seed + turn, kind=half
        )
        for row, is_chosen in zip(rest, chosen, strict=True):
            part[row] = part[row] or is_chosen
            taken[row] = is_chosen
    return tested, parts


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
