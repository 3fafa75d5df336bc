"""Figures of predictions on held-out postings: pure functions of arrays, to plain JSON-able dicts and lists.

Shares and probabilities are rounded to four digits. A figure that needs rows and has none is left out, never NaN.
"""

import random
from collections import Counter
from typing import Any

import torch

from schemas.soc import LEVELS, MAJOR_GROUPS, soc_major
from trainer.measure.predictions import Predictions

Figures = dict[str, Any]
"""Names to numbers, texts, or lists of them."""
BINS = 15
TOPS = range(1, 11)
BUCKETS = {"0": (0, 0), "1-4": (1, 4), "5-9": (5, 9), "10-49": (10, 49), "50+": (50, 2**62)}
"""Least and most training rows of a category in each bucket."""
LEAST_PROBABILITY = 1e-12
"""Below it a probability counts as this in the log likelihood, which would be infinite at 0."""
RESAMPLED = 2_000_000
"""Rounds times rows drawn at once in the bootstrap: 16 MB of row numbers."""


def everything(p: Predictions, *, seed: int, precision: float = 0.9) -> Figures:
    """All figures below by their functions' names: what `report.Report.splits` holds of one split."""
    plain = (by_bucket, by_major_group, by_category, worst_pairs, reliability, risk_coverage, rollup)
    figures: Figures = {"summary": summary(p, precision), "intervals": intervals(p, seed), "samples": samples(p, seed)}
    return figures | {figure.__name__: figure(p) for figure in plain}


def curves(p: Predictions) -> dict[str, list[dict[str, float]]]:
    """Return the two curves of confidence that a manifest keeps: what a stated probability is worth, and what caution is."""
    return {"reliability": reliability(p), "risk_coverage": risk_coverage(p, points=20)}


def summary(p: Predictions, precision: float = 0.9) -> Figures:
    """Return `rows`, `categories` (with rows), top-1 to top-10, MRR, macro, calibration and what the decisions come to.

    `macro_top_n`: mean over categories with rows. `ece`: expected calibration error over 15 equal-width bins of the rank-1
    probability (Guo et al. 2017). `brier`: multi-class, sum over categories of squared differences, 0 to 2 (Brier 1950).
    `nll`: mean negative log likelihood, in nats. `accept_precision`: share right of the accepted, left out if none is.
    `reachable_share`: the most rows, most confident first, of which `precision` are right: what a threshold fitted to
    these very rows could accept.
    """
    figures: Figures = {"rows": p.rows, "categories": len(set(p.labels.tolist())), "precision": precision}
    if not p.rows:
        return figures
    values = {f"top_{top}": _mean(p.within(top)) for top in TOPS}
    values |= {"mrr": _mean(1 / p.ranks.double()), "macro_top_1": _macro(p, 1), "macro_top_5": _macro(p, 5)}
    values["ece"] = float(_bin_sums(p, p.within(1) - p.confidence).abs().sum()) / p.rows
    values["brier"] = _mean(p.probabilities.double().square().sum(dim=1) - 2 * p.truth + 1)
    values["nll"] = -_mean(p.truth.clamp_min(LEAST_PROBABILITY).log())
    said = torch.tensor([decision == "accept" for decision in p.decisions])
    values["accept_share"] = _mean(said.double())
    if said.any():
        values["accept_precision"] = _mean(p.within(1)[said])
    values |= {f"{kind}_share": p.decisions.count(kind) / p.rows for kind in ("review", "unclassified")}
    cuts, right = _cuts(p)
    kept = cuts[right[cuts - 1] >= precision * cuts - 1e-9]  # a product may lie just above the whole number it stands for
    values["reachable_share"] = int(kept.max()) / p.rows if len(kept) else 0.0
    return figures | {name: round(value, 4) for name, value in values.items()}


def intervals(p: Predictions, seed: int, rounds: int = 1_000) -> dict[str, list[float]]:
    """Return 95 % bootstrap percentile intervals `[low, high]` over rows (Efron 1979); {} without rows.

    A resample leaves some categories out, and `macro_top_1` is over those it has. ECE grows with every noise that a
    resample adds, so that its interval lies somewhat high and may leave out the figure itself.
    """
    if not p.rows:
        return {}
    generator = torch.Generator().manual_seed(seed)
    size = max(1, RESAMPLED // p.rows)
    drawn = [_resampled(p, min(size, rounds - start), generator) for start in range(0, rounds, size)]
    bounds = torch.quantile(torch.cat(drawn), torch.tensor([0.025, 0.975], dtype=torch.float64), dim=0)  # (2, figures)
    names = ("top_1", "top_5", "macro_top_1", "ece")
    return {name: [round(float(bound), 4) for bound in pair] for name, pair in zip(names, bounds.T, strict=True)}


def by_bucket(p: Predictions) -> list[Figures]:
    """Return rows, categories with rows, top-1, top-5 and macro top-1 by how many training rows the true category had."""
    counts = p.train_counts[p.labels]
    masks = {name: (counts >= least) & (counts <= most) for name, (least, most) in BUCKETS.items()}
    return [
        {"train_rows": name, "categories": len(set(p.labels[mask].tolist()))} | _tops(p, mask) for name, mask in masks.items()
    ]


def by_major_group(p: Predictions) -> list[Figures]:
    """Return code, name, rows, top-1, top-5, macro top-1 and mean rank-1 probability of each 2-digit SOC group with rows."""
    groups = [soc_major(code) for code in p.codes]
    found = []
    for group in sorted({groups[label] for label in p.labels.tolist()}):
        mask = torch.tensor([own == group for own in groups])[p.labels]
        figures = {"code": group, "name": MAJOR_GROUPS.get(group, ""), "probability": round(_mean(p.confidence[mask]), 4)}
        found.append(figures | _tops(p, mask))
    return found


def by_category(p: Predictions) -> list[Figures]:
    """Return code, name, training rows, rows, top-1 and top-5 of each category with rows, in order of category."""
    rows, top_1, top_5 = (_per_category(p, values).tolist() for values in (torch.ones(p.rows).double(), p.within(1), p.within(5)))
    return [
        {"code": p.codes[c], "name": p.names[c], "train_rows": int(p.train_counts[c]), "rows": int(rows[c])}
        | {"top_1": round(top_1[c] / rows[c], 4), "top_5": round(top_5[c] / rows[c], 4)}
        for c in range(len(p.codes))
        if rows[c]
    ]


def worst_pairs(p: Predictions, limit: int = 20) -> list[Figures]:
    """Return the most frequent confusions: both codes and names, count, share of the true category's rows, an example.

    The example is the title of the most confident one.
    """
    wrong = [row for row in p.confidence.argsort(descending=True, stable=True).tolist() if p.ranks[row] > 1]
    labels, predicted = p.labels.tolist(), p.predicted.tolist()
    pairs = Counter((labels[row], predicted[row]) for row in wrong)
    example = {(labels[row], predicted[row]): row for row in reversed(wrong)}
    rows = Counter(labels)
    worst = sorted(pairs, key=lambda pair: (-pairs[pair], -pairs[pair] / rows[pair[0]], pair))[:limit]
    return [
        _codes(p, *pair)
        | {"count": pairs[pair], "share": round(pairs[pair] / rows[pair[0]], 4), "example": p.titles[example[pair]]}
        for pair in worst
    ]


def reliability(p: Predictions, bins: int = BINS) -> list[Figures]:
    """Return low, high, count and, where there are rows, mean rank-1 probability and share right of each bin."""
    counts, sums, right = (_bin_sums(p, v, bins).tolist() for v in (torch.ones_like(p.confidence), p.confidence, p.within(1)))
    found = []
    for i, count in enumerate(counts):
        figures: Figures = {"low": round(i / bins, 4), "high": round((i + 1) / bins, 4), "count": int(count)}
        means = {"probability": round(sums[i] / count, 4), "right": round(right[i] / count, 4)} if count else {}
        found.append(figures | means)
    return found


def risk_coverage(p: Predictions, points: int = 50) -> list[Figures]:
    """Return coverage, error among the covered and their least probability, most confident rows first, at most `points`.

    The curve of selective classification (El-Yaniv and Wiener 2010). Rows of one probability are covered together.
    """
    cuts, right = _cuts(p)
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


def rollup(p: Predictions) -> list[Figures]:
    """Return level, digits' length, groups and share right when probabilities are summed over the codes of a group."""
    found = []
    for level in LEVELS if p.rows else ():
        length = level.characters
        groups = {group: i for i, group in enumerate(dict.fromkeys(code[:length] for code in p.codes))}
        ids = torch.tensor([groups[code[:length]] for code in p.codes])  # (categories,)
        sums = torch.zeros(p.rows, len(groups)).index_add_(1, ids, p.probabilities.float())
        right = (sums.argmax(dim=1) == ids[p.labels]).double()
        found.append({"level": level.name, "characters": length, "groups": len(groups), "right": round(_mean(right), 4)})
    return found


def samples(p: Predictions, seed: int, count: int = 12) -> list[Figures]:
    """Return up to `count` predictions: half right, at random; half wrong, of these half the most confident, half at random."""
    rng = random.Random(seed)  # noqa: S311 - a selection, not a secret
    right = [row for row, rank in enumerate(p.ranks.tolist()) if rank == 1]
    wrong = sorted(set(range(p.rows)) - set(right), key=lambda row: -float(p.confidence[row]))
    some_wrong = min(len(wrong), count // 2)
    sure = wrong[: (some_wrong + 1) // 2]
    others = rng.sample(wrong[len(sure) :], some_wrong - len(sure))
    chosen = rng.sample(right, min(len(right), count - count // 2)) + sure + others
    return [
        {"title": p.titles[row], "right": int(p.ranks[row]) == 1, "decision": p.decisions[row]}
        | _codes(p, int(p.labels[row]), int(p.predicted[row]))
        | {"probability": round(float(p.confidence[row]), 4), "rank": int(p.ranks[row])}
        for row in chosen
    ]


def _mean(values: torch.Tensor) -> float:
    return float(values.mean())


def _codes(p: Predictions, true: int, predicted: int) -> Figures:
    return {
        "true_code": p.codes[true],
        "true_name": p.names[true],
        "predicted_code": p.codes[predicted],
        "predicted_name": p.names[predicted],
    }


def _tops(p: Predictions, mask: torch.Tensor) -> Figures:
    """Rows of a mask `(n,)` and, where there are any, top-1, top-5 and macro top-1 of them."""
    rows = int(mask.sum())
    if not rows:
        return {"rows": 0}
    values = {"top_1": _mean(p.within(1)[mask]), "top_5": _mean(p.within(5)[mask]), "macro_top_1": _macro(p, 1, mask)}
    return {"rows": rows} | {name: round(value, 4) for name, value in values.items()}


def _per_category(p: Predictions, values: torch.Tensor) -> torch.Tensor:
    """Sum to `(..., categories)` the values `(..., n)` over the rows of each true category."""
    return values.new_zeros(*values.shape[:-1], len(p.codes)).index_add_(-1, p.labels, values)


def _macro(p: Predictions, top: int, mask: torch.Tensor | None = None) -> float:
    weights = torch.ones(p.rows).double() if mask is None else mask.double()
    rows = _per_category(p, weights)
    return _mean((_per_category(p, weights * p.within(top)) / rows)[rows > 0])


def _bin_sums(p: Predictions, values: torch.Tensor, bins: int = BINS) -> torch.Tensor:
    """Sum to `(..., bins)` the values `(..., n)` over the rows in each bin of the rank-1 probability."""
    ids = (p.confidence * bins).long().clamp_max(bins - 1)
    return values.new_zeros(*values.shape[:-1], bins).index_add_(-1, ids, values)


def _cuts(p: Predictions) -> tuple[torch.Tensor, torch.Tensor]:
    """Numbers of rows that a threshold can part from the rest, ascending, and (n,) how many of the first ones are right."""
    values, order = p.confidence.sort(descending=True)
    last = torch.ones(p.rows, dtype=torch.bool)  # rows of one probability stay together
    last[:-1] = values[:-1] > values[1:]
    return last.nonzero()[:, 0] + 1, p.within(1)[order].cumsum(0)


def _resampled(p: Predictions, rounds: int, generator: torch.Generator) -> torch.Tensor:
    """Return (rounds, 4): top-1, top-5, macro top-1 and ECE of rows drawn with replacement."""
    drawn = torch.randint(p.rows, (rounds, p.rows), generator=generator)
    times = torch.zeros(rounds, p.rows, dtype=torch.float64).scatter_add_(1, drawn, torch.ones(1).double().expand(drawn.shape))
    of_category = _per_category(p, times)  # (rounds, categories)
    shares = _per_category(p, times * p.within(1)) / of_category.clamp_min(1)
    macro = shares.sum(dim=1) / (of_category > 0).sum(dim=1)
    ece = _bin_sums(p, times * (p.within(1) - p.confidence)).abs().sum(dim=1) / p.rows
    return torch.stack([times @ p.within(1) / p.rows, times @ p.within(5) / p.rows, macro, ece], dim=1)
