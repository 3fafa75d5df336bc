"""From vectors to probabilities: category matrices, exemplars and the table of exact titles, mixed, on the device.

One matrix product a part. Serving and calibration both go through here; texts and matches are the scorer's.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch.nn.functional import normalize

from schemas.artifact import Calibration, Category, Exemplars, KnownTitle, Mix

Part = Literal["exemplars", "line", "known"]
"""What can be switched off; the category embeddings of the cleaned title cannot."""
LEVELS: tuple[tuple[Literal[2, 3, 5, 6], int], ...] = ((2, 2), (3, 4), (5, 6), (6, 7))
"""Digits of a group's code, and how many characters of an O*NET code they are."""
NEAREST = 2


@dataclass(frozen=True, slots=True)
class Tensors:
    """What a model version holds besides its manifest, in host memory.

    `title` `(categories, dim)`; `line` `(categories, line dim)`; `exemplars` `(count, dim)`, of the first of `titles`.
    """

    categories: tuple[Category, ...]
    title: torch.Tensor
    line: torch.Tensor | None = None
    exemplars: torch.Tensor | None = None
    titles: tuple[KnownTitle, ...] = ()


@dataclass(frozen=True, slots=True)
class Switches:
    """What a consumer changes in a model: parts to leave out (the others share their weight), and the class prior.

    `prior_adjustment` a multiplies every probability by share ** -a, share being the category's of the training postings:
    above 0 it favours rare categories (logit adjustment, Menon et al. 2021).
    """

    without: frozenset[Part] = frozenset()
    prior_adjustment: float = 0.0


AS_TRAINED = Switches()


@dataclass(frozen=True, slots=True)
class Queries:
    """A batch to score: unit rows `(n, dim)` of the cleaned titles and, with a line part, of the lines; keys of exact titles."""

    title: torch.Tensor
    line: torch.Tensor | None
    keys: Sequence[str]


@dataclass(frozen=True, slots=True)
class Nearest:
    """The most similar exemplars of each query, nearest first: numbers and cosines `(n, k)`, and the vote `(n, categories)`."""

    ids: torch.Tensor
    cosines: torch.Tensor
    vote: torch.Tensor


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
        self._groups = [tuple(t.to(device) for t in _groups(self.categories, width)) for _digits, width in LEVELS]
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

    def is_known(self, key: str) -> bool:
        """Return whether training met this very title (normalised)."""
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

    def cosines(self, queries: Queries) -> torch.Tensor:
        """Return the cosines `(n, categories)` of cleaned titles and categories."""
        return torch.matmul(queries.title, self._title.T)

    def parts(self, queries: Queries, cosines: torch.Tensor, vote: torch.Tensor | None) -> dict[str, torch.Tensor]:
        """Return each part's own probabilities `(n, categories)`, by the name of its weight in `Mix`."""
        found = {"title_weight": torch.softmax(self.mix.scale * cosines, dim=1)}
        if vote is not None:
            found["exemplar_weight"] = vote
        if self._line is not None and queries.line is not None:
            found["line_weight"] = torch.softmax(self.mix.scale * queries.line @ self._line.T, dim=1)
        return found

    def blend(self, parts: Mapping[str, torch.Tensor], keys: Sequence[str]) -> torch.Tensor:
        """Return the mixed probabilities `(n, categories)` of parts: see `Mix` for the formula."""
        weights = {name: getattr(self.mix, name) for name in parts}
        total = sum(weights.values())
        mixed = sum((weight / total * parts[name] for name, weight in weights.items()), torch.zeros((), device=self.device))
        return self._with_known(mixed, keys)

    def calibrated(self, mixed: torch.Tensor, keys: Sequence[str], calibration: Calibration) -> torch.Tensor:
        """Return calibrated probabilities `(n, categories)`, sharpened for known and new titles apart."""
        known = torch.tensor([self.is_known(key) for key in keys], device=self.device)[:, None]
        sharpness = torch.where(known, calibration.known.sharpness, calibration.new.sharpness)
        logits = sharpness * mixed.clamp_min(1e-9).log()
        return torch.softmax(logits if self._log_prior is None else logits - self._log_prior, dim=1)

    def groups(self, probabilities: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return per level of `LEVELS` the likeliest group: a category in it and its probability, both `(n, levels)`."""
        members, sums = [], []
        for numbers, firsts in self._groups:
            grouped = torch.zeros(len(probabilities), len(firsts), device=self.device)
            best = grouped.index_add_(1, numbers, probabilities).max(dim=1)
            members.append(firsts[best.indices])
            sums.append(best.values)
        return torch.stack(members, dim=1), torch.stack(sums, dim=1)

    def _with_known(self, mixed: torch.Tensor, keys: Sequence[str]) -> torch.Tensor:
        prior = self.mix.known_prior
        met = [(row, self._known[key]) for row, key in enumerate(keys) if key in self._known]
        if prior is None or not met:
            return mixed
        rows = torch.tensor([row for row, votes in met for _ in votes], device=self.device)
        categories = torch.tensor([category for _row, votes in met for category in votes], device=self.device)
        weights = torch.tensor([weight for _row, votes in met for weight in votes.values()], device=self.device)
        counts = torch.zeros_like(mixed).index_put_((rows, categories), weights, accumulate=True)
        return (prior * mixed + counts) / (prior + counts.sum(dim=1, keepdim=True))


def _unit_rows(name: str, rows: torch.Tensor, count: int) -> torch.Tensor:
    if rows.ndim != 2 or rows.shape[0] != count:  # noqa: PLR2004 - a matrix
        raise ValueError(f"{count} rows are expected of the {name} embeddings of shape {tuple(rows.shape)}")
    lengths = rows.float().norm(dim=1)
    if not bool(torch.isfinite(lengths).all()) or bool((lengths < 1e-6).any()):  # noqa: PLR2004 - no direction left
        raise ValueError(f"a row of the {name} embeddings is NaN, infinite or of length zero")
    return normalize(rows.float(), dim=1)


def _exact_titles(titles: Sequence[KnownTitle]) -> dict[str, dict[int, float]]:
    """Return the votes per normalised title. The titles are stored cleaned: only their case is left to fold."""
    votes: dict[str, dict[int, float]] = {}
    for title in titles:
        of_title = votes.setdefault(title.title.casefold(), {})
        of_title[title.category] = of_title.get(title.category, 0.0) + title.weight
    return votes


def _log_shares(categories: Sequence[Category]) -> torch.Tensor:
    counts = torch.tensor([category.postings + 1.0 for category in categories])
    return (counts / counts.sum()).log()


def _groups(categories: Sequence[Category], width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each category's group at a level, `(categories,)`, and the first category of each group, `(groups,)`."""
    numbers: dict[str, int] = {}
    firsts: list[int] = []
    of_category = []
    for category, row in enumerate(categories):
        prefix = row.onet_code[:width]
        if prefix not in numbers:
            numbers[prefix] = len(firsts)
            firsts.append(category)
        of_category.append(numbers[prefix])
    return torch.tensor(of_category), torch.tensor(firsts)
