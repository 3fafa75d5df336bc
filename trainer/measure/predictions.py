"""The predictions of a model for held-out postings, as arrays, with the ranks and confidence that all figures start from."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch


@dataclass(frozen=True, eq=False)
class Predictions:
    """The predictions of a model for n held-out postings, and the true answers. Raises ValueError where sizes do not fit."""

    probabilities: torch.Tensor
    """(n, categories) float32, rows summing to 1"""
    labels: torch.Tensor
    """(n,) int64, the true categories"""
    decisions: Sequence[str]
    """n of "accept", "review", "unclassified" """
    codes: Sequence[str]
    """O*NET-SOC codes, one per category"""
    names: Sequence[str]
    """O*NET-SOC titles, one per category"""
    titles: Sequence[str]
    """n titles of postings"""
    train_counts: torch.Tensor
    """(categories,) int64, training rows of each category"""

    def __post_init__(self) -> None:
        rows, categories = self.probabilities.shape
        if {len(self.labels), len(self.decisions), len(self.titles)} != {rows}:
            raise ValueError(f"labels, decisions and titles must be {rows}, one for each row of probabilities")
        if {len(self.codes), len(self.names), len(self.train_counts)} != {categories}:
            raise ValueError(f"codes, names and train_counts must be {categories}, one for each column of probabilities")
        if rows and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < categories:
            raise ValueError(f"labels must be from 0 to {categories - 1}")

    @property
    def rows(self) -> int:
        """The number of held-out postings."""
        return len(self.labels)

    @cached_property
    def predicted(self) -> torch.Tensor:
        """(n,) int64: the category of rank 1; of equal probabilities the first."""
        return self.probabilities.argmax(dim=1)

    @cached_property
    def confidence(self) -> torch.Tensor:
        """(n,) float64: the probability of rank 1."""
        return self.probabilities.amax(dim=1).double().clamp(0, 1)

    @cached_property
    def truth(self) -> torch.Tensor:
        """(n,) float64: the probability of the true category."""
        return self.probabilities.gather(1, self.labels[:, None])[:, 0].double()

    @cached_property
    def ranks(self) -> torch.Tensor:
        """(n,) int64: the rank of the true category, from 1; of equal probabilities the first category leads."""
        own = self.probabilities.gather(1, self.labels[:, None])  # (n, 1)
        earlier = torch.arange(len(self.codes)) < self.labels[:, None]  # (n, categories)
        return 1 + ((self.probabilities > own) | ((self.probabilities == own) & earlier)).sum(dim=1)

    def within(self, top: int) -> torch.Tensor:
        """(n,) float64: 1 where the true category is among the first `top`."""
        return (self.ranks <= top).double()
