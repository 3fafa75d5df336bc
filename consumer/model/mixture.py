"""Turns vectors into probabilities: mixes category matrices, exemplars and the table of exact titles on the device.

Each part costs one matrix product. Serving and calibration both use this code. How texts become vectors is in `queries.py`, how
probabilities become answers in `answers.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import normalize, pad

from consumer.model.blending import LEAST, Parts
from consumer.model.confidence import apply_confidence
from consumer.model.head_table import HeadTable
from consumer.model.queries import Queries
from consumer.model.serving_options import AS_TRAINED, ServingOptions
from consumer.model.title_tables import TitleTable
from schemas.artifact import Calibration, Category, Exemplars, KnownTitle, Mix
from schemas.soc import GROUP_LEVELS, Level

NEAREST = 2
"""How many exemplars an answer names as evidence."""
BODY_STRATUM = 2
"""The place of postings with a body in `Calibration.list_strata`."""


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

    `voters` `(n, neighbours)` are the cosines of those that vote, `voter_categories` their categories. `vote` `(n, categories)`
    are the probabilities that their votes come to; see `Exemplars` for the formula.
    """

    ids: torch.Tensor
    cosines: torch.Tensor
    voters: torch.Tensor
    voter_categories: torch.Tensor
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
        heads = self.titles if mix.head_weight and "head" not in without else ()
        self._heads = HeadTable(heads, count, device) if heads else None
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
        categories = self._voter_categories[best.indices]
        vote.scatter_add_(1, categories, weights)
        vote /= vote.sum(dim=1, keepdim=True)
        missing = (0, self._vote.neighbours - best.values.shape[1])  # a cosine of 0 is no evidence
        voters, categories = pad(best.values, missing), pad(categories, missing)
        return Nearest(best.indices[:, :NEAREST], best.values[:, :NEAREST], voters, categories, vote)

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
            head=self._heads.look_up(queries.heads) if self._heads else None,
            specificity=self._heads.find_specificity(queries.heads) if self._heads else None,
            neighbours=nearest.voters if nearest else None,
            neighbour_categories=nearest.voter_categories if nearest else None,
        )

    def calibrate(self, mixed: torch.Tensor, parts: Parts, calibration: Calibration) -> torch.Tensor:
        """Return calibrated probabilities `(n, categories)`.

        Known titles, new titles and postings with a body are calibrated apart; see `Thresholds` for the formulas.
        """
        strata = calibration.list_strata()
        stratum = parts.known.long()
        if calibration.body is not None and parts.body is not None:
            stratum = torch.where(parts.with_body, BODY_STRATUM, stratum)
        sharpness = torch.tensor([thresholds.sharpness for thresholds in strata], device=self.device)[stratum]
        logits = sharpness[:, None] * mixed.clamp_min(LEAST).log()
        probabilities = torch.softmax(logits if self._log_prior is None else logits - self._log_prior, dim=1)
        return apply_confidence(probabilities, [thresholds.confidence for thresholds in strata], stratum, self.mix, parts)

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
