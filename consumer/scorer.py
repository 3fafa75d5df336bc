"""A model version ready to serve: encoders, mixture and calibration. Immutable but for its cache and what fits in memory."""

import hashlib
import logging
import sys
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from consumer.encoder import Encoder
from consumer.errors import ArtifactError, ScorerFailed
from consumer.mixture import LEVELS, Mixture, Nearest, Parts, Queries, blend
from schemas.artifact import Category, Decide, Manifest
from schemas.events import Decision, Evidence, Group, KnownExample, ModelInfo, OccupationMatch, soc_major
from schemas.text import TEMPLATE_ID, body_text, model_text, plain_text

log = logging.getLogger(__name__)

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


class _Asked(NamedTuple):
    """What is looked at of a posting. Without a line part, `line` is the cleaned title; without a body part, `body` is ""."""

    line: str
    body: str

    @property
    def key(self) -> "_Key":
        """What two postings share that share an answer; short, for a body may be long."""
        return self.line, hashlib.blake2b(self.body.encode(), digest_size=16).digest() if self.body else b""


_Key = tuple[str, bytes]
"""A line and a digest of its body; two fields, for a title may hold any character, and so would pass for both."""


class _Row(NamedTuple):
    """What is kept of one posting: categories, groups and exemplars as numbers, a tenth of an answer's size."""

    flags: list[int]
    ids: list[int]
    group_members: list[int]
    nearest: list[int]
    cosines: list[float]
    probabilities: list[float]
    group_probabilities: list[float]
    similarities: list[float]


class Scorer:
    """Scores postings with one model version. Training evaluates its candidates through this very class."""

    def __init__(
        self,
        manifest: Manifest,
        encoder: Encoder,
        mixture: Mixture,
        *,
        line_encoder: Encoder | None = None,
        body_encoder: Encoder | None = None,
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
        self._body_encoder = body_encoder
        self.mixture = mixture
        self._top_n = top_n
        self._ranks = range(1, top_n + 1)
        codes = [category.onet_code for category in mixture.categories]
        self._names = [
            {"onet_code": code, "onet_title": category.onet_title, "soc_major": soc_major(code)}
            for code, category in zip(codes, mixture.categories, strict=True)
        ]
        self._group_codes = [{width: group_code(code, width) for _digits, width in LEVELS} for code in codes]
        self._cache: OrderedDict[_Key, _Row] = OrderedDict()  # least recently used first
        self._cache_size = cache_size
        self._at_once = sys.maxsize

    @property
    def version(self) -> str:
        """The model version."""
        return self.manifest.version

    @property
    def categories(self) -> tuple[Category, ...]:
        """The categories it chooses from."""
        return self.mixture.categories

    def score(self, titles: Sequence[str], bodies: Sequence[str | None] = ()) -> list[Scored]:
        """Return the answer for each title, in order; `bodies`, if given, are those of the same postings.

        Each distinct text is computed at most once. Raises ValueError where there are not as many bodies as titles.
        """
        asked = [self._asked(*posting) for posting in zip(titles, bodies or [None] * len(titles), strict=True)]
        known = {posting.key: self._cache[posting.key] for posting in asked if posting.key in self._cache}
        new = {posting.key: posting for posting in asked if posting.key not in known}
        known.update(zip(new, self._compute(list(new.values())), strict=True))
        self._remember(known)
        answers = {key: self._scored(row) for key, row in known.items()}
        return [answers[posting.key] for posting in asked]

    def queries(self, lines: Sequence[str], bodies: Sequence[str] = ()) -> Queries:
        """Return the vectors of titles, and of as many bodies; the transformer sees each distinct cleaned title once."""
        clean = [model_text(line) for line in lines]
        distinct = dict.fromkeys(clean)
        vectors = self.encoder.encode(list(distinct))
        place = {text: row for row, text in enumerate(distinct)}
        title = vectors[[place[text] for text in clean]]
        line = body = None
        if self.mixture.uses_line and self._line_encoder is not None:
            line = self._line_encoder.encode(list(lines))
        if self.mixture.uses_body and self._body_encoder is not None and any(bodies):
            body = self._body_encoder.encode(list(bodies))  # no token, no body: a row of zeros
        return Queries(title, line, [text.casefold() for text in clean], body)  # keys as `schemas.text.normalise_title`

    def judge(self, queries: Queries) -> tuple[torch.Tensor, list[Decision]]:
        """Return calibrated probabilities `(n, categories)` and what they permit: what evaluation measures."""
        _nearest, parts, probabilities = self._said(queries)
        best = probabilities.topk(min(2, probabilities.shape[1]), dim=1).values
        leads = best[:, 0] - best[:, 1:].sum(dim=1)
        columns = (best[:, 0], leads, parts.known, parts.with_body)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return probabilities, [self._decision(*row) for row in rows]

    def _said(self, queries: Queries) -> tuple[Nearest | None, Parts, torch.Tensor]:
        """Return the nearest exemplars, what each part says, and what all of them come to, calibrated `(n, categories)`."""
        nearest = self.mixture.nearest(queries.title)
        parts = self.mixture.parts(queries, nearest)
        return nearest, parts, self.mixture.calibrated(blend(self.mixture.mix, parts), parts, self.manifest.calibration)

    def probe(self) -> None:
        """Score a title that is known to be good, past the cache. Raises ScorerFailed where even that cannot be scored."""
        title = self.manifest.golden[0].title if self.manifest.golden else self.categories[0].onet_title
        try:
            self._compute([self._asked(title, None)])
        except Exception as error:
            raise ScorerFailed(
                f"version {self.version} on {self.encoder.device} fails on its own golden title, so no posting can be scored "
                f"({type(error).__name__}: {error}); restart, and look at the device if it comes again"
            ) from error

    def _asked(self, title: str, body: str | None) -> _Asked:
        """Two spellings of one line share an answer; without a line part, so do two lines of one cleaned title."""
        line = plain_text(title) if self.mixture.uses_line else model_text(title)
        return _Asked(line, body_text(body) if body and self.mixture.uses_body else "")

    def _compute(self, asked: Sequence[_Asked]) -> list[_Row]:
        """Return the rows, at most `self._at_once` computed at a time; that is halved where the device's memory runs out."""
        rows: list[_Row] = []
        while left := asked[len(rows) : len(rows) + self._at_once]:
            try:
                rows += self._computed(left)
            except torch.OutOfMemoryError as error:
                if len(left) == 1:
                    raise
                self._at_once = len(left) // 2
                log.warning(
                    "out of memory on %s, from now on %d postings at a time: %s", self.encoder.device, self._at_once, error
                )
        return rows

    def _computed(self, asked: Sequence[_Asked]) -> list[_Row]:
        mixture, queries = self.mixture, self.queries([a.line for a in asked], [a.body for a in asked])
        nearest, parts, probabilities = self._said(queries)
        best = probabilities.topk(min(max(self._top_n, 2), probabilities.shape[1]), dim=1)
        members, sums = mixture.groups(probabilities)
        flags, none = torch.stack((parts.known, parts.with_body), dim=1), best.values[:, :0]
        ids, cosines = (nearest.ids, nearest.cosines) if nearest else (none, none)
        # Two copies to the host per batch.
        numbers = _on_host([flags, best.indices, members, ids], torch.int64)
        shares = _on_host([parts.title.gather(1, best.indices), best.values, sums, cosines], torch.float32)
        return [_Row(*row) for row in zip(*numbers, *shares, strict=True)]

    def _scored(self, row: _Row) -> Scored:
        chosen = zip(row.ids, row.cosines, row.probabilities, self._ranks, strict=False)  # two of each at least, for the lead
        matches = tuple(
            OccupationMatch(**self._names[i], rank=rank, score=round(score, 6), probability=round(probability, 6))
            for i, score, probability, rank in chosen
        )
        lead = row.probabilities[0] - sum(row.probabilities[1:2])
        known, with_body = row.flags
        decision = self._decision(row.probabilities[0], lead, bool(known), bool(with_body))
        groups = self._groups(row, matches[0])
        # The whole code is for `accept` alone: the decision is about it, and a backoff to it would say the opposite.
        sure = [group for group in groups[:-1] if group.probability >= self.manifest.calibration.precision]
        backoff = groups[-1] if decision == "accept" else next(reversed(sure), None)
        return Scored(matches, decision, groups, backoff, self._evidence(row, known=bool(known)))

    def _groups(self, row: _Row, best: OccupationMatch) -> tuple[Group, ...]:
        found = zip(LEVELS, row.group_members, row.group_probabilities, strict=True)
        coarser = [
            Group(digits=digits, code=self._group_codes[member][width], probability=round(min(total, 1.0), 6))
            for (digits, width), member, total in found
        ]
        return (*coarser, Group(digits=8, code=best.onet_code, probability=best.probability))

    def _evidence(self, row: _Row, *, known: bool) -> Evidence:
        titles = self.mixture.titles
        nearest = tuple(
            KnownExample(
                title=titles[i].title, onet_code=self.categories[titles[i].category].onet_code, similarity=round(cosine, 6)
            )
            for i, cosine in zip(row.nearest, row.similarities, strict=True)
        )
        return Evidence(exact_title=known, nearest=nearest)

    def _decision(self, probability: float, lead: float, known: bool, with_body: bool) -> Decision:  # noqa: FBT001 - columns
        calibration = self.manifest.calibration
        decide: Decide = calibration.known if known else calibration.new
        if with_body and self.mixture.uses_body:
            decide = calibration.body or decide
        if probability >= decide.accept_at and lead >= decide.accept_margin:
            return "accept"
        return "review" if probability >= decide.review_at else "unclassified"

    def _remember(self, rows: dict[_Key, _Row]) -> None:
        if not self._cache_size:
            return
        for text, row in rows.items():
            self._cache[text] = row
            self._cache.move_to_end(text)
        while len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)


def _on_host(columns: Sequence[torch.Tensor], dtype: torch.dtype) -> list[list[list[Any]]]:
    """Return matrices `(n, ...)` as lists, copied from the device together."""
    host = torch.cat([column.to(dtype) for column in columns], dim=1).cpu()
    return [part.tolist() for part in torch.split(host, [column.shape[1] for column in columns], dim=1)]


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
    for golden, scored in zip(manifest.golden, _golden_answers(scorer), strict=True):
        best = scored.occupations[0]
        if best.onet_code != golden.onet_code or not abs(best.score - golden.score) <= GOLDEN_TOLERANCE:
            raise ArtifactError(
                f"version {manifest.version} fails on golden title {golden.title!r}: "
                f"{best.onet_code} at {best.score:.3f}, not {golden.onet_code} at {golden.score:.3f}"
            )


def _golden_answers(scorer: Scorer) -> list[Scored]:
    """Return the answers for the golden titles, asked with bodies, too, where those are looked at: that there are answers is all.

    Raises ArtifactError where a probability is no number.
    """
    titles = [golden.title for golden in scorer.manifest.golden]
    try:
        if scorer.mixture.uses_body:
            scorer.score(titles, titles)
        return scorer.score(titles)
    except ValueError as error:
        raise ArtifactError(f"version {scorer.manifest.version} gives its golden titles no probabilities") from error
