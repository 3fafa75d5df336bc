"""Turns vectors into probabilities: mixes category matrices, exemplars and the table of exact titles on the device.

Each part costs one matrix product. Serving and calibration both use this code. How texts become vectors is in `queries.py`, how
probabilities become answers in `answers.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch.nn.functional import normalize

from consumer.model.queries import Queries
from consumer.model.serving_options import AS_TRAINED, ServingOptions
from consumer.model.title_tables import TitleTable
from schemas.artifact import Calibration, Category, Exemplars, KnownTitle, Mix
from schemas.soc import GROUP_LEVELS, Level

NEAREST = 2
"""How many exemplars an answer names as evidence."""


@dataclass(frozen=True, slots=True)
class Tensors:
    """The contents of a model version besides its manifest, in host memory.

    `title` is `(categories, dim)`; `line` and `body` are `(categories, dim of their encoders)`. `exemplars`, `(count, dim)`, are
    the vectors of the first `count` of `titles`.
    """

    categories: tuple[Category, ...]
    title: torch.Tensor
    line: torch.Tensor | None = None
    exemplars: torch.Tensor | None = None
    titles: tuple[KnownTitle, ...] = ()
    body: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class Nearest:
    """The most similar exemplars of n queries, nearest first: their numbers `ids` and `cosines`, both `(n, k)`.

    `vote` `(n, categories)` are the probabilities that more of the nearest exemplars come to; see `Exemplars` for the formula.
    """

    ids: torch.Tensor
    cosines: torch.Tensor
    vote: torch.Tensor


@dataclass(frozen=True, slots=True)
class Parts:
    """What each part of a model says about n postings, `(n, categories)`, or None where the model has no such part.

    `title`, `line` and `body` are cosines, `vote` holds probabilities. `counts` says how many labelled postings had exactly that
    title, `listed` under which categories O*NET lists it: each row adds up to 1, or is 0 for a title that is not listed.
    `known` and `with_body`, `(n,)`, say which postings have counts, and which have a body.
    """

    title: torch.Tensor
    vote: torch.Tensor | None
    line: torch.Tensor | None
    counts: torch.Tensor | None
    listed: torch.Tensor | None
    known: torch.Tensor
    body: torch.Tensor | None
    with_body: torch.Tensor

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


class Mixture:
    """All parts of a model version on one device. Immutable."""

    def __init__(
        self,
        tensors: Tensors,
        mix: Mix,
        exemplars: Exemplars | None,
        device: torch.device,
        *,
        serving_options: ServingOptions = AS_TRAINED,
    ) -> None:
        """Move the matrices to `device`. Raises ValueError where a shape does not fit, or a row is NaN or of length zero."""
        without, count = serving_options.without, len(tensors.categories)
        self.categories, self.titles, self.mix, self.device = tensors.categories, tensors.titles, mix, device
        self._title = _unit_rows("title", tensors.title, count).to(device)
        line = None if "line" in without else tensors.line
        self._line = None if line is None else _unit_rows("line", line, count).to(device)
        body = None if "body" in without else tensors.body
        self._body = None if body is None else _unit_rows("body", body, count).to(device)
        self._exemplars: torch.Tensor | None = None
        if exemplars is not None and tensors.exemplars is not None and "exemplars" not in without:
            self._vote = exemplars
            rows = _unit_rows("exemplar", tensors.exemplars, exemplars.count)
            self._exemplars = rows.to(device, torch.float16 if device.type == "cuda" else torch.float32)
            voters = self.titles[: exemplars.count]
            self._voter_categories = torch.tensor([title.category for title in voters], device=device)
            self._voter_weights = torch.tensor([title.weight for title in voters], device=device)
        titles = () if "known" in without else self.titles
        self._known, self._listed = TitleTable.count_postings(titles), TitleTable.share_listed(titles)
        adjustment = serving_options.prior_adjustment
        self._log_prior = adjustment * _log_shares(self.categories).to(device) if adjustment else None
        self._groups = [tuple(t.to(device) for t in _number_groups(self.categories, level)) for level in GROUP_LEVELS]

    @property
    def uses_line(self) -> bool:
        """Whether queries need vectors of the titles as posted."""
        return self._line is not None

    @property
    def uses_body(self) -> bool:
        """Whether queries need vectors of the bodies."""
        return self._body is not None

    def is_known(self, key: str) -> bool:
        """Return whether a labelled posting had exactly the title with this `title_key`."""
        return key in self._known

    def find_nearest(self, titles: torch.Tensor) -> Nearest | None:
        """Return the exemplars nearest to unit rows `(n, dim)`, and their vote; None where the model has no exemplars."""
        if self._exemplars is None:
            return None
        cosines = (titles.to(self._exemplars.dtype) @ self._exemplars.T).float()  # (n, exemplars)
        best = cosines.topk(min(self._vote.neighbours, cosines.shape[1]), dim=1)
        weights = torch.exp((best.values - best.values[:, :1]) / self._vote.temperature) * self._voter_weights[best.indices]
        vote = torch.zeros(len(titles), len(self.categories), device=self.device)
        vote.scatter_add_(1, self._voter_categories[best.indices], weights)
        return Nearest(best.indices[:, :NEAREST], best.values[:, :NEAREST], vote / vote.sum(dim=1, keepdim=True))

    def score_parts(self, queries: Queries, nearest: Nearest | None) -> Parts:
        """Return what each part says about the queries; `nearest` is what `find_nearest` returns for their titles."""
        body = queries.body
        with_body = torch.zeros(len(queries.keys), dtype=torch.bool, device=self.device) if body is None else body.any(dim=1)
        return Parts(
            title=queries.title @ self._title.T,
            vote=nearest.vote if nearest else None,
            line=None if self._line is None or queries.line is None else queries.line @ self._line.T,
            counts=self._known.look_up(queries.keys, len(self.categories), self.device),
            listed=self._listed.look_up(queries.keys, len(self.categories), self.device),
            known=torch.tensor([self.is_known(key) for key in queries.keys], dtype=torch.bool, device=self.device),
            body=None if self._body is None or body is None else body @ self._body.T,
            with_body=with_body,
        )

    def calibrate(self, mixed: torch.Tensor, parts: Parts, calibration: Calibration) -> torch.Tensor:
        """Return calibrated probabilities `(n, categories)`.

        Known titles, new titles and postings with a body have a sharpness of their own each; see `Thresholds` for the formula.
        """
        sharpness = torch.where(parts.known, calibration.known.sharpness, calibration.new.sharpness)
        if calibration.body is not None and parts.body is not None:
            sharpness = torch.where(parts.with_body, calibration.body.sharpness, sharpness)
        logits = sharpness[:, None] * mixed.clamp_min(1e-9).log()
        return torch.softmax(logits if self._log_prior is None else logits - self._log_prior, dim=1)

    def find_groups(self, probabilities: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the likeliest group at each level, as one of its categories, and its probability, both `(n, levels)`."""
        members, sums = [], []
        by_category = probabilities.T.contiguous()  # adding up whole rows is several times faster than adding up columns
        for numbers, firsts in self._groups:
            grouped = torch.zeros(len(firsts), len(probabilities), device=self.device)
            best = grouped.index_add_(0, numbers, by_category).max(dim=0)
            members.append(firsts[best.indices])
            sums.append(best.values)
        return torch.stack(members, dim=1), torch.stack(sums, dim=1)


def _unit_rows(name: str, rows: torch.Tensor, count: int) -> torch.Tensor:
    """Return `count` rows scaled to length 1, in single precision. Raises ValueError."""
    if rows.ndim != 2 or rows.shape[0] != count:  # noqa: PLR2004 - a matrix
        raise ValueError(f"{count} rows are expected of the {name} embeddings of shape {tuple(rows.shape)}")
    lengths = rows.float().norm(dim=1)
    if not bool(torch.isfinite(lengths).all()) or bool((lengths < 1e-6).any()):  # noqa: PLR2004 - no direction left
        raise ValueError(f"a row of the {name} embeddings is NaN, infinite or of length zero")
    return normalize(rows.float(), dim=1)


def _log_shares(categories: Sequence[Category]) -> torch.Tensor:
    """Return the logarithm of each category's share of the training postings, `(categories,)`, each with one posting more."""
    counts = torch.tensor([category.postings + 1.0 for category in categories])
    return (counts / counts.sum()).log()


def _number_groups(categories: Sequence[Category], level: Level) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the number of each category's group at a level, `(categories,)`, and each group's first category, `(groups,)`."""
    numbers: dict[str, int] = {}
    firsts: list[int] = []
    of_category = []
    for category, row in enumerate(categories):
        prefix = row.onet_code[: level.characters]
        if prefix not in numbers:
            numbers[prefix] = len(firsts)
            firsts.append(category)
        of_category.append(numbers[prefix])
    return torch.tensor(of_category), torch.tensor(firsts)
