"""Figures of predictions on held-out postings: pure functions that return plain dicts and lists, ready for JSON.

Shares and probabilities are rounded to four digits. A figure that needs rows is left out where there are none; it is never
NaN. The figures of confidence are in `calibration_figures.py`.
"""

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch

from schemas.soc import LEVELS, MAJOR_GROUPS, soc_major
from trainer.measure.calibration_figures import bin_sums, calibration_error, reachable_share, reliability, risk_coverage
from trainer.measure.predictions import Predictions
from trainer.measure.resampling import BOUNDS, draw_resamples

Figures = dict[str, Any]
"""Numbers and texts, or lists of them, by name."""
TOPS = range(1, 11)
BUCKETS = {"0": (0, 0), "1-4": (1, 4), "5-9": (5, 9), "10-49": (10, 49), "50+": (50, 2**62)}
"""The least and the greatest number of training rows that a category of each bucket has."""
LEAST_PROBABILITY = 1e-12
"""The log likelihood takes smaller probabilities as this one: at 0 it would be infinite."""


def compute_figures(p: Predictions, *, seed: int, precision: float = 0.9) -> Figures:
    """Return all figures of one split: what `report.Report.splits` holds of it."""
    return {
        "summary": summary(p, precision),
        "intervals": bootstrap_intervals(p, seed),
        "samples": pick_samples(p, seed),
        "by_bucket": bucket_figures(p),
        "by_major_group": group_figures(p),
        "by_category": category_figures(p),
        "worst_pairs": worst_pairs(p),
        "reliability": reliability(p),
        "risk_coverage": risk_coverage(p),
        "rollup": level_figures(p),
    }


def summary(p: Predictions, precision: float = 0.9) -> Figures:
    """Return the main figures of a split: accuracy, calibration, and the shares of the decisions.

    - `rows`, `categories`: held-out rows, and the categories that have any.
    - `top_1` to `top_10`: share of rows whose true category is among the first N. `mrr`: mean reciprocal rank.
    - `macro_top_1`, `macro_top_5`: the same shares as means over the categories that have rows.
    - `ece`: expected calibration error, see `calibration_error`.
    - `brier`: multi-class, sum over categories of squared differences, 0 to 2 (Brier 1950).
    - `nll`: mean negative log likelihood, in nats.
    - `accept_share`, `review_share`, `unclassified_share`: shares of the decisions.
    - `accept_precision`: the share of the accepted rows that is right; left out if none is accepted.
    - `precision`: the one promised. `reachable_share`: the most rows that could be accepted at it, see `reachable_share`.
    """
    figures: Figures = {"rows": p.rows, "categories": len(set(p.labels.tolist())), "precision": precision}
    if not p.rows:
        return figures
    values = {f"top_{top}": _mean(p.within(top)) for top in TOPS}
    values |= {"mrr": _mean(1 / p.ranks.double()), "macro_top_1": _macro(p, 1), "macro_top_5": _macro(p, 5)}
    values["ece"] = calibration_error(p)
    values["brier"] = _mean(p.probabilities.double().square().sum(dim=1) - 2 * p.truth + 1)
    values["nll"] = -_mean(p.truth.clamp_min(LEAST_PROBABILITY).log())
    accepted = torch.tensor([decision == "accept" for decision in p.decisions])
    values["accept_share"] = _mean(accepted.double())
    if accepted.any():
        values["accept_precision"] = _mean(p.within(1)[accepted])
    values |= {f"{kind}_share": p.decisions.count(kind) / p.rows for kind in ("review", "unclassified")}
    values["reachable_share"] = reachable_share(p, precision)
    return figures | {name: round(value, 4) for name, value in values.items()}


def bootstrap_intervals(p: Predictions, seed: int, rounds: int = 1_000) -> dict[str, list[float]]:
    """Return 95 % bootstrap percentile intervals `[low, high]` over rows (Efron 1979); {} without rows.

    A resample lacks some categories; its `macro_top_1` is the mean over those it has. A resample also adds noise, and noise
    raises the ECE: its interval lies somewhat high and may not contain the figure itself.
    """
    if not p.rows:
        return {}
    drawn = [_resampled_figures(p, times) for times in draw_resamples(p.rows, seed=seed, rounds=rounds)]
    bounds = torch.quantile(torch.cat(drawn), BOUNDS, dim=0)  # (2, figures)
    names = ("top_1", "top_5", "macro_top_1", "ece")
    return {name: [round(float(bound), 4) for bound in pair] for name, pair in zip(names, bounds.T, strict=True)}


def bucket_figures(p: Predictions) -> list[Figures]:
    """Return accuracy by the number of training rows that the true category had.

    For each bucket: `train_rows` (its name), `categories` (with held-out rows), `rows`, `top_1`, `top_5`, `macro_top_1`.
    """
    counts = p.train_counts[p.labels]
    masks = {name: (counts >= least) & (counts <= most) for name, (least, most) in BUCKETS.items()}
    return [
        {"train_rows": name, "categories": len(set(p.labels[mask].tolist()))} | _top_shares(p, mask)
        for name, mask in masks.items()
    ]


def group_figures(p: Predictions) -> list[Figures]:
    """Return accuracy of each SOC major group (first two digits) that has rows.

    For each group: `code`, `name`, `probability` (mean confidence), `rows`, `top_1`, `top_5`, `macro_top_1`.
    """
    groups = [soc_major(code) for code in p.codes]
    found = []
    for group in sorted({groups[label] for label in p.labels.tolist()}):
        mask = torch.tensor([own == group for own in groups])[p.labels]
        figures = {"code": group, "name": MAJOR_GROUPS.get(group, ""), "probability": round(_mean(p.confidence[mask]), 4)}
        found.append(figures | _top_shares(p, mask))
    return found


def category_figures(p: Predictions) -> list[Figures]:
    """Return `code`, `name`, `train_rows`, `rows`, `top_1` and `top_5` of each category that has held-out rows."""
    rows, top_1, top_5 = (_per_category(p, values).tolist() for values in (torch.ones(p.rows).double(), p.within(1), p.within(5)))
    return [
        {"code": p.codes[c], "name": p.names[c], "train_rows": int(p.train_counts[c]), "rows": int(rows[c])}
        | {"top_1": round(top_1[c] / rows[c], 4), "top_5": round(top_5[c] / rows[c], 4)}
        for c in range(len(p.codes))
        if rows[c]
    ]


def worst_pairs(p: Predictions, limit: int = 20) -> list[Figures]:
    """Return the most frequent confusions of two categories.

    For each: codes and names of both, `count`, `share` (of the true category's rows), and as `example` the title of the most
    confident of these errors.
    """
    wrong = [row for row in p.confidence.argsort(descending=True, stable=True).tolist() if p.ranks[row] > 1]
    labels, predicted = p.labels.tolist(), p.predicted.tolist()
    pairs = Counter((labels[row], predicted[row]) for row in wrong)
    example = {(labels[row], predicted[row]): row for row in reversed(wrong)}
    rows = Counter(labels)
    worst = sorted(pairs, key=lambda pair: (-pairs[pair], -pairs[pair] / rows[pair[0]], pair))[:limit]
    return [
        _code_pair(p, *pair)
        | {"count": pairs[pair], "share": round(pairs[pair] / rows[pair[0]], 4), "example": p.titles[example[pair]]}
        for pair in worst
    ]


def level_figures(p: Predictions) -> list[Figures]:
    """Return accuracy at each level of the SOC. A group's probability is the sum over its codes.

    For each level: `level` (its name), `characters` of a code that name a group, number of `groups`, share `right`.
    """
    found = []
    for level in LEVELS if p.rows else ():
        length = level.characters
        groups = {group: i for i, group in enumerate(dict.fromkeys(code[:length] for code in p.codes))}
        ids = torch.tensor([groups[code[:length]] for code in p.codes])  # (categories,)
        sums = torch.zeros(p.rows, len(groups)).index_add_(1, ids, p.probabilities.float())
        right = (sums.argmax(dim=1) == ids[p.labels]).double()
        found.append({"level": level.name, "characters": length, "groups": len(groups), "right": round(_mean(right), 4)})
    return found


def pick_samples(p: Predictions, seed: int, count: int = 12) -> list[Figures]:
    """Return up to `count` predictions to look at: half of them right, half wrong.

    The right ones are drawn at random. Half of the wrong ones are the most confident, the others are drawn at random.
    """
    rng = random.Random(seed)  # noqa: S311 - a selection, not a secret
    right = [row for row, rank in enumerate(p.ranks.tolist()) if rank == 1]
    wrong = sorted(set(range(p.rows)) - set(right), key=lambda row: -float(p.confidence[row]))
    some_wrong = min(len(wrong), count // 2)
    sure = wrong[: (some_wrong + 1) // 2]
    others = rng.sample(wrong[len(sure) :], some_wrong - len(sure))
    chosen = rng.sample(right, min(len(right), count - count // 2)) + sure + others
    return [
        {"title": p.titles[row], "right": int(p.ranks[row]) == 1, "decision": p.decisions[row]}
        | _code_pair(p, int(p.labels[row]), int(p.predicted[row]))
        | {"probability": round(float(p.confidence[row]), 4), "rank": int(p.ranks[row])}
        for row in chosen
    ]


def reject_figures(decisions: Sequence[str]) -> dict[str, float]:
    """Return `reject_rows`, `reject_accept_share` and `reject_unclassified_share` of held-out reject examples; {} without any.

    A reject example is a posting that no occupation fits. It is never trained on, and to accept it is wrong.
    """
    if not decisions:
        return {}
    shares = {f"reject_{kind}_share": round(decisions.count(kind) / len(decisions), 4) for kind in ("accept", "unclassified")}
    return {"reject_rows": len(decisions), **shares}


def _mean(values: torch.Tensor) -> float:
    return float(values.mean())


def _code_pair(p: Predictions, true: int, predicted: int) -> Figures:
    return {
        "true_code": p.codes[true],
        "true_name": p.names[true],
        "predicted_code": p.codes[predicted],
        "predicted_name": p.names[predicted],
    }


def _top_shares(p: Predictions, mask: torch.Tensor) -> Figures:
    """Return `rows` of a mask `(n,)` and, where there are any, their `top_1`, `top_5` and `macro_top_1`."""
    rows = int(mask.sum())
    if not rows:
        return {"rows": 0}
    values = {"top_1": _mean(p.within(1)[mask]), "top_5": _mean(p.within(5)[mask]), "macro_top_1": _macro(p, 1, mask)}
    return {"rows": rows} | {name: round(value, 4) for name, value in values.items()}


def _per_category(p: Predictions, values: torch.Tensor) -> torch.Tensor:
    """Sum the values `(..., n)` to `(..., categories)` over the rows of each true category."""
    return values.new_zeros(*values.shape[:-1], len(p.codes)).index_add_(-1, p.labels, values)


def _macro(p: Predictions, top: int, mask: torch.Tensor | None = None) -> float:
    weights = torch.ones(p.rows).double() if mask is None else mask.double()
    rows = _per_category(p, weights)
    return _mean((_per_category(p, weights * p.within(top)) / rows)[rows > 0])


def _resampled_figures(p: Predictions, times: torch.Tensor) -> torch.Tensor:
    """Return (rounds, 4): top-1, top-5, macro top-1 and ECE of resamples `(rounds, rows)`."""
    of_category = _per_category(p, times)  # (rounds, categories)
    shares = _per_category(p, times * p.within(1)) / of_category.clamp_min(1)
    macro = shares.sum(dim=1) / (of_category > 0).sum(dim=1)
    ece = bin_sums(p, times * (p.within(1) - p.confidence)).abs().sum(dim=1) / p.rows
    return torch.stack([times @ p.within(1) / p.rows, times @ p.within(5) / p.rows, macro, ece], dim=1)
