"""Weights, sharpness and thresholds are the likeliest ones on held-out postings, and a threshold keeps what it promises."""

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from consumer.mixture import Mixture, Queries, Tensors
from schemas.artifact import Calibration, Category, Exemplars, KnownTitle, Mix
from tests.factories import CATEGORIES, manifest, tiny_scorer
from trainer.calibrate import (
    DEFAULT_KNOWN_PRIOR,
    KNOWN_PRIORS,
    MIN_ROWS,
    NEVER,
    HeldOut,
    best_known_prior,
    best_mix,
    best_scale,
    calibrate,
)

CPU = torch.device("cpu")
TWO = (Category(onet_code="11-1011.00", onet_title="Zero"), Category(onet_code="13-1011.00", onet_title="One"))
MET = KnownTitle(title="Met", category=0, weight=5)


def mixture(
    categories: tuple[Category, ...] = TWO, *, mix: Mix | None = None, titles: tuple[KnownTitle, ...] = (MET,)
) -> Mixture:
    """The title part alone, over unit vectors: a query's coordinates are its cosines."""
    return Mixture(Tensors(categories, torch.eye(len(categories)), titles=titles), mix or Mix(scale=2.0), None, CPU)


def held_out(postings: Sequence[tuple[float, bool]], keys: Sequence[str] | None = None) -> HeldOut:
    """Of each posting the cosine with category 0, which is first from 0.71 on, and whether that is right."""
    rows = torch.tensor([[cosine, math.sqrt(1 - cosine**2)] for cosine, _ in postings]).reshape(-1, 2)
    labels = torch.tensor([0 if right else 1 for _, right in postings], dtype=torch.int64)
    return HeldOut(Queries(rows, None, keys or [f"new {i}" for i in range(len(postings))]), labels)


def decided(mixed: Mixture, data: HeldOut, calibration: Calibration) -> dict[str, list[bool]]:
    """Whether each posting's best category is right, by what serving decides."""
    scorer = tiny_scorer(calibration=calibration)
    scorer.mixture = mixed
    probabilities = scorer.probabilities(data.queries)
    right = (probabilities.argmax(dim=1) == data.labels).tolist()
    decisions = scorer.decisions(probabilities, data.queries.keys)
    return {kind: [ok for ok, said in zip(right, decisions, strict=True) if said == kind] for kind in ("accept", "unclassified")}


@given(
    postings=st.lists(st.tuples(st.sampled_from([0.99, 0.9, 0.8, 0.75, 0.72]), st.booleans()), min_size=1, max_size=300),
    precision=st.sampled_from([0.5, 0.75, 0.9, 0.99]),
)
def test_thresholds_keep_their_promise_on_what_they_were_fitted_to(postings: list[tuple[float, bool]], precision: float) -> None:
    data, mixed = held_out(postings), mixture()
    calibration = calibrate(mixed, data, precision=precision)
    found = decided(mixed, data, calibration)
    accepted, unclassified = found["accept"], found["unclassified"]
    assert calibration.precision == precision
    assert not accepted or (len(accepted) >= MIN_ROWS and sum(accepted) >= precision * len(accepted) - 1e-9)
    assert not unclassified or (len(unclassified) >= MIN_ROWS and sum(unclassified) <= 0.25 * len(unclassified))
    assert calibration.new.review_at <= calibration.new.accept_at


def test_what_is_given_up_on_is_hopeless_even_where_acceptance_reaches_down_to_it() -> None:
    """Below 0.99 12 of 50 are right, but 20 of those wrong are accepted, and of the 30 left 12 are too many to give up on."""
    blocks = [(0.99, 200, 200), (0.8, 20, 0), (0.75, 30, 12)]
    postings = [(cosine, i < right) for cosine, count, right in blocks for i in range(count)]
    data, mixed = held_out(postings), mixture()
    unclassified = decided(mixed, data, calibrate(mixed, data, precision=0.9))["unclassified"]
    assert sum(unclassified) <= 0.25 * len(unclassified)


def test_clear_answers_are_accepted_and_hopeless_ones_are_not() -> None:
    data = held_out([(0.99, True)] * 50 + [(0.72, True)] * 5 + [(0.72, False)] * 45)
    mixed = mixture()
    found = decided(mixed, data, calibrate(mixed, data, precision=0.9))
    assert {kind: len(rows) for kind, rows in found.items()} == {"accept": 50, "unclassified": 50}


@pytest.mark.parametrize("rows", [1, MIN_ROWS - 1])
def test_few_postings_are_no_ground_to_accept_or_give_up_on(rows: int) -> None:
    calibration = calibrate(mixture(), held_out([(0.99, True)] * rows), precision=0.9)
    for decide in (calibration.new, calibration.known):
        assert (decide.accept_at, decide.review_at) == (NEVER, 0.0)


def test_known_and_new_titles_are_calibrated_on_their_own() -> None:
    sure, unsure = [(0.99, True)] * 60, [(0.99, i % 2 == 0) for i in range(60)]
    calibration = calibrate(mixture(), held_out(sure + unsure, ["met"] * 60 + ["new"] * 60), precision=0.9)
    assert calibration.known.accept_at <= 1
    assert calibration.new.accept_at == NEVER
    assert calibration.known.sharpness > calibration.new.sharpness


@pytest.mark.parametrize(("met", "new"), [(MIN_ROWS - 1, 60), (60, MIN_ROWS - 1)])
def test_a_stratum_with_too_few_postings_shares_the_other_ones_thresholds(met: int, new: int) -> None:
    data = held_out([(0.99, True)] * (met + new), ["met"] * met + ["new"] * new)
    calibration = calibrate(mixture(), data, precision=0.9)
    assert calibration.known == calibration.new
    assert calibration.new.accept_at <= 1


def drawn(scores: torch.Tensor, scale: float) -> torch.Tensor:
    """Labels as likely as softmax(scale * scores) says, `(n,)`."""
    return torch.multinomial(torch.softmax(scale * scores, dim=1), 1, generator=torch.Generator().manual_seed(1)).flatten()


def directions(count: int, dim: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(count, dim, generator=torch.Generator().manual_seed(0)), dim=1)


def test_scale_and_sharpness_are_the_likeliest_ones() -> None:
    rows = directions(20_000, 3)
    data = HeldOut(Queries(rows, None, [""] * len(rows)), drawn(rows, 12))
    mixed = mixture(CATEGORIES, mix=Mix(scale=8.0))
    assert best_scale(mixed, data) == pytest.approx(12, abs=1)
    assert calibrate(mixed, data, precision=0.9).new.sharpness == pytest.approx(12 / 8, abs=0.1)


def with_parts(queries: torch.Tensor, right: str, labels: torch.Tensor) -> tuple[Mixture, HeldOut]:
    """Exemplars and lines beside the titles; `right` knows the labels, the other says category 0, which is never right."""
    line = torch.eye(3)[labels if right == "line_weight" else torch.zeros_like(labels)]
    voters = tuple(KnownTitle(title=str(i), category=i if right == "exemplar_weight" else 0, weight=1) for i in range(3))
    vote = Exemplars(count=3, neighbours=1, temperature=0.1)
    tensors = Tensors(CATEGORIES, torch.eye(3), torch.eye(3), torch.eye(3), voters)
    return Mixture(tensors, Mix(scale=8.0), vote, CPU), HeldOut(Queries(queries, line, ["?"] * len(labels)), labels)


@pytest.mark.parametrize("right", ["exemplar_weight", "line_weight"])
def test_a_useless_part_gets_no_weight_and_the_one_that_knows_gets_most(right: str) -> None:
    labels = 1 + torch.arange(90) % 2
    doubtful = torch.nn.functional.normalize(torch.eye(3)[labels] + 0.9 * torch.eye(3)[3 - labels], dim=1)
    mixed, data = with_parts(doubtful, right, labels)
    mix = best_mix(mixed, data)
    useless = {"exemplar_weight", "line_weight"} - {right}
    assert getattr(mix, useless.pop()) == 0
    assert getattr(mix, right) == 0.7
    assert mix.title_weight == pytest.approx(0.3)


def test_parts_that_are_not_there_get_no_weight() -> None:
    mix = best_mix(mixture(), held_out([(0.99, True)] * 40))
    assert (mix.title_weight, mix.exemplar_weight, mix.line_weight) == (1, 0, 0)


@pytest.mark.parametrize(("right", "prior"), [(True, min(KNOWN_PRIORS)), (False, max(KNOWN_PRIORS))])
def test_exact_titles_weigh_as_much_as_they_are_right(right: bool, prior: float) -> None:
    mixed = mixture(mix=Mix(scale=2.0, known_prior=3.0))
    assert best_known_prior(mixed, held_out([(0.75, right)] * 40, ["met"] * 40)) == prior
    assert best_known_prior(mixed, held_out([(0.75, right)] * 40)) == DEFAULT_KNOWN_PRIOR, "none of them was met"


def test_what_is_fitted_is_what_a_manifest_holds() -> None:
    fitted = calibrate(mixture(), held_out([(0.99, True)] * 40), precision=0.9)
    told = manifest(calibration=fitted)
    assert type(told).model_validate_json(told.model_dump_json()).calibration == fitted
