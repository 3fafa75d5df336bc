"""From the numbers of one posting to what its event says: occupations, groups, decision, evidence."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from schemas.artifact import Calibration, Category, Decide, KnownTitle
from schemas.events import Decision, Evidence, Group, OccupationMatch
from schemas.soc import GROUP_LEVELS, group_code, soc_major


class Scored(BaseModel):
    """The answer for one title."""

    model_config = ConfigDict(frozen=True)

    occupations: tuple[OccupationMatch, ...]
    decision: Decision
    groups: tuple[Group, ...]
    backoff: Group | None
    evidence: Evidence


class Row(NamedTuple):
    """What is kept of one posting: categories, groups and exemplars as numbers, a tenth of an answer's size."""

    flags: list[int]
    ids: list[int]
    group_members: list[int]
    nearest: list[int]
    cosines: list[float]
    probabilities: list[float]
    group_probabilities: list[float]
    similarities: list[float]


class Answers:
    """Puts the rows of one model version into words."""

    def __init__(
        self,
        categories: Sequence[Category],
        titles: Sequence[KnownTitle],
        calibration: Calibration,
        *,
        top_n: int,
        uses_body: bool,
    ) -> None:
        self._titles = titles
        self._calibration = calibration
        self._uses_body = uses_body
        self._ranks = range(1, top_n + 1)
        self._codes = [category.onet_code for category in categories]
        self._names = [
            {"onet_code": code, "onet_title": category.onet_title, "soc_major": soc_major(code)}
            for code, category in zip(self._codes, categories, strict=True)
        ]
        self._group_codes = [[(level.digits, group_code(code, level)) for level in GROUP_LEVELS] for code in self._codes]

    def answer(self, row: Row) -> Scored:
        """Return the answer for a row. Raises ValueError where a probability is no number."""
        known, with_body = map(bool, row.flags)
        decision = self.decision(row.probabilities[0], row.probabilities[0] - sum(row.probabilities[1:2]), known, with_body)
        groups = self._groups(row)
        # The whole code is for `accept` alone: the decision is about it, and a backoff to it would say the opposite.
        sure = [group for group in groups[:-1] if group["probability"] >= self._calibration.precision]
        return Scored.model_validate(  # once for all, which is faster than object by object
            {
                "occupations": [
                    {**self._names[i], "rank": rank, "score": round(score, 6), "probability": round(probability, 6)}
                    # Two of each at least, for the lead.
                    for i, score, probability, rank in zip(row.ids, row.cosines, row.probabilities, self._ranks, strict=False)
                ],
                "decision": decision,
                "groups": groups,
                "backoff": groups[-1] if decision == "accept" else next(reversed(sure), None),
                "evidence": {"exact_title": known, "nearest": self._nearest(row)},
            }
        )

    def decision(self, probability: float, lead: float, known: bool, with_body: bool) -> Decision:  # noqa: FBT001 - columns
        """Return what the probability of rank 1 and its lead over rank 2 permit."""
        decide: Decide = self._calibration.known if known else self._calibration.new
        if with_body and self._uses_body:
            decide = self._calibration.body or decide
        if probability >= decide.accept_at and lead >= decide.accept_margin:
            return "accept"
        return "review" if probability >= decide.review_at else "unclassified"

    def _groups(self, row: Row) -> list[dict[str, Any]]:
        coarser = [self._group_codes[member][level] for level, member in enumerate(row.group_members)]
        named = [*coarser, (8, self._codes[row.ids[0]])]
        probabilities = [*row.group_probabilities, row.probabilities[0]]
        return [
            {"digits": digits, "code": code, "probability": round(min(probability, 1.0), 6)}
            for (digits, code), probability in zip(named, probabilities, strict=True)
        ]

    def _nearest(self, row: Row) -> list[dict[str, Any]]:
        found = [(self._titles[i], cosine) for i, cosine in zip(row.nearest, row.similarities, strict=True)]
        return [
            {"title": title.title, "onet_code": self._codes[title.category], "similarity": round(cosine, 6)}
            for title, cosine in found
        ]
