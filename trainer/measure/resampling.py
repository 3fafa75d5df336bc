"""The bootstrap: rows drawn with replacement, as often as figures need to tell how much of them is chance."""

from collections.abc import Iterator

import torch

RESAMPLED = 2_000_000
"""So many row numbers are drawn at once (rounds times rows): 16 MB."""
BOUNDS = torch.tensor([0.025, 0.975], dtype=torch.float64)
"""The quantiles that bound a 95 % percentile interval (Efron 1979)."""


def draw_resamples(rows: int, *, seed: int, rounds: int = 1_000) -> Iterator[torch.Tensor]:
    """Yield how often each row is in each resample, `(some rounds, rows)` float64, until there are `rounds`."""
    generator = torch.Generator().manual_seed(seed)
    size = max(1, RESAMPLED // rows)
    for start in range(0, rounds, size):
        drawn = torch.randint(rows, (min(size, rounds - start), rows), generator=generator)
        ones = torch.ones(1).double().expand(drawn.shape)
        yield torch.zeros(drawn.shape, dtype=torch.float64).scatter_add_(1, drawn, ones)
