"""Every figure is what its formula says on small examples worked by hand, and no input makes it NaN."""

import json
import math
import random
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.soc import MAJOR_GROUPS
from trainer.measure import calibration_figures, figures, resampling
from trainer.measure.predictions import Predictions

CODES = ("29-1141.00", "29-1141.01", "29-1229.00", "15-1252.00")


def predictions(
    rows: Sequence[Sequence[float]],
    labels: Sequence[int],
    *,
    decisions: Sequence[str] | None = None,
    train_counts: Sequence[int] | None = None,
    codes: Sequence[str] | None = None,
) -> Predictions:
    """Predictions over as many categories as a row has."""
    width = len(rows[0]) if rows else 4
    return Predictions(
        probabilities=torch.tensor(rows, dtype=torch.float32).reshape(len(labels), width),
        labels=torch.tensor(labels, dtype=torch.int64),
        decisions=decisions or ["accept"] * len(labels),
        codes=tuple(codes or (CODES * width)[:width]),
        names=tuple(f"name {i}" for i in range(width)),
        titles=[f"title {i}" for i in range(len(labels))],
        train_counts=torch.tensor(train_counts or [3] * width),
    )


@st.composite
def any_predictions(draw: st.DrawFn) -> Predictions:
    rows, width = draw(st.integers(0, 40)), draw(st.integers(1, 15))
    rng = random.Random(draw(st.integers(0, 2**32)))
    flat = draw(st.booleans())  # all probabilities equal: nothing but ties
    weights = [[1.0 if flat else rng.random() ** 4 + 1e-9 for _ in range(width)] for _ in range(rows)]
    return Predictions(
        probabilities=torch.tensor([[w / sum(row) for w in row] for row in weights]).reshape(rows, width),
        labels=torch.tensor([rng.randrange(width) for _ in range(rows)], dtype=torch.int64),
        decisions=[rng.choice(["accept", "review", "unclassified"]) for _ in range(rows)],
        codes=[f"{rng.choice(list(MAJOR_GROUPS))}-{i:04}.00" for i in range(width)],
        names=["<script>"] * width,
        titles=["x" * rng.randrange(10_000) for _ in range(rows)],
        train_counts=torch.tensor([rng.choice([0, 1, 5, 10, 50, 10_000]) for _ in range(width)]),
    )


FOUR = [[0.7, 0.2, 0.1, 0.0], [0.2, 0.5, 0.3, 0.0], [0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]]


def test_summary_is_what_its_formulas_say() -> None:
    found = figures.summary(predictions(FOUR, [0, 2, 2, 0], decisions=["accept", "accept", "review", "unclassified"]))
    ranks = [1, 2, 3, 4]
    assert [found[f"top_{n}"] for n in (1, 2, 3, 4, 10)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert found["mrr"] == pytest.approx(sum(1 / r for r in ranks) / 4, abs=1e-4)
    assert found["macro_top_1"] == 0.25  # category 0: one of two; category 2: none of two
    truth = [0.7, 0.3, 0.2, 0.1]
    assert found["nll"] == pytest.approx(-sum(math.log(p) for p in truth) / 4, abs=1e-4)
    squares = [sum(p * p for p in row) - 2 * t + 1 for row, t in zip(FOUR, truth, strict=True)]
    assert found["brier"] == pytest.approx(sum(squares) / 4, abs=1e-4)
    # bins of 1/15: 0.7 alone; 0.5 alone; both of 0.4 together
    assert found["ece"] == pytest.approx((0.3 + 0.5 + 0.8) / 4, abs=1e-4)
    assert (found["accept_share"], found["accept_precision"]) == (0.5, 0.5)
    assert (found["review_share"], found["unclassified_share"], found["reachable_share"]) == (0.25, 0.25, 0.25)
    assert (found["rows"], found["categories"], found["precision"]) == (4, 2, 0.9)


def test_nothing_accepted_has_no_precision() -> None:
    found = figures.summary(predictions(FOUR, [0, 2, 2, 0], decisions=["review"] * 4))
    assert found["accept_share"] == 0
    assert "accept_precision" not in found


def test_an_impossible_truth_has_a_finite_likelihood() -> None:
    assert figures.summary(predictions([[1.0, 0.0]], [1]))["nll"] == pytest.approx(-math.log(1e-12), abs=1e-4)


def test_of_equal_probabilities_the_first_category_leads() -> None:
    p = predictions([[0.25] * 4] * 4, [0, 1, 2, 3])
    assert p.ranks.tolist() == [1, 2, 3, 4]
    assert p.predicted.tolist() == [0] * 4


@settings(max_examples=60, deadline=None)
@given(p=any_predictions())
def test_no_input_makes_a_figure_that_json_lacks_or_a_share_beyond_one(p: Predictions) -> None:
    found = figures.compute_figures(p, seed=1)
    json.dumps(found, allow_nan=False)
    shares = [v for name, v in found["summary"].items() if name.startswith(("top_", "macro", "ece")) or name.endswith("share")]
    assert all(0 <= value <= 1 for value in shares)
    assert found["summary"]["rows"] == sum(b["count"] for b in found["reliability"]) == sum(b["rows"] for b in found["by_bucket"])
    assert p.rows == sum(row["rows"] for row in found["by_category"]) == sum(row["rows"] for row in found["by_major_group"])


@settings(max_examples=60, deadline=None)
@given(p=any_predictions())
def test_coverage_rises_to_all_rows_and_ends_at_the_error_of_all(p: Predictions) -> None:
    curve = calibration_figures.risk_coverage(p, points=7)
    coverage = [row["coverage"] for row in curve]
    assert coverage == sorted(set(coverage))
    assert len(curve) <= 7
    if p.rows:
        assert curve[-1]["coverage"] == 1
        assert curve[-1]["error"] == pytest.approx(1 - figures.summary(p)["top_1"], abs=1e-3)


def test_rows_of_one_probability_are_covered_together() -> None:
    curve = calibration_figures.risk_coverage(predictions([[0.9, 0.1], [0.6, 0.4], [0.6, 0.4], [0.6, 0.4]], [0, 0, 1, 1]))
    assert [(row["coverage"], row["error"]) for row in curve] == [(0.25, 0.0), (1.0, 0.5)]


def test_intervals_hold_the_figure_and_narrow_with_more_rows() -> None:
    few = predictions([[0.8, 0.2]] * 40, [0] * 30 + [1] * 10)
    many = predictions([[0.8, 0.2]] * 4_000, [0] * 3_000 + [1] * 1_000)
    widths = []
    for p in (few, many):
        low, high = figures.bootstrap_intervals(p, seed=0)["top_1"]
        assert low < 0.75 < high
        widths.append(high - low)
    assert widths[0] == pytest.approx(2 * 1.96 * math.sqrt(0.75 * 0.25 / 40), rel=0.2)
    assert widths[1] == pytest.approx(widths[0] / 10, rel=0.2)


def test_intervals_are_the_same_for_the_same_seed() -> None:
    p = predictions(FOUR * 5, [0, 2, 2, 0] * 5)
    assert figures.bootstrap_intervals(p, seed=3) == figures.bootstrap_intervals(p, seed=3)


def test_intervals_do_not_depend_on_how_many_rounds_are_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    p = predictions(FOUR, [0, 2, 2, 0])
    whole = figures.bootstrap_intervals(p, seed=3, rounds=50)
    monkeypatch.setattr(resampling, "RESAMPLED", 28)
    assert figures.bootstrap_intervals(p, seed=3, rounds=50) == whole


def test_a_category_falls_into_the_bucket_of_its_training_rows() -> None:
    found = figures.bucket_figures(predictions(FOUR, [0, 1, 2, 3], train_counts=[0, 4, 5, 50]))
    assert [(b["train_rows"], b["categories"], b["rows"], b.get("top_1")) for b in found] == [
        ("0", 1, 1, 1.0), ("1-4", 1, 1, 1.0), ("5-9", 1, 1, 0.0), ("10-49", 0, 0, None), ("50+", 1, 1, 1.0)
    ]  # fmt: skip


def test_a_major_group_is_the_first_two_digits_of_a_code() -> None:
    found = figures.group_figures(predictions(FOUR, [0, 1, 2, 3]))
    assert [(g["code"], g["rows"], g["top_1"]) for g in found] == [("15", 1, 1.0), ("29", 3, 0.6667)]
    assert found[0]["name"] == "Computer and Mathematical"
    assert found[1]["probability"] == pytest.approx((0.7 + 0.5 + 0.4) / 3, abs=1e-4)


def test_a_group_that_soc_lacks_has_no_name() -> None:
    assert figures.group_figures(predictions([[1.0]], [0], codes=["99-0000.00"]))[0]["name"] == ""


def test_a_category_without_held_out_rows_is_not_listed() -> None:
    found = figures.category_figures(predictions(FOUR, [0, 2, 2, 0], train_counts=[7, 1, 2, 3]))
    assert [(c["code"], c["train_rows"], c["rows"], c["top_1"], c["top_5"]) for c in found] == [
        ("29-1141.00", 7, 2, 0.5, 1.0), ("29-1229.00", 2, 2, 0.0, 1.0)
    ]  # fmt: skip


def test_worst_pairs_come_by_count_with_the_surest_as_the_example() -> None:
    rows = [[0.6, 0.4, 0.0], [0.9, 0.1, 0.0], [0.0, 0.3, 0.7], [0.1, 0.9, 0.0]]
    found = figures.worst_pairs(predictions(rows, [1, 1, 1, 1]))
    assert [(w["true_code"], w["predicted_code"], w["count"], w["share"], w["example"]) for w in found] == [
        (CODES[1], CODES[0], 2, 0.5, "title 1"), (CODES[1], CODES[2], 1, 0.25, "title 2")
    ]  # fmt: skip
    assert len(figures.worst_pairs(predictions(rows, [1, 1, 1, 1]), limit=1)) == 1


def test_reliability_sets_what_is_said_beside_what_is_right() -> None:
    found = calibration_figures.reliability(predictions([[0.8, 0.2], [0.9, 0.1], [1.0, 0.0], [0.5, 0.5]], [0, 1, 0, 0]), bins=4)
    assert found[:2] == [{"low": 0.0, "high": 0.25, "count": 0}, {"low": 0.25, "high": 0.5, "count": 0}]
    assert found[2] == {"low": 0.5, "high": 0.75, "count": 1, "probability": 0.5, "right": 1.0}
    assert found[3] == {"low": 0.75, "high": 1.0, "count": 3, "probability": 0.9, "right": 0.6667}


def test_probabilities_are_summed_over_the_codes_of_a_group() -> None:
    found = figures.level_figures(predictions([[0.3, 0.3, 0.0, 0.4]], [1]))  # first is 15-1252, but 29-1141 has 0.6 in all
    assert [level["right"] for level in found] == [0, 1, 1, 1, 1]
    assert [level["groups"] for level in found] == [4, 3, 3, 2, 2]


@settings(max_examples=60, deadline=None)
@given(p=any_predictions(), count=st.integers(0, 14))
def test_samples_are_half_right_and_half_wrong_where_there_are_so_many(p: Predictions, count: int) -> None:
    found = figures.pick_samples(p, 5, count)
    right = int(p.within(1).sum())
    assert sum(s["right"] for s in found) == min(right, count - count // 2)
    wrong = [s["probability"] for s in found if not s["right"]]
    assert len(wrong) == min(p.rows - right, count // 2)
    assert not wrong or wrong[0] == pytest.approx(float(p.confidence[p.ranks > 1].max()), abs=1e-4)


@pytest.mark.parametrize(("field", "value"), [("titles", []), ("names", ("a",)), ("labels", torch.tensor([9]))])
def test_sizes_that_do_not_fit_are_refused(field: str, value: object) -> None:
    good = predictions([[0.5, 0.5]], [0])
    with pytest.raises(ValueError, match="must be"):
        Predictions(**{**{name: getattr(good, name) for name in Predictions.__dataclass_fields__}, field: value})


def test_no_rows_have_no_figures() -> None:
    found = figures.compute_figures(predictions([], []), seed=0)
    assert found["summary"] == {"rows": 0, "categories": 0, "precision": 0.9}
    assert found["intervals"] == {}
    assert not any(found[name] for name in ("by_major_group", "by_category", "worst_pairs", "risk_coverage", "rollup", "samples"))
