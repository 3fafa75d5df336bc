"""A model version ready to serve: encoders, mixture and calibration. Immutable but for its cache of titles."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from consumer.encoder import Encoder
from consumer.errors import ArtifactError
from consumer.mixture import LEVELS, Mixture, Nearest, Queries
from schemas.artifact import Category, Decide, Manifest
from schemas.events import Decision, Evidence, Group, KnownExample, ModelInfo, OccupationMatch, soc_major
from schemas.text import TEMPLATE_ID, model_text, plain_text

GOLDEN_TOLERANCE = 0.02
"""How far a golden title's cosine may lie from the manifest's: room for half precision on other hardware."""


@dataclass(frozen=True, slots=True)
class Scored:
    """The answer for one title."""

    occupations: tuple[OccupationMatch, ...]
    decision: Decision
    groups: tuple[Group, ...]
    backoff: Group | None
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class _Row:
    """What is kept of one title: categories, groups and exemplars as numbers, a tenth of an answer's size."""

    ids: list[int]
    cosines: list[float]
    probabilities: list[float]
    group_members: list[int]
    group_probabilities: list[float]
    nearest: list[int]
    similarities: list[float]
    lead: float
    known: bool


class Scorer:
    """Scores titles with one model version. Training evaluates its candidates through this very class."""

    def __init__(
        self,
        manifest: Manifest,
        encoder: Encoder,
        mixture: Mixture,
        *,
        line_encoder: Encoder | None = None,
        top_n: int,
        cache_size: int = 0,
    ) -> None:
        self.manifest = manifest
        self.model = ModelInfo(
            version=manifest.version,
            encoder_id=manifest.encoder.id,
            taxonomy_version=manifest.taxonomy_version,
            trained_at=manifest.trained_at,
        )
        self.encoder = encoder
        self._line_encoder = line_encoder
        self.mixture = mixture
        self._top_n = top_n
        self._cache: OrderedDict[str, _Row] = OrderedDict()  # least recently used first
        self._cache_size = cache_size

    @property
    def version(self) -> str:
        """The model version."""
        return self.manifest.version

    @property
    def categories(self) -> tuple[Category, ...]:
        """The categories it chooses from."""
        return self.mixture.categories

    def score(self, titles: Sequence[str]) -> list[Scored]:
        """Return the answer for each title, in order. Each distinct text is computed at most once."""
        lines = [self._line_of(title) for title in titles]
        known = {line: self._cache[line] for line in lines if line in self._cache}
        new = [line for line in dict.fromkeys(lines) if line not in known]
        known.update(zip(new, self._compute(new), strict=True))
        self._remember(known)
        answers = {line: self._scored(row) for line, row in known.items()}
        return [answers[line] for line in lines]

    def queries(self, lines: Sequence[str]) -> Queries:
        """Return the vectors of titles; the transformer sees each distinct cleaned title once."""
        clean = [model_text(line) for line in lines]
        distinct = dict.fromkeys(clean)
        vectors = self.encoder.encode(list(distinct))
        place = {text: row for row, text in enumerate(distinct)}
        title = vectors[[place[text] for text in clean]]
        line = None
        if self.mixture.uses_line and self._line_encoder is not None:
            line = self._line_encoder.encode(list(lines))
        return Queries(title, line, [text.casefold() for text in clean])  # as `schemas.text.normalise_title`

    def probabilities(self, queries: Queries) -> torch.Tensor:
        """Return calibrated probabilities `(n, categories)`: what evaluation measures."""
        return self._probabilities(queries, self.mixture.cosines(queries), self.mixture.nearest(queries.title))

    def _probabilities(self, queries: Queries, cosines: torch.Tensor, nearest: Nearest | None) -> torch.Tensor:
        mixed = self.mixture.blend(self.mixture.parts(queries, cosines, nearest.vote if nearest else None), queries.keys)
        return self.mixture.calibrated(mixed, queries.keys, self.manifest.calibration)

    def decisions(self, probabilities: torch.Tensor, keys: Sequence[str]) -> list[Decision]:
        """Return what calibrated probabilities `(n, categories)` of titles with these keys permit."""
        best = probabilities.topk(min(2, probabilities.shape[1]), dim=1).values.cpu()
        leads = best[:, 0] - best[:, 1:].sum(dim=1)
        rows = zip(best[:, 0].tolist(), leads.tolist(), keys, strict=True)
        return [self._decision(first, lead, known=self.mixture.is_known(key)) for first, lead, key in rows]

    def _line_of(self, title: str) -> str:
        """Two spellings of one line share an answer; without a line part, so do two lines of one cleaned title."""
        return plain_text(title) if self.mixture.uses_line else model_text(title)

    def _compute(self, lines: Sequence[str]) -> list[_Row]:
        if not lines:
            return []
        mixture, queries = self.mixture, self.queries(lines)
        cosines, nearest = mixture.cosines(queries), mixture.nearest(queries.title)
        probabilities = self._probabilities(queries, cosines, nearest)
        best = probabilities.topk(min(max(self._top_n, 2), probabilities.shape[1]), dim=1)
        members, sums = mixture.groups(probabilities)
        columns = [best.indices, cosines.gather(1, best.indices), best.values, members, sums]
        columns += [nearest.ids, nearest.cosines] if nearest else []
        # One copy to the host per batch; float64 holds every number exactly.
        host = torch.cat([column.double() for column in columns], dim=1).cpu()
        widths = [column.shape[1] for column in columns]
        return [self._row(row, widths, key) for row, key in zip(host.tolist(), queries.keys, strict=True)]

    def _row(self, numbers: list[float], widths: Sequence[int], key: str) -> _Row:
        cut, at = [], 0
        for width in widths:
            cut.append(numbers[at : at + width])
            at += width
        ids, cosines, probabilities, members, sums, nearest, similarities = [*cut, [], []][:7]
        return _Row(
            ids=[int(number) for number in ids[: self._top_n]],
            cosines=cosines[: self._top_n],
            probabilities=probabilities[: self._top_n],
            group_members=[int(number) for number in members],
            group_probabilities=sums,
            nearest=[int(number) for number in nearest],
            similarities=similarities,
            lead=probabilities[0] - sum(probabilities[1:2]),
            known=self.mixture.is_known(key),
        )

    def _scored(self, row: _Row) -> Scored:
        matches = tuple(
            # Our own numbers are not validated again: this runs top_n times per posting.
            OccupationMatch.model_construct(
                rank=rank,
                onet_code=self.categories[i].onet_code,
                onet_title=self.categories[i].onet_title,
                soc_major=soc_major(self.categories[i].onet_code),
                score=round(score, 6),
                probability=round(probability, 6),
            )
            for rank, (i, score, probability) in enumerate(zip(row.ids, row.cosines, row.probabilities, strict=True), start=1)
        )
        decision = self._decision(row.probabilities[0], row.lead, known=row.known)
        groups = self._groups(row, matches[0])
        # The whole code is for `accept` alone: the decision is about it, and a backoff to it would say the opposite.
        sure = [group for group in groups[:-1] if group.probability >= self.manifest.calibration.precision]
        backoff = groups[-1] if decision == "accept" else next(reversed(sure), None)
        return Scored(matches, decision, groups, backoff, self._evidence(row))

    def _groups(self, row: _Row, best: OccupationMatch) -> tuple[Group, ...]:
        whole = Group.model_construct(digits=8, code=best.onet_code, probability=best.probability)
        pairs = zip(LEVELS, row.group_members, row.group_probabilities, strict=True)
        coarser = [
            Group.model_construct(
                digits=digits, code=group_code(self.categories[member].onet_code, width), probability=round(min(total, 1.0), 6)
            )
            for (digits, width), member, total in pairs
        ]
        return (*coarser, whole)

    def _evidence(self, row: _Row) -> Evidence:
        titles = self.mixture.titles
        nearest = tuple(
            KnownExample.model_construct(
                title=titles[i].title, onet_code=self.categories[titles[i].category].onet_code, similarity=round(cosine, 6)
            )
            for i, cosine in zip(row.nearest, row.similarities, strict=True)
        )
        return Evidence.model_construct(exact_title=row.known, nearest=nearest)

    def _decision(self, probability: float, lead: float, *, known: bool) -> Decision:
        calibration = self.manifest.calibration
        decide: Decide = calibration.known if known else calibration.new
        if probability >= decide.accept_at and lead >= decide.accept_margin:
            return "accept"
        return "review" if probability >= decide.review_at else "unclassified"

    def _remember(self, rows: dict[str, _Row]) -> None:
        if not self._cache_size:
            return
        for text, row in rows.items():
            self._cache[text] = row
            self._cache.move_to_end(text)
        while len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)


def group_code(onet_code: str, width: int) -> str:
    """Return how the SOC writes the group of a code's first `width` characters: `29-1000` for 4 of `29-1141.00`."""
    return f"{onet_code[:width]:0<7}" if width > 2 else f"{onet_code[:2]}-0000"  # noqa: PLR2004 - no dash in two characters


def check_serveable(scorer: Scorer) -> None:
    """Check an artifact by its own golden titles before it serves. Raises ArtifactError naming the first that fails."""
    manifest = scorer.manifest
    if manifest.template != TEMPLATE_ID:
        raise ArtifactError(
            f"version {manifest.version} was trained on text template {manifest.template!r}; this program makes {TEMPLATE_ID!r}. "
            "Train it again with this version of occustream"
        )
    if not manifest.golden:
        raise ArtifactError(f"version {manifest.version} has no golden titles to check it by")
    for golden, scored in zip(manifest.golden, scorer.score([g.title for g in manifest.golden]), strict=True):
        best = scored.occupations[0]
        if best.onet_code != golden.onet_code or not abs(best.score - golden.score) <= GOLDEN_TOLERANCE:
            raise ArtifactError(
                f"version {manifest.version} fails on golden title {golden.title!r}: "
                f"{best.onet_code} at {best.score:.3f}, not {golden.onet_code} at {golden.score:.3f}"
            )
