"""How sure rank 1 is: the evidence for it, and the probability that follows. Serving and calibration both use this code."""

from collections.abc import Iterator, Sequence

import torch

from consumer.model.blending import Parts, predict_by_part
from schemas.artifact import Confidence, Mix

EVIDENCE = ("log_odds", "share", "agreement", "similarity", "specificity")
"""The kinds of evidence, in the order of the columns."""
AHEAD = 1.001
"""How many times the probability of rank 2 that of rank 1 is at least. A tie would be broken one way or the other by chance."""
SURE = 1e-4
"""Probabilities nearer to 0 or to 1 than this are no better evidence."""


def apply_confidence(
    probabilities: torch.Tensor, confidences: Sequence[Confidence | None], stratum: torch.Tensor, mix: Mix, parts: Parts
) -> torch.Tensor:
    """Return probabilities `(n, categories)` in which rank 1 has its confidence by the weights of its stratum `(n,)`.

    The order of the categories stays. Rows whose stratum has no confidence stay as they are.
    """
    if not any(confidences) or probabilities.shape[1] < 2:  # noqa: PLR2004 - with one category there is no doubt
        return probabilities
    neutral = (0.0,) * (1 + len(EVIDENCE))
    table = [(one.bias, *(getattr(one, kind) for kind in EVIDENCE)) if one else neutral for one in confidences]
    weights = torch.tensor(table, device=probabilities.device)[stratum]  # (n, 1 + kinds)
    evidence = gather_evidence(probabilities, mix, parts)
    sure = torch.sigmoid(weights[:, 0] + (weights[:, 1:] * evidence).sum(dim=1))
    changes = torch.tensor([one is not None for one in confidences], device=probabilities.device)[stratum]
    return torch.where(changes[:, None], _set_first(probabilities, sure), probabilities)


def gather_evidence(probabilities: torch.Tensor, mix: Mix, parts: Parts) -> torch.Tensor:
    """Return the evidence for rank 1 of probabilities `(n, categories)`, `(n, kinds)` in the order of EVIDENCE."""
    best = probabilities.max(dim=1)
    first = best.indices[:, None]
    p = best.values.clamp(SURE, 1 - SURE)
    share, agreement = _ask_parts(first, mix, parts)
    nothing = torch.zeros_like(p)
    similarity, specificity = nothing, nothing if parts.specificity is None else parts.specificity
    if parts.neighbours is not None and parts.neighbour_categories is not None:
        own = torch.where(parts.neighbour_categories == first, parts.neighbours, 0.0)
        similarity = own.amax(dim=1).clamp(0, 1) ** 4
    return torch.stack([(p / (1 - p)).log(), share, agreement, similarity, specificity], dim=1)


def _ask_parts(first: torch.Tensor, mix: Mix, parts: Parts) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean probability that the parts give to the categories `first` `(n, 1)`, and the share that ranks them first."""
    shares = agreeing = voters = torch.zeros(len(first), device=first.device)
    for predicted, speaks in _list_voters(mix, parts):
        own = predicted.gather(1, first)[:, 0]
        shares = shares + speaks * own
        agreeing = agreeing + speaks * (own >= predicted.amax(dim=1))
        voters = voters + speaks
    return shares / voters, agreeing / voters


def _list_voters(mix: Mix, parts: Parts) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield the probabilities `(n, categories)` by each part alone, and for which postings it speaks `(n,)`."""
    everywhere = torch.ones_like(parts.with_body, dtype=torch.float32)
    for predicted in predict_by_part(mix, parts).values():
        yield predicted, everywhere
    if parts.body is not None and mix.body_weight:
        yield torch.softmax(mix.body_scale * parts.body, dim=1), parts.with_body.float()


def _set_first(probabilities: torch.Tensor, sure: torch.Tensor) -> torch.Tensor:
    """Return the probabilities with `sure` `(n,)` for rank 1, and the others scaled to the rest. Rank 1 never falls behind."""
    best = probabilities.max(dim=1)
    ids = best.indices[:, None]
    rest = (1 - best.values).clamp_min(SURE)
    ratio = probabilities.scatter(1, ids, 0.0).amax(dim=1) / rest
    first = torch.maximum(sure, AHEAD * ratio / (1 + ratio)).clamp_max(1 - SURE)
    scaled = probabilities * ((1 - first) / rest)[:, None]
    return _scale_to_one(scaled.scatter(1, ids, first[:, None]))


def _scale_to_one(rows: torch.Tensor) -> torch.Tensor:
    return rows / rows.sum(dim=1, keepdim=True)
