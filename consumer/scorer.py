"""A model version ready to serve: encoder, category index and calibration. Immutable but for its cache of titles."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from consumer.encoder import Encoder
from consumer.errors import ArtifactError
from consumer.index import CategoryIndex
from schemas.artifact import Category, Manifest
from schemas.events import Decision, ModelInfo, OccupationMatch, soc_major
from schemas.text import TEMPLATE_ID, model_text

GOLDEN_TOLERANCE = 0.02
"""How far a golden title's cosine may lie from the manifest's: room for half precision on other hardware."""


@dataclass(frozen=True, slots=True)
class Scored:
    """The answer for one title."""

    occupations: tuple[OccupationMatch, ...]
    decision: Decision


_Row = tuple[list[int], list[float], list[float]]
"""The categories, cosines and probabilities of one text, best first."""


class Scorer:
    """Scores titles with one model version. Training evaluates its candidates through this very class."""

    def __init__(self, manifest: Manifest, encoder: Encoder, index: CategoryIndex, *, top_n: int, cache_size: int = 0) -> None:
        self.manifest = manifest
        self.model = ModelInfo(
            version=manifest.version,
            encoder_id=manifest.encoder.id,
            taxonomy_version=manifest.taxonomy_version,
            trained_at=manifest.trained_at,
        )
        self.encoder = encoder
        self._index = index
        self._top_n = top_n
        self._cache: OrderedDict[str, _Row] = OrderedDict()  # least recently used first; rows are a tenth of answers' size
        self._cache_size = cache_size

    @property
    def version(self) -> str:
        """The model version."""
        return self.manifest.version

    @property
    def categories(self) -> tuple[Category, ...]:
        """The categories it chooses from."""
        return self._index.categories

    def score(self, titles: Sequence[str]) -> list[Scored]:
        """Return the answer for each title, in order. Each distinct text is computed at most once."""
        texts = [model_text(title) for title in titles]
        known = {text: self._cache[text] for text in texts if text in self._cache}
        new = [text for text in dict.fromkeys(texts) if text not in known]
        known.update(zip(new, self._compute(new), strict=True))
        self._remember(known)
        answers = {text: self._scored(*row) for text, row in known.items()}
        return [answers[text] for text in texts]

    def _compute(self, texts: Sequence[str]) -> list[_Row]:
        if not texts:
            return []
        top = self._index.top_k(self.encoder.encode(texts), self._top_n, scale=self.manifest.calibration.scale)
        return list(zip(top.ids, top.scores, top.probabilities, strict=True))

    def _scored(self, ids: list[int], scores: list[float], probabilities: list[float]) -> Scored:
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
            for rank, (i, score, probability) in enumerate(zip(ids, scores, probabilities, strict=True), start=1)
        )
        return Scored(matches, self._decision(probabilities[0]))

    def _decision(self, probability: float) -> Decision:
        calibration = self.manifest.calibration
        if probability >= calibration.accept_at:
            return "accept"
        return "review" if probability >= calibration.review_at else "unclassified"

    def _remember(self, rows: dict[str, _Row]) -> None:
        if not self._cache_size:
            return
        for text, row in rows.items():
            self._cache[text] = row
            self._cache.move_to_end(text)
        while len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)


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
