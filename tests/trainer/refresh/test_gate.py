"""A candidate passes unless it is worse than chance explains, badly calibrated, or forgets a golden title."""

import json
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.measure.predictions import Predictions
from trainer.measure.split import hold_out
from trainer.refresh.gate import GateLimits, TrialOutcome, judge, make_outcome, read_outcome

LIMITS = GateLimits()
CODES = ("29-1141.00", "35-2014.00")
HITS = st.lists(st.tuples(st.sampled_from(["11", "29", "53"]), st.booleans()), min_size=1, max_size=200)


def outcome(*hits: bool, group: str = "29", ece: float = 0.01, first: int = 0) -> TrialOutcome:
    return TrialOutcome({first + row: (group, hit) for row, hit in enumerate(hits)}, ece)


def mixed(**groups: Sequence[bool]) -> TrialOutcome:
    rows = [(name[1:], hit) for name, hits in groups.items() for hit in hits]
    return TrialOutcome(dict(enumerate(rows)), 0.01)


def right(count: int, of: int) -> list[bool]:
    return [row < count for row in range(of)]


def said(labels: Sequence[int], predicted: Sequence[int], confidence: float = 0.9) -> Predictions:
    probabilities = torch.full((len(labels), 2), 1 - confidence)
    probabilities[torch.arange(len(labels)), torch.tensor(predicted)] = confidence
    return Predictions(
        probabilities=probabilities,
        labels=torch.tensor(labels),
        decisions=["review"] * len(labels),
        codes=CODES,
        names=CODES,
        titles=[""] * len(labels),
        train_counts=torch.zeros(2, dtype=torch.int64),
    )


@settings(deadline=None)
@given(HITS)
def test_a_candidate_that_does_the_same_passes(hits: list[tuple[str, bool]]) -> None:
    same = TrialOutcome(dict(enumerate(hits)), 0.01)
    assert judge(same, same, limits=LIMITS).passed


@settings(deadline=None)
@given(HITS)
def test_with_nothing_in_service_everything_passes_and_the_figures_are_kept(a: list[tuple[str, bool]]) -> None:
    verdict = judge(TrialOutcome(dict(enumerate(a)), 0.7), None, limits=LIMITS, in_service=False, lost=["never mind"])
    assert (verdict.passed, verdict.reasons, verdict.figures["ece"]) == (True, (), 0.7)


@settings(deadline=None)
@given(HITS)
def test_what_a_manifest_keeps_comes_back_whole(hits: list[tuple[str, bool]]) -> None:
    made = TrialOutcome({2**32 - 1 - row: hit for row, hit in enumerate(hits)}, 0.0123)
    assert read_outcome({"gate": json.loads(json.dumps(made.to_manifest()))}) == made


@pytest.mark.parametrize("training", [{}, {"gate": None}, {"gate": {"names": "?"}}, {"gate": {"names": "AAAA", "hits": 1}}])
def test_a_manifest_without_a_whole_trial_has_none(training: dict[str, object]) -> None:
    assert read_outcome(training) is None


@pytest.mark.parametrize(
    ("losses", "gains", "passed"),
    [(0, 0, True), (1, 0, True), (10, 0, False), (10, 9, True), (0, 10, True), (40, 10, False)],
)
def test_a_fall_is_refused_when_chance_does_not_explain_it(losses: int, gains: int, passed: bool) -> None:
    """100 rows; of 10 rows lost and none won, chance alone would draw none with (1 - 0.1)^100 = 0.003 %: refused."""
    before = [True] * 50 + [False] * 50
    now = [row >= losses for row in range(50)] + [row < gains for row in range(50)]
    verdict = judge(outcome(*now), outcome(*before), limits=GateLimits(group_rows=1_000))
    assert verdict.passed is passed
    if not passed:
        assert verdict.reasons[0].startswith(f"top-1 fell from 0.500 to {(50 - losses + gains) / 100:.3f} on 100 rows that both")


def test_one_group_may_not_pay_for_another() -> None:
    before = mixed(_29=right(40, 40), _35=right(20, 40))
    now = mixed(_29=right(25, 40), _35=right(35, 40))
    verdict = judge(now, before, limits=LIMITS)
    assert len(verdict.reasons) == 1
    assert "SOC major group 29 (Healthcare Practitioners" in verdict.reasons[0]
    assert "from 1.000 to 0.625" in verdict.reasons[0]


def test_a_group_of_few_rows_is_not_judged_alone() -> None:
    before = mixed(_29=right(29, 29), _35=right(20, 40))
    now = mixed(_29=right(14, 29), _35=right(35, 40))
    assert judge(now, before, limits=LIMITS).passed
    assert not judge(now, before, limits=GateLimits(group_rows=29)).passed


def test_a_group_may_fall_as_far_as_its_limit() -> None:
    before, now = mixed(_29=right(1000, 1000), _35=[False] * 40), mixed(_29=right(981, 1000), _35=right(40, 40))
    assert judge(now, before, limits=LIMITS).passed
    assert not judge(now, before, limits=GateLimits(group_fall=0.015)).passed


def test_only_rows_that_both_held_out_are_compared() -> None:
    before = outcome(*right(60, 60))
    now = TrialOutcome({**outcome(*right(60, 60)).rows, **outcome(*right(0, 50), first=100).rows}, 0.01)
    assert judge(now, before, limits=LIMITS).passed


def test_other_rows_are_compared_as_shares() -> None:
    before, far = outcome(*right(90, 100)), outcome(*right(50, 100), first=500)
    reason = judge(far, before, limits=LIMITS).reasons[0]
    assert "on 100 rows, before on 100 others" in reason
    assert judge(outcome(*right(85, 100), first=500), before, limits=LIMITS).passed


def test_bad_calibration_and_lost_golden_titles_are_refused_each_with_its_sentence() -> None:
    verdict = judge(outcome(True, ece=0.08), outcome(True), limits=LIMITS, lost=["golden title 'RN' is no longer x, but y"])
    assert not verdict.passed
    assert len(verdict.reasons) == 2
    assert "0.080, above the budget of 0.050" in verdict.reasons[1]


def test_calibration_is_held_to_what_so_few_rows_can_show() -> None:
    labels = [0] * 30
    few, many = (said(labels * times, ([0] * 24 + [1] * 6) * times) for times in (1, 100))
    verdicts = []
    for p in (few, many):
        made = make_outcome(p, [str(row) for row in range(p.rows)])
        assert made.ece == pytest.approx(0.1, abs=1e-4)  # 0.9 said, 0.8 right
        verdicts.append(judge(made, None, limits=LIMITS).passed)
    assert verdicts == [True, False]


@settings(deadline=None, max_examples=20)
@given(st.integers(30, 400), st.floats(0.5, 0.99))  # of one row at 0.99 the bound is below the rare miss: no law there
def test_chance_grows_as_rows_get_fewer(rows: int, confidence: float) -> None:
    bounds = [make_outcome(said([0] * n, [0] * n, confidence), [str(i) for i in range(n)]).chance_ece for n in (rows, 10 * rows)]
    assert 0 <= bounds[1] <= bounds[0] <= 1


def test_nothing_held_out_is_no_ground_to_replace_a_version() -> None:
    assert not judge(None, outcome(True), limits=LIMITS).passed
    assert judge(None, None, limits=LIMITS, in_service=False).passed


def test_a_trial_is_measured_row_by_row() -> None:
    made = make_outcome(said([0, 0, 1, 1], [0, 1, 1, 1]), ["rn", "rn", "cook", "chef"])
    assert made.groups() == {"29": [2, 1], "35": [2, 2]}
    assert made.top_1 == 0.75
    assert made.ece == pytest.approx(0.15, abs=1e-4)  # all in one bin: 0.9 said, 0.75 right
    again = make_outcome(said([1, 0, 1, 0], [1, 0, 1, 1]), ["chef", "rn", "cook", "rn"])
    assert again.rows.keys() == made.rows.keys()


@settings(deadline=None)
@given(st.lists(st.text(max_size=8), max_size=40), st.integers(0, 9))
def test_the_digest_split_goes_by_the_title_alone(titles: list[str], seed: int) -> None:
    held = dict(zip(titles, hold_out([0] * len(titles), titles, share=0.2, seed=seed, kind="digest"), strict=True))
    alone = {title: hold_out([1], [title], share=0.2, seed=0, kind="digest")[0] for title in titles}
    assert held == alone


def test_the_digest_split_holds_out_about_its_share() -> None:
    titles = [f"title {number}" for number in range(5_000)]
    assert 900 < sum(hold_out(titles, titles, share=0.2, seed=0, kind="digest")) < 1_100
