"""From held-out postings to the weights of a model's parts, to calibrated probabilities and to decisions that keep a promise."""

from dataclasses import dataclass
from itertools import product

import torch
from torch.nn.functional import cross_entropy, nll_loss

from consumer.mixture import Mixture, Queries
from schemas.artifact import Calibration, Decide, Mix

MIN_ROWS = 30
"""A threshold, or a stratum of its own, needs so many postings to stand on."""
HOPELESS_PRECISION = 0.25
REJECT = -1
"""The label of a posting that no category fits: whatever is said of it is wrong, and no likelihood is fitted to it."""
NEVER = 1.01
"""A probability that is never reached."""
WEIGHTS = [step / 10 for step in range(8)]
KNOWN_PRIORS = (0.3, 1.0, 3.0, 10.0, 30.0)
DEFAULT_KNOWN_PRIOR = 3.0
SHARPNESS = [0.5 + step / 20 for step in range(51)]
MARGINS = (0.0, 0.1, 0.2, 0.3)


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Postings that the model was not trained on: their queries, and their true categories `(n,)`, REJECT where none fits."""

    queries: Queries
    labels: torch.Tensor


def best_scale(mixture: Mixture, held_out: HeldOut) -> float:
    """Return the scale of the category part by negative log likelihood (temperature scaling, Guo et al. 2017)."""
    cosines = mixture.cosines(held_out.queries).cpu()
    scales = [5 + step / 2 for step in range(151)]
    return min(scales, key=lambda scale: cross_entropy(scale * cosines, held_out.labels, ignore_index=REJECT).item())


def best_mix(mixture: Mixture, held_out: HeldOut) -> Mix:
    """Return the mixture's `mix` with the weights that make the held-out labels likeliest, on a grid of tenths."""
    queries = held_out.queries
    nearest = mixture.nearest(queries.title)
    parts = mixture.parts(queries, mixture.cosines(queries), nearest.vote if nearest else None)
    labels = held_out.labels.to(mixture.device)

    def loss(pair: tuple[float, float]) -> float:
        mixed = mixture.with_mix(_weighted(mixture.mix, *pair)).blend(parts, ()).clamp_min(1e-9).log()
        # Judged as it will be once it is sharpened: unsharpened, the more confident part would win whatever it knows.
        return min(cross_entropy(sharpness * mixed, labels, ignore_index=REJECT).item() for sharpness in (1.0, 1.25, 1.5, 2.0))

    exemplars = WEIGHTS if "exemplar_weight" in parts else [0.0]
    lines = WEIGHTS if "line_weight" in parts else [0.0]
    # The title part, whose cosine is published as the score, always has a say.
    return _weighted(mixture.mix, *min((p for p in product(exemplars, lines) if sum(p) <= 0.9), key=loss))  # noqa: PLR2004


def _weighted(mix: Mix, exemplar: float, line: float) -> Mix:
    update = {"title_weight": round(1 - exemplar - line, 2), "exemplar_weight": exemplar, "line_weight": line}
    return mix.model_copy(update=update)


def best_known_prior(mixture: Mixture, held_out: HeldOut) -> float:
    """Return how many postings the mixed probability counts for beside the table of exact titles."""
    fits = (held_out.labels != REJECT).tolist()
    known = [row for row, key in enumerate(held_out.queries.keys) if fits[row] and mixture.is_known(key)]
    if len(known) < MIN_ROWS:
        return DEFAULT_KNOWN_PRIOR
    labels = held_out.labels[known]

    def loss(prior: float) -> float:
        mixed = _mixed(mixture.with_mix(mixture.mix.model_copy(update={"known_prior": prior})), held_out.queries)[known]
        return nll_loss(mixed.clamp_min(1e-9).log(), labels).item()

    return min(KNOWN_PRIORS, key=loss)


def calibrate(mixture: Mixture, held_out: HeldOut, *, precision: float) -> Calibration:
    """Fit sharpness and thresholds, apart for known titles and new ones; with too few known ones they share the new ones'."""
    mixed = _mixed(mixture, held_out.queries)
    known = torch.tensor([mixture.is_known(key) for key in held_out.queries.keys])
    strata = [(mixed[mask], held_out.labels[mask]) for mask in (~known, known)]
    fitted = [
        _decide(*stratum, precision=precision) if int((stratum[1] != REJECT).sum()) >= MIN_ROWS else None for stratum in strata
    ]
    either = fitted[0] or fitted[1] or _decide(mixed, held_out.labels, precision=precision)
    return Calibration(precision=precision, new=fitted[0] or either, known=fitted[1] or either)


def _mixed(mixture: Mixture, queries: Queries) -> torch.Tensor:
    nearest = mixture.nearest(queries.title)
    parts = mixture.parts(queries, mixture.cosines(queries), nearest.vote if nearest else None)
    return mixture.blend(parts, queries.keys).cpu()


def _decide(mixed: torch.Tensor, labels: torch.Tensor, *, precision: float) -> Decide:
    """Fit one stratum to mixed probabilities `(n, categories)` with true categories `(n,)`, one of them at least no REJECT.

    `accept_at` is the least probability from which on `precision` of the postings are right, at the margin that covers most;
    `review_at` the greatest below which at most one in four is. Without MIN_ROWS postings nothing is accepted, all is for
    review.
    """
    logs = mixed.clamp_min(1e-9).log()
    sharpness = min(SHARPNESS, key=lambda s: cross_entropy(s * logs, labels, ignore_index=REJECT).item())
    best, ids = torch.softmax(sharpness * logs, dim=1).topk(min(2, mixed.shape[1]), dim=1)
    right = ids[:, 0] == labels
    lead = best[:, 0] - best[:, 1:].sum(dim=1)
    choices = []
    for margin in MARGINS:
        eligible = lead >= margin
        at, count = _accept_at(best[:, 0][eligible], right[eligible], precision)
        choices.append((count, -margin, at))
    _count, margin, accept_at = max(choices)
    review_at = _review_at(best[:, 0], right, accept_at)
    return Decide(sharpness=sharpness, accept_at=accept_at, accept_margin=-margin, review_at=review_at)


def _accept_at(values: torch.Tensor, right: torch.Tensor, precision: float) -> tuple[float, int]:
    """Return the threshold, and how many it accepts."""
    values, hits = _by_confidence(values, right)
    rows = torch.arange(1, len(values) + 1)
    accepted = (hits.cumsum(0) / rows >= precision) & (rows >= MIN_ROWS) & _falls(values)
    if not bool(accepted.any()):
        return NEVER, 0
    last = int(accepted.nonzero().max())
    return float(values[last]), last + 1


def _review_at(values: torch.Tensor, right: torch.Tensor, accept_at: float) -> float:
    """Return the threshold, at most `accept_at`: what is accepted cannot be counted among the hopeless."""
    values, hits = _by_confidence(values, right)
    below = len(values) - torch.arange(1, len(values) + 1)  # how many postings lie below each value
    right_below = (hits.sum() - hits.cumsum(0)) / below.clamp_min(1)
    hopeless = (right_below <= HOPELESS_PRECISION) & (below >= MIN_ROWS) & _falls(values) & (values <= accept_at)
    return float(values[hopeless.nonzero().min()]) if bool(hopeless.any()) else 0.0


def _by_confidence(values: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    order = values.argsort(descending=True)
    return values[order], right[order].double()


def _falls(values: torch.Tensor) -> torch.Tensor:
    """Return where the next value is lower: a threshold cannot part postings of one probability."""
    falls = torch.ones(len(values), dtype=torch.bool)
    falls[:-1] = values[:-1] > values[1:]
    return falls
