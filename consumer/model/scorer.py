"""A model version ready to serve: encoders, mixture and calibration. Immutable but for its cache and what fits in memory."""

import hashlib
import logging
import sys
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from consumer.errors import ArtifactError, ScorerFailed
from consumer.model.answers import Answers, Row, Scored
from consumer.model.encoder import Encoder
from consumer.model.mixture import Mixture, Nearest, Parts, blend
from consumer.model.queries import Queries, QueryEncoders, make_queries
from schemas.artifact import Category, Manifest
from schemas.events import Decision, ModelInfo
from schemas.text import TEMPLATE_ID, body_text, clean_title, plain_text

log = logging.getLogger(__name__)

GOLDEN_TOLERANCE = 0.02
"""How far a golden title's cosine may lie from the manifest's: room for half precision on other hardware."""


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
        self._encoders = QueryEncoders(
            encoder, line_encoder if mixture.uses_line else None, body_encoder if mixture.uses_body else None
        )
        self.mixture = mixture
        self._top_n = top_n
        self._answers = Answers(
            mixture.categories, mixture.titles, manifest.calibration, top_n=top_n, uses_body=mixture.uses_body
        )
        self._cache: OrderedDict[_Key, Row] = OrderedDict()  # least recently used first
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
        keys = [posting.key for posting in asked]
        known = {key: self._cache[key] for key in keys if key in self._cache}
        new = {key: posting for key, posting in zip(keys, asked, strict=True) if key not in known}
        known.update(zip(new, self._compute(list(new.values())), strict=True))
        self._remember(known)
        answers = {key: self._answers.answer(row) for key, row in known.items()}
        return [answers[key] for key in keys]

    def judge(self, queries: Queries) -> tuple[torch.Tensor, list[Decision]]:
        """Return calibrated probabilities `(n, categories)` and what they permit: what evaluation measures."""
        _nearest, parts, probabilities = self._said(queries)
        best = probabilities.topk(min(2, probabilities.shape[1]), dim=1).values
        leads = best[:, 0] - best[:, 1:].sum(dim=1)
        columns = (best[:, 0], leads, parts.known, parts.with_body)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return probabilities, [self._answers.decision(*row) for row in rows]

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
        line = plain_text(title) if self.mixture.uses_line else clean_title(title)
        return _Asked(line, body_text(body) if body and self.mixture.uses_body else "")

    def _compute(self, asked: Sequence[_Asked]) -> list[Row]:
        """Return the rows, at most `self._at_once` computed at a time; that is halved where the device's memory runs out."""
        rows: list[Row] = []
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

    def _computed(self, asked: Sequence[_Asked]) -> list[Row]:
        mixture, lines = self.mixture, [posting.line for posting in asked]
        queries = make_queries(self._encoders, list(map(clean_title, lines)), lines, [posting.body for posting in asked])
        nearest, parts, probabilities = self._said(queries)
        best = probabilities.topk(min(max(self._top_n, 2), probabilities.shape[1]), dim=1)
        members, sums = mixture.groups(probabilities)
        flags, none = torch.stack((parts.known, parts.with_body), dim=1), best.values[:, :0]
        ids, cosines = (nearest.ids, nearest.cosines) if nearest else (none, none)
        # Two copies to the host per batch.
        numbers = _on_host([flags, best.indices, members, ids], torch.int64)
        shares = _on_host([parts.title.gather(1, best.indices), best.values, sums, cosines], torch.float32)
        return [Row(*row) for row in zip(*numbers, *shares, strict=True)]

    def _remember(self, rows: dict[_Key, Row]) -> None:
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


def check_serveable(scorer: Scorer) -> None:
    """Check an artifact by its own golden titles before it serves. Raises ArtifactError naming the first that fails."""
    manifest = scorer.manifest
    if manifest.template != TEMPLATE_ID:
        raise ArtifactError(
            "format",
            f"version {manifest.version} was trained on text template {manifest.template!r}; this program makes {TEMPLATE_ID!r}. "
            "Train it again with this version of occustream",
        )
    if not manifest.golden:
        raise ArtifactError("golden", f"version {manifest.version} has no golden titles to check it by")
    for golden, scored in zip(manifest.golden, _golden_answers(scorer), strict=True):
        best = scored.occupations[0]
        if best.onet_code != golden.onet_code or not abs(best.score - golden.score) <= GOLDEN_TOLERANCE:
            raise ArtifactError(
                "golden",
                f"version {manifest.version} fails on golden title {golden.title!r}: "
                f"{best.onet_code} at {best.score:.3f}, not {golden.onet_code} at {golden.score:.3f}",
            )


def _golden_answers(scorer: Scorer) -> list[Scored]:
    """Return the answers for the golden titles, asked with bodies, too, where those are looked at: that there are answers is all.

    Raises ArtifactError where a probability is no number, or anything else goes wrong: a version that cannot answer is refused.
    """
    titles = [golden.title for golden in scorer.manifest.golden]
    try:
        if scorer.mixture.uses_body:
            scorer.score(titles, titles)
        return scorer.score(titles)
    except Exception as error:  # the model in service must outlive whatever a bad one does
        text = f"version {scorer.manifest.version} gives its golden titles no probabilities ({type(error).__name__}: {error})"
        raise ArtifactError("golden", text) from error
