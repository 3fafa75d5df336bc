"""Figures of confidence: how honest stated probabilities are, and how many errors a threshold avoids.

Pure functions of predictions. The confidence of a prediction is the probability of its rank 1.
"""

from typing import Any

import numpy as np
import torch

from trainer.measure.predictions import Predictions

Points = list[dict[str, float]]
"""The points of a curve, each with the names of its figures."""
BINS = 15
"""Equal-width bins of confidence in which the calibration error is measured."""


def confidence_curves(p: Predictions) -> dict[str, Points]:
    """Return the two curves that a manifest keeps: `reliability` and `risk_coverage`."""
    return {"reliability": reliability(p), "risk_coverage": risk_coverage(p, points=20)}


def reliability(p: Predictions, bins: int = BINS) -> Points:
    """Return for each bin `low`, `high` and `count`; where it has rows, also `probability` and `right`.

    `probability` is the mean confidence, `right` the share of rows that are right.
    """
    counts, sums, right = (bin_sums(p, v, bins).tolist() for v in (torch.ones_like(p.confidence), p.confidence, p.within(1)))
    found: Points = []
    for i, count in enumerate(counts):
        figures = {"low": round(i / bins, 4), "high": round((i + 1) / bins, 4), "count": int(count)}
        means = {"probability": round(sums[i] / count, 4), "right": round(right[i] / count, 4)} if count else {}
        found.append(figures | means)
    return found


def risk_coverage(p: Predictions, points: int = 50) -> Points:
    """Return `coverage`, `error` and `probability` at no more than `points` thresholds, the most confident rows first.

    `coverage` is the share of rows at or above the threshold `probability`; `error` is the share of these that is wrong. This
    is the curve of selective classification (El-Yaniv and Wiener 2010). Rows of equal confidence are covered together.
    """
    cuts, right = count_right_above(p)
    if not p.rows:
        return []
    wanted = (torch.arange(1, points + 1) * p.rows / points).ceil().long()
    chosen = sorted(set(cuts[torch.searchsorted(cuts, wanted)].tolist()))
    least = p.confidence.sort(descending=True).values
    return [
        {
            "coverage": round(rows / p.rows, 4),
            "error": round(1 - float(right[rows - 1]) / rows, 4),
            "probability": round(float(least[rows - 1]), 4),
        }
        for rows in chosen
    ]


def calibration_error(p: Predictions) -> float:
    """Return the expected calibration error (ECE) over BINS equal-width bins (Guo et al. 2017). Needs at least one row."""
    return float(bin_sums(p, p.within(1) - p.confidence).abs().sum()) / p.rows


def reachable_share(p: Predictions, precision: float) -> float:
    """Return the largest share of rows, the most confident first, of which `precision` are right.

    A threshold that was fitted to these very rows could accept so many. Needs at least one row.
    """
    cuts, right = count_right_above(p)
    kept = cuts[right[cuts - 1] >= precision * cuts - 1e-9]  # a product may lie just above the whole number it stands for
    return int(kept.max()) / p.rows if len(kept) else 0.0


def draw_chance_errors(confidence: "np.ndarray[Any, Any]", rounds: int = 1_000) -> "np.ndarray[Any, Any]":
    """Return `(rounds,)` calibration errors that a perfectly calibrated model shows on rows of this confidence `(n,)`.

    In each round a row is right with the probability that its confidence states. The errors are drawn, not derived: the sum
    over bins of the absolute value of noise grows as the bins get emptier.
    """
    rng = np.random.default_rng(0)
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    drawn = np.empty(rounds)
    for i in range(rounds):
        right = rng.random(len(confidence)) < confidence
        drawn[i] = np.abs(np.bincount(bins, right - confidence, BINS)).sum() / max(1, len(confidence))
    return drawn


def bin_sums(p: Predictions, values: torch.Tensor, bins: int = BINS) -> torch.Tensor:
    """Sum the values `(..., n)` to `(..., bins)` over the rows in each bin of confidence."""
    ids = (p.confidence * bins).long().clamp_max(bins - 1)
    return values.new_zeros(*values.shape[:-1], bins).index_add_(-1, ids, values)


def count_right_above(p: Predictions) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the numbers of rows that a threshold can separate, ascending, and (n,) how many of the first rows are right.

    The rows are in order of confidence, the most confident first. No threshold separates rows of equal confidence.
    """
    values, order = p.confidence.sort(descending=True)
    last = torch.ones(p.rows, dtype=torch.bool)
    last[:-1] = values[:-1] > values[1:]
    return last.nonzero()[:, 0] + 1, p.within(1)[order].cumsum(0)
