"""From vectors to probabilities: category matrices, exemplars and the table of exact titles, mixed, on the device.

One matrix product a part. Serving and calibration both go through here; texts and matches are the scorer's.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch.nn.functional import normalize

from consumer.model.queries import Queries
from consumer.model.serving_options import AS_TRAINED, Switches
from schemas.artifact import Calibration, Category, Exemplars, KnownTitle, Mix
from schemas.soc import GROUP_LEVELS, Level
from schemas.text import title_key

NEAREST = 2


@dataclass(frozen=True, slots=True)
class Tensors:
    """What a model version holds besides its manifest, in host memory.

    `title` `(categories, dim)`; `line` and `body` `(categories, their dim)`; `exemplars` `(count, dim)`, of the first of
    `titles`.
    """

    categories: tuple[Category, ...]
    title: torch.Tensor
    line: torch.Tensor | None = None
    exemplars: torch.Tensor | None = None
    titles: tuple[KnownTitle, ...] = ()
    body: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class Nearest:
    """The most similar exemplars of each query, nearest first: numbers and cosines `(n, k)`, and the vote `(n, categories)`."""

    ids: torch.Tensor
    cosines: torch.Tensor
    vote: torch.Tensor


@dataclass(frozen=True, slots=True)
class Parts:
    """What each part of a model says of n postings, each `(n, categories)`; None: the model has no such part.

    `title`, `line`, `body`: cosines; `vote`: probabilities; `counts`: labelled postings with that very title; `known` and
    `with_body` `(n,)`: where there are such counts, and a body.
    """

    title: torch.Tensor
    vote: torch.Tensor | None
    line: torch.Tensor | None
    counts: torch.Tensor | None
    known: torch.Tensor
    body: torch.Tensor | None
    with_body: torch.Tensor

    def each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "Parts":
        """Return the parts with each tensor that is there changed."""
        there = {field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None}
        return replace(self, **{name: change(value) for name, value in there.items()})


def alone(mix: Mix, parts: Parts) -> dict[str, torch.Tensor]:
    """Return what title, exemplars and line say each by itself, probabilities `(n, categories)` by the name of their weight."""
    said = {"title_weight": torch.softmax(mix.scale * parts.title, dim=1)}
    if parts.vote is not None:
        said["exemplar_weight"] = parts.vote
    if parts.line is not None:
        said["line_weight"] = torch.softmax(mix.scale * parts.line, dim=1)
    return said


def weighted(mix: Mix, said: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return the weighted mean `(n, categories)` of what parts say; the weights of those that are missing fall to the others."""
    weights = {name: getattr(mix, name) for name in said}
    total = sum(weights.values())
    return sum((weight / total * said[name] for name, weight in weights.items()), torch.zeros(()))


def blend(mix: Mix, parts: Parts) -> torch.Tensor:
    """Return the mixed probabilities `(n, categories)` of all parts: see `Mix` for the formula."""
    mixed = weighted(mix, alone(mix, parts))
    if parts.counts is not None and mix.known_prior is not None:
        mixed = (mix.known_prior * mixed + parts.counts) / (mix.known_prior + parts.counts.sum(dim=1, keepdim=True))
    if parts.body is None or not mix.body_weight:
        return mixed
    doubt = mix.body_weight * (1 - mixed.amax(dim=1, keepdim=True)) * parts.with_body[:, None]
    return (mixed + doubt * torch.softmax(mix.body_scale * parts.body, dim=1)) / (1 + doubt)


class Mixture:
    """All parts of a model version on one device. Immutable."""

    def __init__(
        self,
        tensors: Tensors,
        mix: Mix,
        exemplars: Exemplars | None,
        device: torch.device,
        *,
        switches: Switches = AS_TRAINED,
    ) -> None:
        """Move the matrices to `device`. Raises ValueError on shapes, NaN or rows of length zero."""
        without = switches.without
        self.categories, self.titles, self.mix = tensors.categories, tensors.titles, mix
        self._title = _unit_rows("title", tensors.title, len(self.categories)).to(device)
        self._line = None
        if tensors.line is not None and "line" not in without:
            self._line = _unit_rows("line", tensors.line, len(self.categories)).to(device)
        self._body = None
        if tensors.body is not None and "body" not in without:
            self._body = _unit_rows("body", tensors.body, len(self.categories)).to(device)
        self._exemplars: torch.Tensor | None = None
        if exemplars is not None and tensors.exemplars is not None and "exemplars" not in without:
            self._vote = exemplars
            rows = _unit_rows("exemplar", tensors.exemplars, exemplars.count)
            self._exemplars = rows.to(device, torch.float16 if device.type == "cuda" else torch.float32)
            voters = self.titles[: exemplars.count]
            self._voter_categories = torch.tensor([title.category for title in voters], device=device)
            self._voter_weights = torch.tensor([title.weight for title in voters], device=device)
        self._known = {} if "known" in without else _exact_titles(self.titles)
        adjustment = switches.prior_adjustment
        self._log_prior = adjustment * _log_shares(self.categories).to(device) if adjustment else None
        self._groups = [tuple(t.to(device) for t in _groups(self.categories, level)) for level in GROUP_LEVELS]
        self.device = device

    def with_mix(self, mix: Mix) -> "Mixture":
        """Return this mixture under other weights; the matrices are shared."""
        other = copy.copy(self)
        other.mix = mix
        return other

    @property
    def uses_line(self) -> bool:
        """Whether queries need the line's vectors."""
        return self._line is not None

    @property
    def uses_body(self) -> bool:
        """Whether queries need the body's vectors."""
        return self._body is not None

    def is_known(self, key: str) -> bool:
        """Return whether a labelled posting had this very title (normalised)."""
        return key in self._known

    def nearest(self, titles: torch.Tensor) -> Nearest | None:
        """Return the nearest exemplars of unit rows `(n, dim)` and their vote; None without exemplars."""
        if self._exemplars is None:
            return None
        cosines = (titles.to(self._exemplars.dtype) @ self._exemplars.T).float()  # (n, exemplars)
        best = cosines.topk(min(self._vote.neighbours, cosines.shape[1]), dim=1)
        weights = torch.exp((best.values - best.values[:, :1]) / self._vote.temperature) * self._voter_weights[best.indices]
        vote = torch.zeros(len(titles), len(self.categories), device=self.device)
        vote.scatter_add_(1, self._voter_categories[best.indices], weights)
        few = slice(None, min(NEAREST, best.values.shape[1]))
        return Nearest(best.indices[:, few], best.values[:, few], vote / vote.sum(dim=1, keepdim=True))

    def parts(self, queries: Queries, nearest: Nearest | None) -> Parts:
        """Return what each part says of the queries; `nearest` is `self.nearest` of their titles."""
        body = queries.body
        with_body = torch.zeros(len(queries.keys), dtype=torch.bool, device=self.device) if body is None else body.any(dim=1)
        return Parts(
            title=queries.title @ self._title.T,
            vote=nearest.vote if nearest else None,
            line=None if self._line is None or queries.line is None else queries.line @ self._line.T,
            counts=self._counts(queries.keys),
            known=torch.tensor([self.is_known(key) for key in queries.keys], dtype=torch.bool, device=self.device),
            body=None if self._body is None or body is None else body @ self._body.T,
            with_body=with_body,
        )

    def calibrated(self, mixed: torch.Tensor, parts: Parts, calibration: Calibration) -> torch.Tensor:
        """Return calibrated probabilities `(n, categories)`: known titles, new ones and postings with a body apart."""
        sharpness = torch.where(parts.known, calibration.known.sharpness, calibration.new.sharpness)
        if calibration.body is not None and parts.body is not None:
            sharpness = torch.where(parts.with_body, calibration.body.sharpness, sharpness)
        logits = sharpness[:, None] * mixed.clamp_min(1e-9).log()
        return torch.softmax(logits if self._log_prior is None else logits - self._log_prior, dim=1)

    def groups(self, probabilities: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return per level of `GROUP_LEVELS` the likeliest group: a category in it and its probability, both `(n, levels)`."""
        members, sums = [], []
        by_category = probabilities.T.contiguous()  # whole rows are added up: several times faster than columns
        for numbers, firsts in self._groups:
            grouped = torch.zeros(len(firsts), len(probabilities), device=self.device)
            best = grouped.index_add_(0, numbers, by_category).max(dim=0)
            members.append(firsts[best.indices])
            sums.append(best.values)
        return torch.stack(members, dim=1), torch.stack(sums, dim=1)

    def _counts(self, keys: Sequence[str]) -> torch.Tensor | None:
        """Return how many labelled postings had these very titles, `(n, categories)`; None where none had."""
        met = [(row, self._known[key]) for row, key in enumerate(keys) if key in self._known]
        if not met:
            return None
        rows = torch.tensor([row for row, votes in met for _ in votes], device=self.device)
        categories = torch.tensor([category for _row, votes in met for category in votes], device=self.device)
        weights = torch.tensor([weight for _row, votes in met for weight in votes.values()], device=self.device)
        counts = torch.zeros(len(keys), len(self.categories), device=self.device)
        return counts.index_put_((rows, categories), weights, accumulate=True)


def _unit_rows(name: str, rows: torch.Tensor, count: int) -> torch.Tensor:
    if rows.ndim != 2 or rows.shape[0] != count:  # noqa: PLR2004 - a matrix
        raise ValueError(f"{count} rows are expected of the {name} embeddings of shape {tuple(rows.shape)}")
    lengths = rows.float().norm(dim=1)
    if not bool(torch.isfinite(lengths).all()) or bool((lengths < 1e-6).any()):  # noqa: PLR2004 - no direction left
        raise ValueError(f"a row of the {name} embeddings is NaN, infinite or of length zero")
    return normalize(rows.float(), dim=1)


def _exact_titles(titles: Sequence[KnownTitle]) -> dict[str, dict[int, float]]:
    """Return the votes per normalised title. The titles are stored cleaned: only their case is left to fold.

    O*NET's own titles have none: measured, postings of such a title are coded otherwise a quarter of the time.
    """
    votes: dict[str, dict[int, float]] = {}
    for title in titles:
        if title.weight < 1:
            continue
        of_title = votes.setdefault(title_key(title.title), {})
        of_title[title.category] = of_title.get(title.category, 0.0) + title.weight
    return votes


def _log_shares(categories: Sequence[Category]) -> torch.Tensor:
    counts = torch.tensor([category.postings + 1.0 for category in categories])
    return (counts / counts.sum()).log()


def _groups(categories: Sequence[Category], level: Level) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each category's group at a level, `(categories,)`, and the first category of each group, `(groups,)`."""
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
