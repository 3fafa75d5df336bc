"""Figures of a scorer on held-out postings, and the calibration fitted on others. All go through the serving code."""

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch.nn.functional import cross_entropy

from consumer.scorer import Scorer
from schemas.artifact import Calibration

TOP = 5
MIN_ROWS = 30
HOPELESS_PRECISION = 0.25
NEVER = 1.01
"""A probability that is never reached."""


def accuracy(scorer: Scorer, titles: Sequence[str], codes: Sequence[str]) -> dict[str, float]:
    """Return top-1/3/5, macro top-1 (mean over categories), ECE and what `accept` covers and gets right.

    ECE: expected calibration error over 15 equal bins of the rank-1 probability (Guo et al. 2017).
    """
    ranks, probabilities, accepted = [], [], []
    for start in range(0, len(titles), 1_024):
        for scored, code in zip(scorer.score(titles[start : start + 1_024]), codes[start : start + 1_024], strict=True):
            found = [match.rank for match in scored.occupations if match.onet_code == code]
            ranks.append(found[0] if found else TOP + 1)
            probabilities.append(scored.occupations[0].probability)
            accepted.append(scored.decision == "accept")
    hits = [rank == 1 for rank in ranks]
    chosen = [hit for hit, ok in zip(hits, accepted, strict=True) if ok]
    figures = {f"top_{n}": _mean([rank <= n for rank in ranks]) for n in (1, 3, TOP)}
    figures["macro_top_1"] = _macro(hits, codes)
    figures["ece"] = _ece(hits, probabilities)
    figures["accept_share"] = _mean(accepted)
    if chosen:
        figures["accept_precision"] = _mean(chosen)
    return {name: round(value, 4) for name, value in figures.items()}


def calibrate(scores: torch.Tensor, labels: torch.Tensor, *, precision: float) -> Calibration:
    """Fit scale and thresholds to held-out cosines `(n, categories)` with true categories `(n,)`, n > 0.

    The scale minimises the negative log likelihood (temperature scaling, Guo et al. 2017). `accept_at` is the least
    probability from which on `precision` of the postings are right; `review_at` the greatest below which at most one in
    four is. A threshold needs MIN_ROWS postings to stand on; without them nothing is accepted, all is for review.
    """
    scale = min(torch.arange(5.0, 80.5, 0.5).tolist(), key=lambda s: cross_entropy(s * scores, labels).item())
    best, ids = torch.softmax(scale * scores, dim=1).max(dim=1)
    order = best.argsort(descending=True)
    values, right = best[order], (ids == labels)[order].double()
    rows = torch.arange(1, len(values) + 1)
    falls = torch.ones(len(values), dtype=torch.bool)  # a threshold cannot part postings of one probability
    falls[:-1] = values[:-1] > values[1:]
    accepted = (right.cumsum(0) / rows >= precision) & (rows >= MIN_ROWS) & falls
    accept_at = float(values[accepted.nonzero().max()]) if bool(accepted.any()) else NEVER
    below = len(values) - rows  # how many postings lie below each value
    right_below = (right.sum() - right.cumsum(0)) / below.clamp_min(1)
    hopeless = (right_below <= HOPELESS_PRECISION) & (below >= MIN_ROWS) & falls
    review_at = float(values[hopeless.nonzero().min()]) if bool(hopeless.any()) else 0.0
    return Calibration(scale=scale, accept_at=accept_at, review_at=min(accept_at, review_at))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _macro(hits: Sequence[bool], codes: Sequence[str]) -> float:
    by_code: defaultdict[str, list[bool]] = defaultdict(list)
    for hit, code in zip(hits, codes, strict=True):
        by_code[code].append(hit)
    return _mean([_mean(of_code) for of_code in by_code.values()])


def _ece(hits: Sequence[bool], probabilities: Sequence[float], *, bins: int = 15) -> float:
    binned: defaultdict[int, list[tuple[bool, float]]] = defaultdict(list)
    for hit, probability in zip(hits, probabilities, strict=True):
        binned[min(int(probability * bins), bins - 1)].append((hit, probability))
    return sum(abs(sum(hit - probability for hit, probability in of_bin)) for of_bin in binned.values()) / len(hits)
