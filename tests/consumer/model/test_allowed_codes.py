"""Limits: only allowed codes are ranked, and a limit that the model contradicts lets nothing be accepted."""

from typing import Any

import pytest
import torch

from consumer.limits import NOTHING, Limit
from consumer.model.allowed_codes import FORBIDDEN, MAX_KEPT, AllowedCodes
from consumer.model.answers import Answer
from schemas.artifact import Thresholds
from tests.support.tiny_model import CALIBRATION, CATEGORIES, all_parts, all_tensors, tiny_scorer

NURSE, COOK, DRIVER = (category.onet_code for category in CATEGORIES)


def ask(title: str, limit: Limit | None, **options: Any) -> Answer:
    return tiny_scorer(**options).score([title], limits=[limit])[0]


def codes(answer: Answer) -> list[str]:
    return [match.onet_code for match in answer.occupations]


@pytest.mark.parametrize(
    ("limit", "allowed"),
    [(None, {NURSE, COOK, DRIVER}), (("29-",), {NURSE}), (("29-", "53-3032"), {NURSE, DRIVER}), (("35-2014.00",), {COOK})],
)
@pytest.mark.parametrize("top_n", [1, 3])
def test_only_allowed_codes_are_ranked_and_share_all_probability(limit: Limit, allowed: set[str], top_n: int) -> None:
    answer = ask("Trucker", limit, tensors=all_tensors(), top_n=top_n, **all_parts())
    assert set(codes(answer)) <= allowed
    assert len(answer.occupations) == min(top_n, len(allowed))
    assert [match.rank for match in answer.occupations] == list(range(1, len(answer.occupations) + 1))
    assert top_n == 1 or sum(match.probability for match in answer.occupations) == pytest.approx(1, abs=1e-5)
    assert {group.code[:2] for group in answer.groups} <= {code[:2] for code in allowed}


def test_the_ratio_of_allowed_codes_stays() -> None:
    free = {match.onet_code: match.probability for match in ask("Cook", None).occupations}
    limited = {match.onet_code: match.probability for match in ask("Cook", ("29-", "53-")).occupations}
    assert limited[NURSE] / limited[DRIVER] == pytest.approx(free[NURSE] / free[DRIVER], rel=0.01)


@pytest.mark.parametrize("limit", [("35-",), NOTHING, ("99-",)], ids=["unlikely", "nothing", "no code of the model"])
def test_nothing_is_accepted_where_the_model_contradicts_the_limit(limit: Limit) -> None:
    sure = CALIBRATION.model_copy(update={"new": Thresholds(sharpness=3, accept_at=0.9, review_at=0.0)})
    answer = ask("Registered Nurses", limit, calibration=sure)
    assert (answer.decision, answer.reason, answer.backoff) == ("review", "limits", None)
    assert ask("Registered Nurses", None, calibration=sure).decision == "accept"
    assert ask("Registered Nurses", ("29-",), calibration=sure).reason is None


def test_a_limit_that_allows_no_category_leaves_the_ranking() -> None:
    assert codes(ask("Cook", NOTHING)) == codes(ask("Cook", None))


def test_postings_that_differ_in_their_limit_alone_share_no_cached_answer() -> None:
    scorer = tiny_scorer(cache_size=9)
    limits: list[Limit | None] = [None, ("29-",), ("53-",), None]
    for _ in range(2):
        best = [answer.occupations[0].onet_code for answer in scorer.score(["Cook"] * 4, limits=limits)]
        assert best == [COOK, NURSE, DRIVER, COOK]


def test_a_batch_without_limits_is_left_as_it_is() -> None:
    given = torch.tensor([[0.2, 0.8]])
    restricted = AllowedCodes(["29-1141.00", "35-2014.00"], torch.device("cpu")).restrict(given, [None])
    assert restricted.probabilities is restricted.ranked is given
    assert restricted.share.tolist() == [[1.0]]


def test_a_forbidden_code_is_ranked_below_an_allowed_one_of_probability_0() -> None:
    given = torch.tensor([[0.0, 1.0, 0.0]])
    restricted = AllowedCodes(["29-1141.00", "35-2014.00", "53-3032.00"], torch.device("cpu")).restrict(given, [("29-", "35-")])
    assert restricted.ranked.tolist() == [[0.0, 1.0, FORBIDDEN]]


def test_no_more_masks_are_kept_than_the_limit() -> None:
    allowed = AllowedCodes(["29-1141.00"], torch.device("cpu"))
    for number in range(2 * MAX_KEPT + 1):
        allowed.restrict(torch.ones(1, 1), [(f"29-{number}",)])
    assert len(allowed._masks) <= MAX_KEPT
