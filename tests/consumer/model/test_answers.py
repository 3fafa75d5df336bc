"""An answer sums codes up to groups, backs off to the finest sure one, and names the known titles that it stands on."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from consumer.model.mixture import Tensors
from consumer.model.serving_options import ServingOptions
from schemas.artifact import Calibration, Category, KnownTitle, Mix, Thresholds
from tests.support.tiny_model import TITLES, LetterEncoder, all_parts, all_tensors, tiny_scorer


def full_scorer(**changes: Any) -> Any:
    return tiny_scorer(**{"tensors": all_tensors(), **all_parts(), **changes})


FAMILY = tuple(
    Category(onet_code=code, onet_title=code)
    for code in ("29-1141.00", "29-1141.01", "29-1142.00", "29-1171.00", "29-2011.00", "31-1131.00")
)


def family_scorer(
    probabilities: Sequence[float], *, precision: float = 0.9, accept_at: float = 1.01, review_at: float = 0
) -> Any:
    """A scorer that answers any title with `probabilities` over FAMILY: its one known title weighs far more than the rest."""
    titles = tuple(KnownTitle(title="any", category=i, weight=1_000_000 * p) for i, p in enumerate(probabilities))
    thresholds = Thresholds(accept_at=accept_at, review_at=review_at)
    return tiny_scorer(
        tensors=Tensors(FAMILY, torch.eye(6, 27) + 0.01, titles=titles),
        mix=Mix(known_prior=1e-9),
        calibration=Calibration(precision=precision, new=thresholds, known=thresholds),
        golden=(),
    )


def test_groups_sum_their_codes_and_are_called_as_in_the_soc() -> None:
    groups = family_scorer([0.3, 0.25, 0.2, 0.1, 0.1, 0.05]).score(["any"])[0].groups
    assert [(group.digits, group.code) for group in groups] == [
        (2, "29-0000"),
        (3, "29-1000"),
        (5, "29-1140"),
        (6, "29-1141"),
        (8, "29-1141.00"),
    ]
    assert [group.probability for group in groups] == pytest.approx([0.95, 0.85, 0.75, 0.55, 0.3], abs=1e-4)


@pytest.mark.parametrize(
    ("precision", "code"),
    [(0.99, None), (0.9, "29-0000"), (0.8, "29-1000"), (0.7, "29-1140"), (0.5, "29-1141"), (0.2, "29-1141")],
)
def test_backoff_is_the_finest_group_that_is_sure(precision: float, code: str | None) -> None:
    answer = family_scorer([0.3, 0.25, 0.2, 0.1, 0.1, 0.05], precision=precision).score(["any"])[0]
    assert (answer.backoff and answer.backoff.code) == code


def test_what_is_accepted_needs_no_coarser_answer() -> None:
    answer = family_scorer([0.6, 0.1, 0.1, 0.1, 0.05, 0.05], accept_at=0.5).score(["any"])[0]
    assert (answer.decision, answer.backoff) == ("accept", answer.groups[-1])


@pytest.mark.parametrize(("review_at", "decision"), [(0.0, "review"), (1.0, "unclassified")])
def test_what_is_not_accepted_never_backs_off_to_the_whole_code(review_at: float, decision: str) -> None:
    answer = family_scorer([0.95, 0.01, 0.01, 0.01, 0.01, 0.01], review_at=review_at).score(["any"])[0]
    assert answer.occupations[0].probability > 0.9
    assert answer.decision == decision
    assert answer.backoff == answer.groups[-2]


def test_a_group_may_win_that_the_first_occupation_is_not_in() -> None:
    groups = family_scorer([0.2, 0.2, 0.2, 0.0001, 0.0001, 0.3998]).score(["any"])[0].groups
    assert [group.code for group in groups] == ["29-0000", "29-1000", "29-1140", "29-1141", "31-1131.00"]


def test_evidence_names_the_two_nearest_known_titles_nearest_first() -> None:
    line_cook, other = full_scorer().score(["Line Cook", "Truckers' Nurse"])
    first, second = line_cook.evidence.nearest
    assert (first.title, first.onet_code, first.similarity) == ("Line Cook", "35-2014.00", pytest.approx(1.0, abs=1e-5))
    assert first.similarity >= second.similarity
    asked = LetterEncoder().encode(["Truckers' Nurse"])[0]
    cosines = {title.title: float(LetterEncoder().encode([title.title])[0] @ asked) for title in TITLES[:3]}
    nearest = sorted(cosines, key=lambda title: -cosines[title])[:2]
    assert [near.title for near in other.evidence.nearest] == nearest
    assert [near.similarity for near in other.evidence.nearest] == pytest.approx([cosines[n] for n in nearest], abs=1e-5)


@pytest.mark.parametrize(
    ("title", "known"),
    [("Line Cook", True), ("  LINE  cook ", True), ("Line Cook - $20/hr", True), ("Head Cook", True), ("Chief Cook", False)],
)
def test_evidence_says_whether_training_met_the_very_title(title: str, known: bool) -> None:
    assert full_scorer().score([title])[0].evidence.exact_title == known


def test_a_model_without_exemplars_names_no_neighbours() -> None:
    assert tiny_scorer().score(["Cook"])[0].evidence.nearest == ()
    assert full_scorer(serving_options=ServingOptions(frozenset({"exemplars"}))).score(["Cook"])[0].evidence.nearest == ()
