"""Figures of judged postings: any acceptable code is right, no-job titles count apart, and intervals hold the figures."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.measure.judgements import Judgements, judge_answers, judged_figures

CODES = ("11-1011.00", "11-2011.00", "29-1141.00", "35-2014.00")
PROBABILITIES = torch.tensor(
    [
        [0.1, 0.6, 0.2, 0.1],
        [0.7, 0.1, 0.1, 0.1],
        [0.1, 0.1, 0.7, 0.1],
        [0.05, 0.05, 0.0, 0.9],
    ]
)
ACCEPTABLE = torch.tensor(
    [
        [True, True, False, False],  # right by the second of its codes
        [False, True, False, False],  # wrong, within the major group
        [False, False, False, True],  # wrong, and in a wrong group
        [False, False, False, False],  # names no job
    ]
)


def judge(decisions: list[str]) -> Judgements:
    return judge_answers(PROBABILITIES, decisions, ACCEPTABLE, CODES)


def test_any_acceptable_code_is_right_and_no_job_titles_count_apart() -> None:
    figures = judged_figures(judge(["accept", "accept", "accept", "accept"]), seed=0)
    assert {name: figures[name] for name in ("rows", "job_rows", "no_job_rows", "accepted_rows")} == {
        "rows": 4,
        "job_rows": 3,
        "no_job_rows": 1,
        "accepted_rows": 3,
    }
    shares = {"top_1": 1 / 3, "top_3": 2 / 3, "top_5": 1.0, "accept_share": 1.0, "accept_precision": 1 / 3}
    shares |= {"accept_wrong_group": 1 / 3, "no_job_accept_share": 1.0}
    assert {name: figures[name] for name in shares} == {name: round(value, 4) for name, value in shares.items()}
    assert figures["intervals"].keys() == shares.keys()


def test_only_accepted_answers_can_break_the_promise() -> None:
    figures = judged_figures(judge(["accept", "review", "unclassified", "review"]), seed=0)
    assert (figures["accept_share"], figures["accept_precision"], figures["accept_wrong_group"]) == (0.3333, 1.0, 0.0)
    assert figures["no_job_accept_share"] == 0.0


def test_a_figure_without_rows_is_left_out_with_its_interval() -> None:
    judged = judge(["review"] * 4)
    without = judged_figures(judged, seed=0)
    assert "accept_precision" not in without | without["intervals"]
    no_jobs = judged_figures(judged.select(~judged.names_job), seed=0)
    assert no_jobs["intervals"].keys() == {"no_job_accept_share"}
    assert "top_1" not in no_jobs


def test_of_equal_probabilities_the_first_category_leads() -> None:
    judged = judge_answers(torch.full((1, 4), 0.25), ["review"], torch.tensor([[False, True, False, False]]), CODES)
    assert judged.right.tolist() == [[False, True, False, False]]


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_an_interval_holds_its_figure_and_the_seed_decides_it(rows: list[tuple[bool, bool, bool, bool]]) -> None:
    right, group, accepted, job = (torch.tensor(column) for column in zip(*rows, strict=True))
    judged = Judgements((right & job)[:, None], (group | right) & job, accepted, job)
    figures = judged_figures(judged, seed=3)
    assert figures == judged_figures(judged, seed=3)
    for name, (low, high) in figures["intervals"].items():
        assert low <= figures[name] <= high or min(figures["job_rows"], figures["no_job_rows"]) < 40
        assert 0 <= low <= high <= 1
