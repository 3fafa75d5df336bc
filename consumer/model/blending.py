"""What the parts of a model say about postings, and how that becomes one probability of each category.

The parts answer in `mixture.py`. How sure an answer is, is decided in `confidence.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace

import torch

from schemas.artifact import Mix

LEAST = 1e-9
"""The least probability of which a logarithm is taken."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What each part of a model says about n postings, `(n, categories)`, or None where the model has no such part.

    `title`, `line` and `body` are cosines, `vote` holds probabilities. `counts` says how many labelled postings had exactly that
    title, `listed` under which categories O*NET lists it: each row adds up to 1, or is 0 for a title that is not listed.
    `known` and `with_body`, `(n,)`, say which postings have counts, and which have a body. `head` holds logarithms of
    probabilities, `specificity` `(n,)` says how much the title says, see `HeadTable`. `neighbours` and `neighbour_categories`,
    `(n, k)`, are the cosines and categories of the nearest exemplars.
    """

    title: torch.Tensor
    vote: torch.Tensor | None
    line: torch.Tensor | None
    counts: torch.Tensor | None
    listed: torch.Tensor | None
    known: torch.Tensor
    body: torch.Tensor | None
    with_body: torch.Tensor
    head: torch.Tensor | None = None
    specificity: torch.Tensor | None = None
    neighbours: torch.Tensor | None = None
    neighbour_categories: torch.Tensor | None = None

    def map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "Parts":
        """Return the parts with `change` applied to each tensor that is not None."""
        tensors = {field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None}
        return replace(self, **{name: change(value) for name, value in tensors.items()})


def predict_by_part(mix: Mix, parts: Parts) -> dict[str, torch.Tensor]:
    """Return the probabilities `(n, categories)` by title, exemplars and line alone, each under the name of its weight."""
    predicted = {"title_weight": torch.softmax(mix.scale * parts.title, dim=1)}
    if parts.vote is not None:
        predicted["exemplar_weight"] = parts.vote
    if parts.line is not None:
        predicted["line_weight"] = torch.softmax(mix.scale * parts.line, dim=1)
    return predicted


def average_by_weight(mix: Mix, predicted: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return the weighted mean `(n, categories)` of what `predict_by_part` returns. Weights of missing parts are shared out."""
    weights = {name: getattr(mix, name) for name in predicted}
    total = sum(weights.values())
    return sum((weight / total * predicted[name] for name, weight in weights.items()), torch.zeros(()))


def blend(mix: Mix, parts: Parts) -> torch.Tensor:
    """Return the mixed probabilities `(n, categories)` of all parts by the formula of `Mix`."""
    mixed = average_by_weight(mix, predict_by_part(mix, parts))
    if parts.head is not None and mix.head_weight:
        mixed = torch.softmax(mixed.clamp_min(LEAST).log() + mix.head_weight * parts.head, dim=1)
    known = _count_known(mix, parts)
    if known is not None and mix.known_prior is not None:
        mixed = (mix.known_prior * mixed + known) / (mix.known_prior + known.sum(dim=1, keepdim=True))
    if parts.body is None or not mix.body_weight:
        return mixed
    doubt = mix.body_weight * (1 - mixed.amax(dim=1, keepdim=True)) * parts.with_body[:, None]
    return (mixed + doubt * torch.softmax(mix.body_scale * parts.body, dim=1)) / (1 + doubt)


def _count_known(mix: Mix, parts: Parts) -> torch.Tensor | None:
    """Return how many postings speak for each category because of the exact title, O*NET's list counting for some."""
    if parts.listed is None or not mix.listed_weight:
        return parts.counts
    listed = mix.listed_weight * parts.listed
    return listed if parts.counts is None else parts.counts + listed
