"""Turns the numbers computed for one posting into what its event says: occupations, groups, decision and evidence."""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from consumer.crosswalks import Crosswalks
from consumer.model.allowed_codes import FORBIDDEN, MIN_ALLOWED_SHARE
from schemas.artifact import Calibration, Category, KnownTitle, Thresholds
from schemas.events import Decision, Evidence, Group, OccupationMatch, Reason
from schemas.soc import GROUP_LEVELS, group_code, soc_code, soc_major


class Answer(BaseModel):
    """What a model says about one posting. The fields are those of `EnrichedPosting`."""

    model_config = ConfigDict(frozen=True)

    occupations: tuple[OccupationMatch, ...]
    decision: Decision
    groups: tuple[Group, ...]
    backoff: Group | None
    evidence: Evidence
    reason: Reason | None = None


class ScoredRow(NamedTuple):
    """The numbers from which an answer is made: categories, groups and exemplars by number. A tenth of the answer's size.

    `flags` says whether the title is known and whether there is a body. `ids`, `cosines` and `probabilities` are those of the
    likeliest categories; `group_members` and `group_probabilities` those of the likeliest group at each level, which one of its
    categories stands for; `nearest` and `similarities` those of the nearest exemplars. `allowed_share` is the share of the
    probability that the codes had which the posting may get.
    """

    flags: list[int]
    ids: list[int]
    group_members: list[int]
    nearest: list[int]
    cosines: list[float]
    probabilities: list[float]
    group_probabilities: list[float]
    similarities: list[float]
    allowed_share: list[float]


class AnswerMaker:
    """Makes answers from the rows of one model version."""

    def __init__(
        self,
        categories: Sequence[Category],
        titles: Sequence[KnownTitle],
        calibration: Calibration,
        *,
        top_n: int,
        uses_body: bool,
        crosswalks: Crosswalks = MappingProxyType({}),
    ) -> None:
        self._titles = titles
        self._calibration = calibration
        self._uses_body = uses_body
        self._ranks = range(1, top_n + 1)
        self._codes = [category.onet_code for category in categories]
        self._names = [
            {
                "onet_code": code,
                "onet_title": category.onet_title,
                "soc_major": soc_major(code),
                "soc_code": soc_code(code),
                "crosswalks": crosswalks.get(code, {}) if crosswalks else None,
            }
            for code, category in zip(self._codes, categories, strict=True)
        ]
        self._group_codes = [[(level.digits, group_code(code, level)) for level in GROUP_LEVELS] for code in self._codes]

    def make_answer(self, row: ScoredRow) -> Answer:
        """Return the answer for a row. Raises ValueError where a probability is not a number."""
        if row.probabilities[-1] == FORBIDDEN:
            row = _drop_forbidden(row)
        known, with_body = map(bool, row.flags)
        lead = row.probabilities[0] - sum(row.probabilities[1:2])
        decision = self.decide(row.probabilities[0], lead, known, with_body)
        contradicts = row.allowed_share[0] < MIN_ALLOWED_SHARE
        if contradicts and decision == "accept":
            decision = "review"
        groups = self._make_groups(row)
        # Only `accept` may back off to the whole code: elsewhere, that would contradict the decision, which is about it.
        sure = [group for group in groups[:-1] if group["probability"] >= self._calibration.precision and not contradicts]
        return Answer.model_validate(  # one validation of everything, which is faster than one of each object
            {
                "occupations": [
                    {**self._names[i], "rank": rank, "score": round(score, 6), "probability": round(probability, 6)}
                    # The row holds at least two categories, for the lead, even where only one rank is asked for.
                    for i, score, probability, rank in zip(row.ids, row.cosines, row.probabilities, self._ranks, strict=False)
                ],
                "decision": decision,
                "groups": groups,
                "backoff": groups[-1] if decision == "accept" else next(reversed(sure), None),
                "evidence": {"exact_title": known, "nearest": self._make_nearest(row)},
                "reason": "limits" if contradicts else None,
            }
        )

    def decide(self, probability: float, lead: float, known: bool, with_body: bool) -> Decision:  # noqa: FBT001 - columns
        """Return what the probability of rank 1 and its lead over rank 2 permit."""
        thresholds: Thresholds = self._calibration.known if known else self._calibration.new
        if with_body and self._uses_body:
            thresholds = self._calibration.body or thresholds
        if probability >= thresholds.accept_at and lead >= thresholds.accept_margin:
            return "accept"
        return "review" if probability >= thresholds.review_at else "unclassified"

    def _make_groups(self, row: ScoredRow) -> list[dict[str, Any]]:
        """Return the likeliest group at each level, coarsest first, and the whole code of rank 1 last."""
        coarser = [self._group_codes[member][level] for level, member in enumerate(row.group_members)]
        named = [*coarser, (8, self._codes[row.ids[0]])]
        probabilities = [*row.group_probabilities, row.probabilities[0]]
        return [
            {"digits": digits, "code": code, "probability": round(min(probability, 1.0), 6)}
            for (digits, code), probability in zip(named, probabilities, strict=True)
        ]

    def _make_nearest(self, row: ScoredRow) -> list[dict[str, Any]]:
        found = [(self._titles[i], cosine) for i, cosine in zip(row.nearest, row.similarities, strict=True)]
        return [
            {"title": title.title, "onet_code": self._codes[title.category], "similarity": round(cosine, 6)}
            for title, cosine in found
        ]


def _drop_forbidden(row: ScoredRow) -> ScoredRow:
    """Return a row without the categories that its posting may not get. They stand last."""
    count = row.probabilities.index(FORBIDDEN)
    return row._replace(ids=row.ids[:count], cosines=row.cosines[:count], probabilities=row.probabilities[:count])
