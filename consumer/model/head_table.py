"""What titles that end in the same role words were: the table that a mixture asks about the head of a title."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain

import torch

from consumer.model.head_words import MAX_WORDS, Head, find_head
from schemas.artifact import KnownTitle
from schemas.text import title_key

NEW_CODE = 2.0
"""How often a head meets a category that it was not seen with, for each category that it was seen with."""
FLOOR = 0.05
"""The share of the probability that all categories have alike, whatever the head."""
COMMON_SHARE = 0.35
"""From this share on of the titles that end in it, one category is what a head names by itself."""
LEAST_SPECIFICITY = -3.0
MIN_TITLES = 3
"""The titles with a head that are needed to say that it is vague."""


class HeadTable:
    """The categories of the distinct titles that end in the same one or two words. Immutable.

    The probability of a category is that of the last two words, which back off to the last word and then to all categories
    alike (Witten and Bell 1991): n titles with k categories count n / (n + NEW_CODE * k).
    """

    def __init__(self, titles: Iterable[KnownTitle], categories: int, device: torch.device) -> None:
        self._categories, self._device = categories, device
        counts = _count(titles)
        self._numbers = {key: number for number, key in enumerate(counts)}
        lengths = [len(of_key) for of_key in counts.values()]
        self._lengths = torch.tensor(lengths, dtype=torch.long, device=device)  # (keys,)
        self._starts = self._lengths.cumsum(0) - self._lengths
        trust = [_trust(of_key) for of_key in counts.values()]
        self._trust = torch.tensor(trust, device=device)
        self._codes = torch.tensor(list(chain.from_iterable(counts.values())), dtype=torch.long, device=device)  # (entries,)
        pairs = zip(trust, counts.values(), strict=True)
        shares = [own * count / of_key.total() for own, of_key in pairs for count in of_key.values()]
        self._shares = torch.tensor(shares, device=device)
        self._specificity = {key: _find_specificity(of_key) for key, of_key in counts.items()}

    def look_up(self, heads: Sequence[Head]) -> torch.Tensor:
        """Return the logarithm of the probability of each category by the heads alone, `(n, categories)`."""
        found = torch.full((len(heads), self._categories), 1 / self._categories, device=self._device)
        keys = [head.keys for head in heads]
        for level in range(MAX_WORDS):
            asked = ((row, of_head[level]) for row, of_head in enumerate(keys) if level < len(of_head))
            met = [(row, self._numbers[key]) for row, key in asked if key in self._numbers]
            if met:
                self._sharpen(found, *(torch.tensor(column, device=self._device) for column in zip(*met, strict=True)))
        return ((1 - FLOOR) * found + FLOOR / self._categories).log_()

    def find_specificity(self, heads: Sequence[Head]) -> torch.Tensor:
        """Return how little each title says if it is nothing but a head that many other titles end in, `(n,)`.

        0 for any other title; below that the logarithm of the greatest share of one category among those titles, divided by
        COMMON_SHARE. It is LEAST_SPECIFICITY at least.
        """
        found = [self._specificity.get(head.keys[-1], 0.0) if head.is_whole and head.words else 0.0 for head in heads]
        return torch.tensor(found, device=self._device)

    def _sharpen(self, found: torch.Tensor, rows: torch.Tensor, numbers: torch.Tensor) -> None:
        """Change the probabilities `(n, categories)` of `rows` by what the heads with these `numbers` say."""
        lengths = self._lengths[numbers]
        ends = lengths.cumsum(0)
        entries = torch.arange(int(ends[-1]), device=self._device)
        entries += torch.repeat_interleave(self._starts[numbers] - ends + lengths, lengths)
        found[rows] *= (1 - self._trust[numbers])[:, None]
        found.index_put_((torch.repeat_interleave(rows, lengths), self._codes[entries]), self._shares[entries], accumulate=True)


def _count(titles: Iterable[KnownTitle]) -> dict[str, Counter[int]]:
    """Return for each head in how many distinct titles it had each category."""
    counts: defaultdict[str, Counter[int]] = defaultdict(Counter)
    distinct = {(title_key(title.title), title.category): title.title for title in titles}
    for (_key, category), title in distinct.items():
        for key in find_head(title).keys:
            counts[key][category] += 1
    return dict(counts)


def _trust(of_key: Counter[int]) -> float:
    return of_key.total() / (of_key.total() + NEW_CODE * len(of_key))


def _find_specificity(of_key: Counter[int]) -> float:
    if of_key.total() < MIN_TITLES:
        return 0.0
    share = (max(of_key.values()) + 1) / (of_key.total() + 1)
    return max(LEAST_SPECIFICITY, min(0.0, math.log(share / COMMON_SHARE)))
