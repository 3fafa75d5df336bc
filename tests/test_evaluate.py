"""Figures are what their formulas say of what the serving scorer answers, and a threshold keeps what it promises."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from schemas.artifact import Calibration
from tests.factories import CALIBRATION, CATEGORIES, tiny_scorer
from trainer.evaluate import MIN_ROWS, NEVER, accuracy, calibrate

TITLES = [category.onet_title for category in CATEGORIES]
CODES = [category.onet_code for category in CATEGORIES]


def test_every_answer_right_is_one_everywhere() -> None:
    figures = accuracy(tiny_scorer(), TITLES, CODES)
    assert {figures[name] for name in ("top_1", "top_3", "top_5", "macro_top_1")} == {1.0}


def test_top_n_counts_the_rows_whose_code_is_among_the_first_n() -> None:
    rank_of = {m.onet_code: m.rank for m in tiny_scorer().score([TITLES[0]])[0].occupations}
    worst = next(code for code, rank in rank_of.items() if rank == 3)
    figures = accuracy(tiny_scorer(), [TITLES[0]] * 4, [CODES[0], worst, worst, "99-9999.00"])
    assert (figures["top_1"], figures["top_3"], figures["top_5"]) == (0.25, 0.75, 0.75)


def test_macro_weighs_every_category_the_same() -> None:
    figures = accuracy(tiny_scorer(), [TITLES[0]] * 9 + [TITLES[0]], [CODES[0]] * 9 + [CODES[1]])
    assert (figures["top_1"], figures["macro_top_1"]) == (0.9, 0.5)


def test_accept_is_measured_on_the_accepted_alone() -> None:
    accepting = tiny_scorer(calibration=CALIBRATION.model_copy(update={"accept_at": 0.0, "review_at": 0.0}))
    figures = accuracy(accepting, TITLES, [CODES[0], CODES[1], CODES[0]])
    assert (figures["accept_share"], figures["accept_precision"]) == (1.0, 0.6667)
    never = tiny_scorer(calibration=CALIBRATION.model_copy(update={"accept_at": NEVER}))
    figures = accuracy(never, TITLES, CODES)
    assert figures["accept_share"] == 0
    assert "accept_precision" not in figures


def test_calibration_error_is_how_far_confidence_lies_from_what_is_right() -> None:
    scorer = tiny_scorer()
    probability = scorer.score([TITLES[0]])[0].occupations[0].probability
    assert accuracy(scorer, [TITLES[0]] * 2, [CODES[0]] * 2)["ece"] == pytest.approx(1 - probability, abs=1e-4)
    assert accuracy(scorer, [TITLES[0]] * 2, [CODES[1]] * 2)["ece"] == pytest.approx(probability, abs=1e-4)


def test_more_titles_than_one_chunk_are_all_measured() -> None:
    assert accuracy(tiny_scorer(), TITLES * 500, [CODES[0], CODES[1], CODES[0]] * 500)["top_1"] == pytest.approx(2 / 3, abs=1e-4)


def decided(scores: torch.Tensor, labels: torch.Tensor, calibration: Calibration) -> tuple[list[bool], list[bool]]:
    """Whether each accepted, and each unclassified, posting's best category is right."""
    best, ids = torch.softmax(calibration.scale * scores, dim=1).max(dim=1)
    right = (ids == labels).tolist()
    accepted = [ok for ok, p in zip(right, best.tolist(), strict=True) if p >= calibration.accept_at]
    return accepted, [ok for ok, p in zip(right, best.tolist(), strict=True) if p < calibration.review_at]


@given(
    postings=st.lists(st.tuples(st.sampled_from([0.9, 0.6, 0.5, 0.4, 0.35]), st.booleans()), min_size=1, max_size=200),
    precision=st.sampled_from([0.5, 0.75, 0.9, 0.99]),
)
def test_thresholds_keep_their_promise_on_what_they_were_fitted_to(postings: list[tuple[float, bool]], precision: float) -> None:
    scores = torch.tensor([[cosine, 0.3] for cosine, _ in postings])
    labels = torch.tensor([0 if right else 1 for _, right in postings])
    calibration = calibrate(scores, labels, precision=precision)
    accepted, unclassified = decided(scores, labels, calibration)
    assert not accepted or (len(accepted) >= MIN_ROWS and sum(accepted) >= precision * len(accepted) - 1e-9)
    assert not unclassified or (len(unclassified) >= MIN_ROWS and sum(unclassified) <= 0.25 * len(unclassified))
    assert calibration.review_at <= calibration.accept_at


def test_clear_answers_are_accepted_and_hopeless_ones_are_not() -> None:
    scores = torch.tensor([[0.9, 0.0]] * 50 + [[0.50, 0.49]] * 50)
    labels = torch.tensor([0] * 50 + [0] * 5 + [1] * 45)
    accepted, unclassified = decided(scores, labels, calibrate(scores, labels, precision=0.9))
    assert (len(accepted), len(unclassified)) == (50, 50)


@pytest.mark.parametrize("rows", [1, MIN_ROWS - 1])
def test_few_postings_are_no_ground_to_accept_or_give_up_on(rows: int) -> None:
    calibration = calibrate(torch.tensor([[0.9, 0.1]] * rows), torch.zeros(rows, dtype=torch.int64), precision=0.9)
    assert (calibration.accept_at, calibration.review_at) == (NEVER, 0.0)


def test_the_scale_is_the_likeliest_one() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(20_000, 4, generator=generator)
    labels = torch.multinomial(torch.softmax(12 * scores, dim=1), 1, generator=generator).flatten()
    assert calibrate(scores, labels, precision=0.9).scale == pytest.approx(12, abs=1)
