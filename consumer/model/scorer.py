"""A model version ready to serve: encoders, mixture and calibration.

Only two things in a scorer change: the cache of answers, and how many postings are computed at a time.
"""

import hashlib
import logging
import sys
from collections import OrderedDict
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import torch

from consumer.crosswalks import Crosswalks
from consumer.errors import ArtifactError, ScorerFailed
from consumer.limits import Limit
from consumer.model.allowed_codes import AllowedCodes
from consumer.model.answers import Answer, AnswerMaker, ScoredRow
from consumer.model.blending import Parts, blend
from consumer.model.encoder import Encoder
from consumer.model.mixture import Mixture, Nearest
from consumer.model.queries import Queries, QueryEncoders, make_queries
from schemas.artifact import Category, Manifest
from schemas.events import Decision, ModelInfo
from schemas.text import TEMPLATE_ID, clean_title, model_body, plain_text

log = logging.getLogger(__name__)

GOLDEN_TOLERANCE = 0.02
"""How far a golden title's cosine may differ from the manifest's. Half precision on other hardware needs this room."""

_Key = tuple[str, bytes, Limit | None]
"""A line, a digest of the body, which may be long, and the limit. They stay fields, since a title may hold any separator."""


class _Question(NamedTuple):
    """What the model reads of a posting. Without a line part, `line` is the cleaned title; without a body part, `body` is ""."""

    line: str
    body: str
    limit: Limit | None

    @property
    def key(self) -> _Key:
        """The key of the answer in the cache. Postings with the same key have the same answer."""
        body = hashlib.blake2b(self.body.encode(), digest_size=16).digest() if self.body else b""
        return self.line, body, self.limit


class Scorer:
    """Scores postings with one model version. Training measures its candidates through this class, too."""

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
        crosswalks: Crosswalks = MappingProxyType({}),
    ) -> None:
        self.manifest = manifest
        self.model = ModelInfo(
            version=manifest.version,
            encoder_id=manifest.encoder.id,
            taxonomy_version=manifest.taxonomy_version,
            trained_at=manifest.trained_at,
        )
        self.encoder = encoder
        self._encoders = QueryEncoders(
            encoder, line_encoder if mixture.uses_line else None, body_encoder if mixture.uses_body else None
        )
        self.mixture = mixture
        self._top_n = top_n
        self._answer_maker = AnswerMaker(
            mixture.categories,
            mixture.titles,
            manifest.calibration,
            top_n=top_n,
            uses_body=mixture.uses_body,
            crosswalks=crosswalks,
        )
        self._allowed_codes = AllowedCodes([category.onet_code for category in mixture.categories], mixture.device)
        self._cache: OrderedDict[_Key, ScoredRow] = OrderedDict()  # least recently used first
        self._cache_size = cache_size
        self._max_postings = sys.maxsize  # computed at a time

    @property
    def version(self) -> str:
        """The model version."""
        return self.manifest.version

    @property
    def categories(self) -> tuple[Category, ...]:
        """The categories that it chooses from."""
        return self.mixture.categories

    def score(
        self, titles: Sequence[str], bodies: Sequence[str | None] = (), *, limits: Sequence[Limit | None] = ()
    ) -> list[Answer]:
        """Return the answer for each title, in order. `bodies` and `limits`, if given, are those of the same postings.

        Each distinct posting is computed at most once. Raises ValueError if there are not as many of them as titles.
        """
        none = [None] * len(titles)
        questions = [self._make_question(*posting) for posting in zip(titles, bodies or none, limits or none, strict=True)]
        keys = [question.key for question in questions]
        rows = {key: self._cache[key] for key in keys if key in self._cache}
        new = {key: question for key, question in zip(keys, questions, strict=True) if key not in rows}
        rows.update(zip(new, self._compute(list(new.values())), strict=True))
        self._remember(rows)
        answers = {key: self._answer_maker.make_answer(row) for key, row in rows.items()}
        return [answers[key] for key in keys]

    def judge(self, queries: Queries) -> tuple[torch.Tensor, list[Decision]]:
        """Return calibrated probabilities `(n, categories)` and the n decisions that they permit: evaluation measures these."""
        _nearest, parts, probabilities = self._predict(queries)
        best = probabilities.topk(min(2, probabilities.shape[1]), dim=1).values
        leads = best[:, 0] - best[:, 1:].sum(dim=1)
        columns = (best[:, 0], leads, parts.known, parts.with_body)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return probabilities, [self._answer_maker.decide(*row) for row in rows]

    def _predict(self, queries: Queries) -> tuple[Nearest | None, Parts, torch.Tensor]:
        """Return the nearest exemplars, what each part says, and the calibrated probabilities `(n, categories)`."""
        nearest = self.mixture.find_nearest(queries.title)
        parts = self.mixture.score_parts(queries, nearest)
        return nearest, parts, self.mixture.calibrate(blend(self.mixture.mix, parts), parts, self.manifest.calibration)

    def probe(self) -> None:
        """Score a golden title, without the cache. Raises ScorerFailed if even that fails, as no posting can be scored then."""
        title = self.manifest.golden[0].title if self.manifest.golden else self.categories[0].onet_title
        try:
            self._compute([self._make_question(title, None)])
        except Exception as error:
            raise ScorerFailed(
                f"version {self.version} on {self.encoder.device} fails on its own golden title, so no posting can be scored "
                f"({type(error).__name__}: {error}); restart, and look at the device if it comes again"
            ) from error

    def _make_question(self, title: str, body: str | None, limit: Limit | None = None) -> _Question:
        """Return what the model reads of a posting, so that all postings for which that is the same share an answer."""
        line = plain_text(title) if self.mixture.uses_line else clean_title(title)
        return _Question(line, model_body(body) if body and self.mixture.uses_body else "", limit)

    def _compute(self, questions: Sequence[_Question]) -> list[ScoredRow]:
        """Return the row of each question, computed in chunks. When the device's memory runs out, chunks become half as long."""
        rows: list[ScoredRow] = []
        while chunk := questions[len(rows) : len(rows) + self._max_postings]:
            try:
                rows += self._compute_chunk(chunk)
            except torch.OutOfMemoryError as error:
                if len(chunk) == 1:
                    raise
                self._max_postings = len(chunk) // 2
                log.warning(
                    "out of memory on %s, from now on %d postings at a time: %s", self.encoder.device, self._max_postings, error
                )
        return rows

    def _compute_chunk(self, questions: Sequence[_Question]) -> list[ScoredRow]:
        lines, bodies = [question.line for question in questions], [question.body for question in questions]
        nearest, parts, probabilities = self._predict(make_queries(self._encoders, list(map(clean_title, lines)), lines, bodies))
        allowed = self._allowed_codes.restrict(probabilities, [question.limit for question in questions])
        best = allowed.ranked.topk(min(max(self._top_n, 2), probabilities.shape[1]), dim=1)
        members, sums = self.mixture.find_groups(allowed.probabilities)
        flags, none = torch.stack((parts.known, parts.with_body), dim=1), best.values[:, :0]
        ids, cosines = (nearest.ids, nearest.cosines) if nearest else (none, none)
        # One copy to the host for all whole numbers of the batch, one for all others.
        numbers = _copy_to_host([flags, best.indices, members, ids], torch.int64)
        shares = _copy_to_host([parts.title.gather(1, best.indices), best.values, sums, cosines, allowed.share], torch.float32)
        return [ScoredRow(*row) for row in zip(*numbers, *shares, strict=True)]

    def _remember(self, rows: dict[_Key, ScoredRow]) -> None:
        if not self._cache_size:
            return
        for key, row in rows.items():
            self._cache[key] = row
            self._cache.move_to_end(key)
        while len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)


def _copy_to_host(columns: Sequence[torch.Tensor], dtype: torch.dtype) -> list[list[list[Any]]]:
    """Return matrices `(n, ...)` as lists of rows, copied from the device in one piece."""
    host = torch.cat([column.to(dtype) for column in columns], dim=1).cpu()
    return [part.tolist() for part in torch.split(host, [column.shape[1] for column in columns], dim=1)]


def check_serveable(scorer: Scorer) -> None:
    """Check that a version was trained for this program, and answers its own golden titles as its manifest says.

    Raises ArtifactError (format, golden), which names the first golden title that fails.
    """
    manifest = scorer.manifest
    if manifest.template != TEMPLATE_ID:
        raise ArtifactError(
            "format",
            f"version {manifest.version} was trained on text template {manifest.template!r}; this program makes {TEMPLATE_ID!r}. "
            "Train it again with this version of occustream",
        )
    if not manifest.golden:
        raise ArtifactError("golden", f"version {manifest.version} has no golden titles to check it by")
    for golden, answer in zip(manifest.golden, _answer_golden_titles(scorer), strict=True):
        best = answer.occupations[0]
        if best.onet_code != golden.onet_code or not abs(best.score - golden.score) <= GOLDEN_TOLERANCE:
            raise ArtifactError(
                "golden",
                f"version {manifest.version} fails on golden title {golden.title!r}: "
                f"{best.onet_code} at {best.score:.3f}, not {golden.onet_code} at {golden.score:.3f}",
            )


def _answer_golden_titles(scorer: Scorer) -> list[Answer]:
    """Return the answers for the golden titles. Raises ArtifactError (golden) for any failure, such as a probability of NaN.

    A version that reads bodies is also asked with bodies; those answers need only be possible, the manifest names none for them.
    """
    titles = [golden.title for golden in scorer.manifest.golden]
    try:
        if scorer.mixture.uses_body:
            scorer.score(titles, titles)
        return scorer.score(titles)
    except Exception as error:  # whatever a broken version raises, the model in service must go on
        text = f"version {scorer.manifest.version} gives its golden titles no probabilities ({type(error).__name__}: {error})"
        raise ArtifactError("golden", text) from error
