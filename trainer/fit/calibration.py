"""From held-out postings to the weights of a model's parts, to calibrated probabilities and to decisions that keep a promise."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from consumer.model.mixture import Mixture, Parts, alone, blend, weighted
from consumer.model.queries import Queries
from schemas.artifact import Calibration, Decide, Mix

MIN_ROWS = 30
"""A threshold, or a stratum of its own, needs so many postings to stand on."""
MIN_BODIES = 100
"""What a body adds has more that is fitted to it: a scale, a weight, a sharpness and thresholds."""
HOPELESS_PRECISION = 0.25
REJECT = -1
"""The label of a posting that no category fits: whatever is said of it is wrong, and no likelihood is fitted to it."""
NEVER = 1.01
"""A probability that is never reached."""
WEIGHTS = [step / 10 for step in range(8)]
KNOWN_PRIORS = (0.3, 1.0, 3.0, 10.0, 30.0)
DEFAULT_KNOWN_PRIOR = 10.0
BODY_WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
SHARPNESS = [0.5 + step / 20 for step in range(51)]
MARGINS = (0.0, 0.1, 0.2, 0.3)


@dataclass(frozen=True, slots=True)
class HeldOutParts:
    """What the parts of a model say of n postings that it was not trained on.

    `labels` `(n,)` are their true categories, REJECT where none fits; `weights` `(n,)` what each counts in a likelihood.
    """

    parts: Parts
    labels: torch.Tensor
    weights: torch.Tensor

    def __len__(self) -> int:
        """Return how many of them a category fits."""
        return int((self.labels != REJECT).sum())

    def select(self, mask: torch.Tensor) -> "HeldOutParts":
        """Return the postings for which `mask` `(n,)` is true."""
        return HeldOutParts(self.parts.each(lambda values: values[mask]), self.labels[mask], self.weights[mask])


def compute_held_out_parts(mixture: Mixture, queries: Queries, labels: torch.Tensor) -> HeldOutParts:
    """Return what a mixture says of postings that it was not trained on, `labels` `(n,)` being their true categories.

    The postings of a title that is new to the model weigh as much as one posting together: they are right or wrong
    join_held_out_parts, too, and a title with a hundred would drown the others.
    """
    parts = mixture.parts(queries, mixture.nearest(queries.title)).each(lambda values: values.cpu())
    fits = (labels != REJECT).tolist()
    times = Counter(key for key, has_category in zip(queries.keys, fits, strict=True) if has_category)
    shared = torch.tensor([1 / max(1, times[key]) for key in queries.keys])
    return HeldOutParts(parts, labels, torch.where(parts.known, 1.0, shared))


def join_held_out_parts(held: Sequence[HeldOutParts]) -> HeldOutParts:
    """Return the postings that several models were not trained on, as if one model had said it all."""
    joined: dict[str, Any] = {
        field.name: _join_part([getattr(h.parts, field.name) for h in held], held) for field in fields(Parts)
    }
    parts = replace(held[0].parts, **joined)
    return HeldOutParts(parts, torch.cat([h.labels for h in held]), torch.cat([h.weights for h in held]))


def _join_part(values: Sequence[torch.Tensor | None], held: Sequence[HeldOutParts]) -> torch.Tensor | None:
    if all(value is None for value in values):
        return None
    # One of them may have no counts, or no bodies: then it has them of nobody.
    return torch.cat([torch.zeros_like(h.parts.title) if v is None else v for v, h in zip(values, held, strict=True)])


def choose_scale(cosines: torch.Tensor, held: HeldOutParts) -> float:
    """Return the scale of cosines `(n, categories)` by negative log likelihood (temperature scaling, Guo et al. 2017)."""
    scales = [5 + step / 2 for step in range(151)]
    return min(scales, key=lambda scale: _loss(scale * cosines, held))


def choose_mix_weights(mix: Mix, held: HeldOutParts) -> Mix:
    """Return `mix` with the weights of its parts that make the held-out labels likeliest, on a grid of tenths."""
    said = alone(mix, held.parts)

    def loss(pair: tuple[float, float]) -> float:
        mixed = weighted(_set_weights(mix, *pair), said).clamp_min(1e-9).log()
        # Judged as it will be once it is sharpened: unsharpened, the more confident part would win whatever it knows.
        return min(_loss(sharpness * mixed, held) for sharpness in (1.0, 1.25, 1.5, 2.0))

    exemplars = WEIGHTS if held.parts.vote is not None else [0.0]
    lines = WEIGHTS if held.parts.line is not None else [0.0]
    # The title part, whose cosine is published as the score, always has a say.
    return _set_weights(mix, *min((p for p in product(exemplars, lines) if sum(p) <= 0.9), key=loss))  # noqa: PLR2004


def _set_weights(mix: Mix, exemplar: float, line: float) -> Mix:
    update = {"title_weight": round(1 - exemplar - line, 2), "exemplar_weight": exemplar, "line_weight": line}
    return mix.model_copy(update=update)


def choose_known_prior(mix: Mix, held: HeldOutParts) -> float:
    """Return how many postings the mixed probability counts for beside the table of exact titles."""
    met = held.select(held.parts.known)
    if len(met) < MIN_ROWS:
        return DEFAULT_KNOWN_PRIOR
    return min(KNOWN_PRIORS, key=lambda prior: _loss(_log_probabilities(mix.model_copy(update={"known_prior": prior}), met), met))


def choose_body_weight(mix: Mix, held: HeldOutParts) -> Mix:
    """Return `mix` with the scale of the body's part and how much it joins in, judged sharpened like the other weights.

    The weight is 0 where too few postings have a body.
    """
    seen = held.select(held.parts.with_body)
    if seen.parts.body is None or len(seen) < MIN_BODIES:
        return mix.model_copy(update={"body_weight": 0.0})
    mix = mix.model_copy(update={"body_scale": choose_scale(seen.parts.body, seen)})

    def loss(weight: float) -> float:
        logs = _log_probabilities(mix.model_copy(update={"body_weight": weight}), seen)
        return min(_loss(sharpness * logs, seen) for sharpness in (0.75, 1.0, 1.25, 1.5, 2.0))

    return mix.model_copy(update={"body_weight": min(BODY_WEIGHTS, key=loss)})


def calibrate(mix: Mix, held: HeldOutParts, *, precision: float) -> Calibration:
    """Fit sharpness and thresholds, apart for known titles, for new ones and for postings with a body.

    Known and new titles are fitted as if nobody had a body. With too few known ones, or too few new ones, they share the
    other ones'. Where bodies have no weight, they are not looked at.
    """
    titles = replace(held, parts=replace(held.parts, body=None))
    known = held.parts.known
    strata = [titles.select(~known), titles.select(known)]
    fitted = [_fit_thresholds(mix, stratum, precision=precision) if len(stratum) >= MIN_ROWS else None for stratum in strata]
    either = fitted[0] or fitted[1] or _fit_thresholds(mix, titles, precision=precision)
    seen = held.select(held.parts.with_body)
    looked_at = mix.body_weight > 0 and held.parts.body is not None and len(seen) >= MIN_ROWS
    body = _fit_thresholds(mix, seen, precision=precision) if looked_at else None
    return Calibration(precision=precision, new=fitted[0] or either, known=fitted[1] or either, body=body)


def _fit_thresholds(mix: Mix, held: HeldOutParts, *, precision: float) -> Decide:
    """Fit one stratum of n postings, one of them at least no REJECT.

    `accept_at` is the least probability from which on `precision` of the postings are right, at the margin that covers most;
    `review_at` the greatest below which at most one in four is. Without MIN_ROWS postings nothing is accepted, all is for
    review. Here every posting counts as one: that is what is promised.
    """
    logs, labels = _log_probabilities(mix, held), held.labels
    sharpness = min(SHARPNESS, key=lambda s: _loss(s * logs, held))
    best, ids = torch.softmax(sharpness * logs, dim=1).topk(min(2, logs.shape[1]), dim=1)
    right = ids[:, 0] == labels
    lead = best[:, 0] - best[:, 1:].sum(dim=1)
    choices = []
    for margin in MARGINS:
        eligible = lead >= margin
        at, count = _find_accept_at(best[:, 0][eligible], right[eligible], precision)
        choices.append((count, -margin, at))
    _count, margin, accept_at = max(choices)
    review_at = _find_review_at(best[:, 0], right, accept_at)
    return Decide(sharpness=sharpness, accept_at=accept_at, accept_margin=-margin, review_at=review_at)


def _log_probabilities(mix: Mix, held: HeldOutParts) -> torch.Tensor:
    return blend(mix, held.parts).clamp_min(1e-9).log()


def _loss(logits: torch.Tensor, held: HeldOutParts) -> float:
    """Return the weighted mean negative log likelihood of logits `(n, categories)`."""
    losses = cross_entropy(logits, held.labels, reduction="none", ignore_index=REJECT)
    return float((losses * held.weights).sum() / held.weights[held.labels != REJECT].sum())


def _find_accept_at(values: torch.Tensor, right: torch.Tensor, precision: float) -> tuple[float, int]:
    """Return the threshold, and how many it accepts."""
    values, hits = _sort_by_confidence(values, right)
    rows = torch.arange(1, len(values) + 1)
    accepted = (hits.cumsum(0) / rows >= precision) & (rows >= MIN_ROWS) & _mark_drops(values)
    if not bool(accepted.any()):
        return NEVER, 0
    last = int(accepted.nonzero().max())
    return float(values[last]), last + 1


def _find_review_at(values: torch.Tensor, right: torch.Tensor, accept_at: float) -> float:
    """Return the threshold, at most `accept_at`: what is accepted cannot be counted among the hopeless."""
    values, hits = _sort_by_confidence(values, right)
    below = len(values) - torch.arange(1, len(values) + 1)  # how many postings lie below each value
    right_below = (hits.sum() - hits.cumsum(0)) / below.clamp_min(1)
    hopeless = (right_below <= HOPELESS_PRECISION) & (below >= MIN_ROWS) & _mark_drops(values) & (values <= accept_at)
    return float(values[hopeless.nonzero().min()]) if bool(hopeless.any()) else 0.0


def _sort_by_confidence(values: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    order = values.argsort(descending=True)
    return values[order], right[order].double()


def _mark_drops(values: torch.Tensor) -> torch.Tensor:
    """Return where the next value is lower: a threshold cannot part postings of one probability."""
    falls = torch.ones(len(values), dtype=torch.bool)
    falls[:-1] = values[:-1] > values[1:]
    return falls
