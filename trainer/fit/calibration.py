"""Calibration on held-out postings: the weights of a model's parts, its sharpness, and thresholds that keep a promise."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from consumer.model.blending import LEAST, Parts, average_by_weight, blend, predict_by_part
from consumer.model.confidence import apply_confidence
from consumer.model.mixture import Mixture
from consumer.model.queries import Queries
from schemas.artifact import Calibration, Mix, Thresholds
from trainer.fit.confidence import fit_confidence

MIN_ROWS = 30
"""Postings that a threshold, or a stratum of its own, is fitted to at least."""
MIN_BODIES = 100
"""Postings with a body that are needed to fit the weight of bodies: more than MIN_ROWS, because more is fitted to them."""
HOPELESS_PRECISION = 0.25
"""The share of right answers up to which postings are given up on, as `unclassified`."""
REJECT = -1
"""The label of a posting that no category fits. Every answer to it counts as wrong, and no likelihood is fitted to it."""
NEVER = 1.01
"""A probability that is never reached."""
WEIGHTS = [step / 10 for step in range(8)]
KNOWN_PRIORS = (0.3, 1.0, 3.0, 10.0, 30.0)
DEFAULT_KNOWN_PRIOR = 10.0
LISTED_WEIGHTS = (0.0, 1.0, 3.0, 10.0, 30.0)
DEFAULT_LISTED_WEIGHT = 10.0
BODY_WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
SHARPNESS = [0.5 + step / 20 for step in range(51)]
MARGINS = (0.0, 0.1, 0.2, 0.3)
SAME = 2e-6
"""Probabilities nearer to each other than this are equal: how many postings are computed at a time changes the last digits."""


@dataclass(frozen=True, slots=True)
class HeldOutParts:
    """The answers of a model's parts to n postings that it was not trained on.

    `labels` `(n,)` are the true categories, REJECT where none fits. `weights` `(n,)` are the postings' weights in a likelihood.
    """

    parts: Parts
    labels: torch.Tensor
    weights: torch.Tensor

    def __len__(self) -> int:
        """Return the number of postings that have a category."""
        return int((self.labels != REJECT).sum())

    def select(self, mask: torch.Tensor) -> "HeldOutParts":
        """Return the postings for which `mask` `(n,)` is true."""
        return HeldOutParts(self.parts.map(lambda values: values[mask]), self.labels[mask], self.weights[mask])


def compute_held_out_parts(mixture: Mixture, queries: Queries, labels: torch.Tensor) -> HeldOutParts:
    """Return the answers of a mixture's parts to postings that it was not trained on. `labels` `(n,)` are the true categories.

    The postings of a title that is new to the model weigh 1 together. They are right or wrong together, too, and a title with
    a hundred postings would outweigh all others.
    """
    parts = mixture.score_parts(queries, mixture.find_nearest(queries.title)).map(lambda values: values.cpu())
    has_category = (labels != REJECT).tolist()
    counts = Counter(key for key, counted in zip(queries.keys, has_category, strict=True) if counted)
    shared = torch.tensor([1 / max(1, counts[key]) for key in queries.keys])
    return HeldOutParts(parts, labels, torch.where(parts.known, 1.0, shared))


def join_held_out_parts(held_out: Sequence[HeldOutParts]) -> HeldOutParts:
    """Return the answers of several models to their own held-out postings, as if one model had given them."""
    joined: dict[str, Any] = {
        field.name: _join_part([getattr(h.parts, field.name) for h in held_out], held_out) for field in fields(Parts)
    }
    parts = replace(held_out[0].parts, **joined)
    return HeldOutParts(parts, torch.cat([h.labels for h in held_out]), torch.cat([h.weights for h in held_out]))


def _join_part(values: Sequence[torch.Tensor | None], held_out: Sequence[HeldOutParts]) -> torch.Tensor | None:
    if all(value is None for value in values):
        return None
    # A model may lack counts or bodies that the others have: zeros stand for them.
    return torch.cat([torch.zeros_like(h.parts.title) if v is None else v for v, h in zip(values, held_out, strict=True)])


def choose_scale(cosines: torch.Tensor, held_out: HeldOutParts) -> float:
    """Return the scale of cosines `(n, categories)` with the least loss on the labels (temperature scaling, Guo et al. 2017)."""
    scales = [5 + step / 2 for step in range(151)]
    return min(scales, key=lambda scale: _loss(scale * cosines, held_out))


def choose_mix_weights(mix: Mix, held_out: HeldOutParts) -> Mix:
    """Return `mix` with the weights, on a grid of tenths, under which the held-out labels are likeliest."""
    probabilities = predict_by_part(mix, held_out.parts)

    def loss(pair: tuple[float, float]) -> float:
        mixed = average_by_weight(_set_weights(mix, *pair), probabilities).clamp_min(1e-9).log()
        # The mix is sharpened later, so it is judged sharpened. Otherwise the most confident part would win, right or wrong.
        return min(_loss(sharpness * mixed, held_out) for sharpness in (1.0, 1.25, 1.5, 2.0))

    exemplars = WEIGHTS if held_out.parts.vote is not None else [0.0]
    lines = WEIGHTS if held_out.parts.line is not None else [0.0]
    # The title part always has some weight: its cosine is published as the score.
    return _set_weights(mix, *min((p for p in product(exemplars, lines) if sum(p) <= 0.9), key=loss))  # noqa: PLR2004


def _set_weights(mix: Mix, exemplar: float, line: float) -> Mix:
    update = {"title_weight": round(1 - exemplar - line, 2), "exemplar_weight": exemplar, "line_weight": line}
    return mix.model_copy(update=update)


def choose_known_prior(mix: Mix, held_out: HeldOutParts) -> float:
    """Return the number of postings that the mixed probability counts for beside the counts of exactly this title."""
    known = held_out.select(held_out.parts.known)
    if len(known) < MIN_ROWS:
        return DEFAULT_KNOWN_PRIOR

    def loss(prior: float) -> float:
        return _loss(_log_probabilities(mix.model_copy(update={"known_prior": prior}), known), known)

    return min(KNOWN_PRIORS, key=loss)


def choose_listed_weight(mix: Mix, held_out: HeldOutParts) -> float:
    """Return the number of postings that O*NET's list counts for beside the counts of exactly this title."""
    if held_out.parts.listed is None:
        return DEFAULT_LISTED_WEIGHT
    listed = held_out.select(held_out.parts.listed.any(dim=1))
    if len(listed) < MIN_ROWS:
        return DEFAULT_LISTED_WEIGHT

    def loss(weight: float) -> float:
        return _loss(_log_probabilities(mix.model_copy(update={"listed_weight": weight}), listed), listed)

    return min(LISTED_WEIGHTS, key=loss)


def choose_body_weight(mix: Mix, held_out: HeldOutParts) -> Mix:
    """Return `mix` with the scale and the weight of the part for bodies, judged sharpened like the other weights.

    The weight is 0 if fewer than MIN_BODIES postings have a body.
    """
    with_body = held_out.select(held_out.parts.with_body)
    if with_body.parts.body is None or len(with_body) < MIN_BODIES:
        return mix.model_copy(update={"body_weight": 0.0})
    mix = mix.model_copy(update={"body_scale": choose_scale(with_body.parts.body, with_body)})

    def loss(weight: float) -> float:
        logs = _log_probabilities(mix.model_copy(update={"body_weight": weight}), with_body)
        return min(_loss(sharpness * logs, with_body) for sharpness in (0.75, 1.0, 1.25, 1.5, 2.0))

    return mix.model_copy(update={"body_weight": min(BODY_WEIGHTS, key=loss)})


def calibrate(mix: Mix, held_out: HeldOutParts, *, precision: float) -> Calibration:
    """Fit sharpness and thresholds in three strata: known titles, new titles, and postings with a body.

    For the first two, bodies are ignored. If one of them has fewer than MIN_ROWS postings, it shares the thresholds of the
    other. The third is None if bodies have no weight or too few postings have one. `precision` is the share of accepted
    postings that must be right.
    """
    titles = replace(held_out, parts=replace(held_out.parts, body=None))
    known = held_out.parts.known
    strata = [titles.select(~known), titles.select(known)]
    fitted = [_fit_thresholds(mix, stratum, precision=precision) if len(stratum) >= MIN_ROWS else None for stratum in strata]
    either = fitted[0] or fitted[1] or _fit_thresholds(mix, titles, precision=precision)
    with_body = held_out.select(held_out.parts.with_body)
    fits_body = mix.body_weight > 0 and held_out.parts.body is not None and len(with_body) >= MIN_ROWS
    body = _fit_thresholds(mix, with_body, precision=precision) if fits_body else None
    return Calibration(precision=precision, new=fitted[0] or either, known=fitted[1] or either, body=body)


def _fit_thresholds(mix: Mix, held_out: HeldOutParts, *, precision: float) -> Thresholds:
    """Fit sharpness, confidence and thresholds to one stratum, in which at least one posting has a category.

    `accept_at` is the least probability such that `precision` of the postings from there on are right, at the margin that
    accepts most postings. `review_at` is the greatest probability such that at most HOPELESS_PRECISION of the postings below
    are right. With fewer than MIN_ROWS postings nothing is accepted or given up on. Every posting counts as one here, because
    the promise is about postings.
    """
    logs, labels = _log_probabilities(mix, held_out), held_out.labels
    sharpness = min(SHARPNESS, key=lambda s: _loss(s * logs, held_out))
    probabilities = torch.softmax(sharpness * logs, dim=1)
    right = probabilities.argmax(dim=1) == labels
    confidence = fit_confidence(probabilities, right, mix, held_out.parts) if len(held_out) >= MIN_ROWS else None
    stratum = torch.zeros(len(labels), dtype=torch.long)
    probabilities = apply_confidence(probabilities, [confidence], stratum, mix, held_out.parts)
    best = probabilities.topk(min(2, logs.shape[1]), dim=1).values
    lead = best[:, 0] - best[:, 1:].sum(dim=1)
    choices = []
    for margin in MARGINS:
        eligible = lead >= margin
        at, count = _find_accept_at(best[:, 0][eligible], right[eligible], precision)
        choices.append((count, -margin, at))
    _count, margin, accept_at = max(choices)
    review_at = _find_review_at(best[:, 0], right, accept_at)
    return Thresholds(sharpness=sharpness, confidence=confidence, accept_at=accept_at, accept_margin=-margin, review_at=review_at)


def _log_probabilities(mix: Mix, held_out: HeldOutParts) -> torch.Tensor:
    return blend(mix, held_out.parts).clamp_min(LEAST).log()


def _loss(logits: torch.Tensor, held_out: HeldOutParts) -> float:
    """Return the weighted mean negative log likelihood of the labels under logits `(n, categories)`."""
    losses = cross_entropy(logits, held_out.labels, reduction="none", ignore_index=REJECT)
    return float((losses * held_out.weights).sum() / held_out.weights[held_out.labels != REJECT].sum())


def _find_accept_at(values: torch.Tensor, right: torch.Tensor, precision: float) -> tuple[float, int]:
    """Return the least threshold that keeps `precision`, and the number of postings that it accepts; (NEVER, 0) without one."""
    values, hits = _sort_by_confidence(values, right)
    rows = torch.arange(1, len(values) + 1)
    accepted = (hits.cumsum(0) / rows >= precision) & (rows >= MIN_ROWS) & _mark_drops(values)
    if not bool(accepted.any()):
        return NEVER, 0
    last = int(accepted.nonzero().max())
    return float(values[last]) - SAME / 2, last + 1


def _find_review_at(values: torch.Tensor, right: torch.Tensor, accept_at: float) -> float:
    """Return the greatest threshold below which postings are hopeless, at most `accept_at`; 0 without one."""
    values, hits = _sort_by_confidence(values, right)
    below = len(values) - torch.arange(1, len(values) + 1)  # how many postings lie below each value
    right_below = (hits.sum() - hits.cumsum(0)) / below.clamp_min(1)
    hopeless = (right_below <= HOPELESS_PRECISION) & (below >= MIN_ROWS) & _mark_drops(values) & (values <= accept_at + SAME)
    return float(values[hopeless.nonzero().min()]) - SAME / 2 if bool(hopeless.any()) else 0.0


def _sort_by_confidence(values: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    order = values.argsort(descending=True)
    return values[order], right[order].double()


def _mark_drops(values: torch.Tensor) -> torch.Tensor:
    """Return for each value whether the next one is lower: a threshold cannot part postings of equal probability."""
    drops = torch.ones(len(values), dtype=torch.bool)
    drops[:-1] = values[:-1] > values[1:] + SAME
    return drops
