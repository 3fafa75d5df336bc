"""Tables of exact titles: the categories that labelled postings with a title had, and those under which O*NET lists it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

import torch

from schemas.artifact import KnownTitle
from schemas.text import title_key


class TitleTable:
    """The weights of categories by title key. Immutable."""

    def __init__(self, weights: Mapping[str, Mapping[int, float]]) -> None:
        self._weights = weights

    @classmethod
    def count_postings(cls, titles: Iterable[KnownTitle]) -> Self:
        """Return how many labelled postings each title had in each category. The titles are cleaned already."""
        return cls(_add_up(title for title in titles if not is_listed(title)))

    @classmethod
    def share_listed(cls, titles: Iterable[KnownTitle]) -> Self:
        """Return for each title of O*NET's the categories under which it is listed, each with its share of 1."""
        found = _add_up(title for title in titles if is_listed(title))
        return cls({key: dict.fromkeys(of_title, 1 / len(of_title)) for key, of_title in found.items()})

    def __contains__(self, key: str) -> bool:
        return key in self._weights

    def look_up(self, keys: Sequence[str], categories: int, device: torch.device) -> torch.Tensor | None:
        """Return the weights of exactly these titles, `(n, categories)`; None if the table has none of them."""
        met = [(row, self._weights[key]) for row, key in enumerate(keys) if key in self._weights]
        if not met:
            return None
        rows = torch.tensor([row for row, of_title in met for _ in of_title], device=device)
        columns = torch.tensor([category for _row, of_title in met for category in of_title], device=device)
        weights = torch.tensor([weight for _row, of_title in met for weight in of_title.values()], device=device)
        return torch.zeros(len(keys), categories, device=device).index_put_((rows, columns), weights)


def is_listed(title: KnownTitle) -> bool:
    """Return whether a known title is one of O*NET's: these weigh less than a posting."""
    return title.weight < 1


def _add_up(titles: Iterable[KnownTitle]) -> dict[str, dict[int, float]]:
    weights: defaultdict[str, dict[int, float]] = defaultdict(dict)
    for title in titles:
        of_title = weights[title_key(title.title)]
        of_title[title.category] = of_title.get(title.category, 0.0) + title.weight
    return dict(weights)
