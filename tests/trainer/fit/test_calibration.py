"""Calibration finds the likeliest weights and sharpness on held-out postings, and thresholds that keep their promise."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from consumer.model.mixture import Mixture, Tensors
from consumer.model.queries import Queries
from schemas.artifact import Calibration, Category, Exemplars, KnownTitle, Mix
from tests.support.tiny_model import CATEGORIES, make_manifest, tiny_scorer
from trainer.fit.calibration import (
    BODY_WEIGHTS,
    DEFAULT_KNOWN_PRIOR,
    DEFAULT_LISTED_WEIGHT,
    KNOWN_PRIORS,
    LISTED_WEIGHTS,
    MIN_ROWS,
    NEVER,
    REJECT,
    HeldOutParts,
    calibrate,
    choose_body_weight,
    choose_known_prior,
    choose_listed_weight,
    choose_mix_weights,
    choose_scale,
    compute_held_out_parts,
    join_held_out_parts,
)

CPU = torch.device("cpu")
MIX = Mix(scale=2.0)
TWO = (Category(onet_code="11-1011.00", onet_title="Zero"), Category(onet_code="13-1011.00", onet_title="One"))
MET = KnownTitle(title="Met", category=0, weight=5)


def mixture(
    categories: tuple[Category, ...] = TWO, *, mix: Mix | None = None, titles: tuple[KnownTitle, ...] = (MET,)
) -> Mixture:
    """Return a mixture of the title part only, over unit vectors: a query's coordinates are its cosines."""
    return Mixture(Tensors(categories, torch.eye(len(categories)), titles=titles), mix or MIX, None, CPU)


Postings = Sequence[tuple[float, bool]]


def make_queries(postings: Postings, keys: Sequence[str] | None = None) -> tuple[Queries, torch.Tensor]:
    """Return queries and labels: each cosine with category 0, which ranks first from 0.71 on, and whether that is right."""
    rows = torch.tensor([[cosine, math.sqrt(1 - cosine**2)] for cosine, _ in postings]).reshape(-1, 2)
    labels = torch.tensor([0 if right else 1 for _, right in postings], dtype=torch.int64)
    return Queries(rows, None, keys or [f"new {i}" for i in range(len(postings))]), labels


def make_held_out(postings: Postings, keys: Sequence[str] | None = None, mixed: Mixture | None = None) -> HeldOutParts:
    """Return the answers of a mixture, by default of the categories TWO, to postings."""
    return compute_held_out_parts(mixed or mixture(), *make_queries(postings, keys))


def group_by_decision(postings: Postings, calibration: Calibration) -> dict[str, list[bool]]:
    """Return for each decision of serving whether the best category of its postings is right."""
    scorer = tiny_scorer(calibration=calibration)
    scorer.mixture = mixture()
    queries, labels = make_queries(postings)
    probabilities, decisions = scorer.judge(queries)
    right = (probabilities.argmax(dim=1) == labels).tolist()
    return {kind: [ok for ok, said in zip(right, decisions, strict=True) if said == kind] for kind in ("accept", "unclassified")}


@given(
    postings=st.lists(st.tuples(st.sampled_from([0.99, 0.9, 0.8, 0.75, 0.72]), st.booleans()), min_size=1, max_size=300),
    precision=st.sampled_from([0.5, 0.75, 0.9, 0.99]),
)
def test_thresholds_keep_their_promise_on_what_they_were_fitted_to(postings: list[tuple[float, bool]], precision: float) -> None:
    calibration = calibrate(MIX, make_held_out(postings), precision=precision)
    found = group_by_decision(postings, calibration)
    accepted, unclassified = found["accept"], found["unclassified"]
    assert calibration.precision == precision
    assert not accepted or (len(accepted) >= MIN_ROWS and sum(accepted) >= precision * len(accepted) - 1e-9)
    assert not unclassified or (len(unclassified) >= MIN_ROWS and sum(unclassified) <= 0.25 * len(unclassified))
    assert calibration.new.review_at <= calibration.new.accept_at


def test_postings_given_up_on_are_hopeless_even_next_to_those_accepted() -> None:
    """Below 0.99 12 of 50 are right, but 20 of those wrong are accepted, and of the 30 left 12 are too many to give up on."""
    blocks = [(0.99, 200, 200), (0.8, 20, 0), (0.75, 30, 12)]
    postings = [(cosine, i < right) for cosine, count, right in blocks for i in range(count)]
    unclassified = group_by_decision(postings, calibrate(MIX, make_held_out(postings), precision=0.9))["unclassified"]
    assert sum(unclassified) <= 0.25 * len(unclassified)


def test_clear_answers_are_accepted_and_hopeless_ones_are_not() -> None:
    postings = [(0.99, True)] * 50 + [(0.72, True)] * 5 + [(0.72, False)] * 45
    found = group_by_decision(postings, calibrate(MIX, make_held_out(postings), precision=0.9))
    assert {kind: len(rows) for kind, rows in found.items()} == {"accept": 50, "unclassified": 50}


@pytest.mark.parametrize("rows", [1, MIN_ROWS - 1])
def test_few_postings_are_no_ground_to_accept_or_give_up_on(rows: int) -> None:
    calibration = calibrate(MIX, make_held_out([(0.99, True)] * rows), precision=0.9)
    for decide in (calibration.new, calibration.known):
        assert (decide.accept_at, decide.review_at) == (NEVER, 0.0)


def test_known_and_new_titles_are_calibrated_on_their_own() -> None:
    sure, unsure = [(0.99, True)] * 60, [(0.99, i % 2 == 0) for i in range(60)]
    calibration = calibrate(MIX, make_held_out(sure + unsure, ["met"] * 60 + ["new"] * 60), precision=0.9)
    assert calibration.known.accept_at <= 1
    assert calibration.new.accept_at == NEVER
    assert calibration.known.sharpness > calibration.new.sharpness


@pytest.mark.parametrize(("met", "new"), [(MIN_ROWS - 1, 60), (60, MIN_ROWS - 1)])
def test_a_stratum_with_too_few_postings_shares_the_other_ones_thresholds(met: int, new: int) -> None:
    data = make_held_out([(0.99, True)] * (met + new), ["met"] * met + ["new"] * new)
    calibration = calibrate(MIX, data, precision=0.9)
    assert calibration.known == calibration.new
    assert calibration.new.accept_at <= 1


def draw_labels(scores: torch.Tensor, scale: float) -> torch.Tensor:
    """Draw labels `(n,)` with the probabilities softmax(scale * scores)."""
    return torch.multinomial(torch.softmax(scale * scores, dim=1), 1, generator=torch.Generator().manual_seed(1)).flatten()


def directions(count: int, dim: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(count, dim, generator=torch.Generator().manual_seed(0)), dim=1)


def test_scale_and_sharpness_are_the_likeliest_ones() -> None:
    rows = directions(20_000, 3)
    mixed = mixture(CATEGORIES, mix=Mix(scale=8.0))
    data = compute_held_out_parts(mixed, Queries(rows, None, [f"new {i}" for i in range(len(rows))]), draw_labels(rows, 12))
    assert choose_scale(data.parts.title, data) == pytest.approx(12, abs=1)
    assert calibrate(mixed.mix, data, precision=0.9).new.sharpness == pytest.approx(12 / 8, abs=0.1)


def add_parts(queries: torch.Tensor, right: str, labels: torch.Tensor) -> tuple[Mixture, HeldOutParts]:
    """Add exemplars and lines to titles. The part `right` knows the labels; the other says category 0, which is never right."""
    line = torch.eye(3)[labels if right == "line_weight" else torch.zeros_like(labels)]
    voters = tuple(KnownTitle(title=str(i), category=i if right == "exemplar_weight" else 0, weight=1) for i in range(3))
    vote = Exemplars(count=3, neighbours=1, temperature=0.1)
    tensors = Tensors(CATEGORIES, torch.eye(3), torch.eye(3), torch.eye(3), voters)
    mixed = Mixture(tensors, Mix(scale=8.0), vote, CPU)
    return mixed, compute_held_out_parts(mixed, Queries(queries, line, ["?"] * len(labels)), labels)


@pytest.mark.parametrize("right", ["exemplar_weight", "line_weight"])
def test_a_useless_part_gets_no_weight_and_the_one_that_knows_gets_most(right: str) -> None:
    labels = 1 + torch.arange(90) % 2
    doubtful = torch.nn.functional.normalize(torch.eye(3)[labels] + 0.9 * torch.eye(3)[3 - labels], dim=1)
    mixed, data = add_parts(doubtful, right, labels)
    mix = choose_mix_weights(mixed.mix, data)
    useless = {"exemplar_weight", "line_weight"} - {right}
    assert getattr(mix, useless.pop()) == 0
    assert getattr(mix, right) == 0.7
    assert mix.title_weight == pytest.approx(0.3)


def test_parts_that_are_not_there_get_no_weight() -> None:
    mix = choose_mix_weights(MIX, make_held_out([(0.99, True)] * 40))
    assert (mix.title_weight, mix.exemplar_weight, mix.line_weight) == (1, 0, 0)


@pytest.mark.parametrize(("right", "prior"), [(True, min(KNOWN_PRIORS)), (False, max(KNOWN_PRIORS))])
def test_exact_titles_weigh_as_much_as_they_are_right(right: bool, prior: float) -> None:
    mix = Mix(scale=2.0, known_prior=3.0)
    assert choose_known_prior(mix, make_held_out([(0.75, right)] * 40, ["met"] * 40)) == prior
    assert choose_known_prior(mix, make_held_out([(0.75, right)] * 40)) == DEFAULT_KNOWN_PRIOR, "none of them was met"


@pytest.mark.parametrize(("right", "weight"), [(True, max(LISTED_WEIGHTS)), (False, 0.0)])
def test_a_list_of_onets_weighs_as_much_as_it_is_right(right: bool, weight: float) -> None:
    mix, titles = Mix(scale=2.0, known_prior=3.0), (KnownTitle(title="Listed", category=0, weight=0.6),)
    held_out = make_held_out([(0.75, right)] * 40, ["listed"] * 40, mixture(titles=titles))
    assert choose_listed_weight(mix, held_out) == weight
    assert choose_listed_weight(mix, make_held_out([(0.75, right)] * 40)) == DEFAULT_LISTED_WEIGHT, "none of them is listed"


def make_bodies(bodies: torch.Tensor, labels: torch.Tensor) -> HeldOutParts:
    """Return answers to uninformative titles with bodies `(n, 3)`."""
    mixed = Mixture(Tensors(CATEGORIES, torch.eye(3), body=torch.eye(3)), Mix(scale=8.0), None, CPU)
    keys = [f"new {i}" for i in range(len(labels))]
    return compute_held_out_parts(mixed, Queries(torch.full((len(labels), 3), 3**-0.5), None, keys, bodies), labels)


def test_a_body_weighs_as_much_as_it_is_right() -> None:
    labels = torch.arange(120) % 3
    assert choose_body_weight(Mix(scale=8.0), make_bodies(torch.eye(3)[labels], labels)).body_weight == max(BODY_WEIGHTS)
    assert choose_body_weight(Mix(scale=8.0), make_bodies(torch.eye(3)[(labels + 1) % 3], labels)).body_weight == 0
    assert choose_body_weight(Mix(scale=8.0), make_bodies(torch.zeros(120, 3), labels)).body_weight == 0, "nobody has one"


def test_postings_with_a_body_are_calibrated_apart_and_titles_as_if_without_bodies() -> None:
    labels = torch.arange(120) % 3
    held = make_bodies(torch.eye(3)[labels], labels)
    mix = Mix(scale=8.0, body_weight=8.0)
    fitted = calibrate(mix, held, precision=0.9)
    assert fitted.body is not None
    assert fitted.body.accept_at <= 1
    assert fitted.new == calibrate(mix, replace(held, parts=replace(held.parts, body=None)), precision=0.9).new
    assert fitted.new.accept_at == NEVER
    assert calibrate(mix, make_bodies(torch.zeros(120, 3), labels), precision=0.9).body is None


def test_answers_of_several_models_are_judged_as_if_one_model_had_given_them() -> None:
    first, second = make_held_out([(0.99, True)] * 3, ["met", "a", "b"]), make_held_out([(0.75, False)] * 2, ["c", "d"])
    both = join_held_out_parts([first, second])
    assert torch.equal(both.labels, torch.cat((first.labels, second.labels)))
    assert torch.equal(both.parts.title, torch.cat((first.parts.title, second.parts.title)))
    assert both.parts.known.tolist() == [True, False, False, False, False]
    assert both.parts.counts is not None
    assert both.parts.counts.tolist() == [[5, 0], [0, 0], [0, 0], [0, 0], [0, 0]], "the second had no counts"
    assert both.parts.vote is None


def test_postings_of_one_new_title_weigh_as_one_and_those_of_a_known_one_each() -> None:
    assert make_held_out([(0.9, True)] * 5, ["new", "new", "met", "met", "other"]).weights.tolist() == [0.5, 0.5, 1, 1, 1]


def test_postings_without_a_category_count_as_wrong_but_not_in_likelihoods() -> None:
    sure = [(0.99, True)] * 60
    fitted = calibrate(MIX, make_held_out(sure), precision=0.9)
    rejected = make_held_out([*sure, *[(0.99, True)] * 20])
    rejected.labels[60:] = REJECT
    spoilt = calibrate(MIX, rejected, precision=0.9)
    assert fitted.new.accept_at <= 1
    assert spoilt.new.accept_at == NEVER
    assert spoilt.new.sharpness == fitted.new.sharpness
    assert choose_mix_weights(MIX, rejected) == choose_mix_weights(MIX, make_held_out(sure))


def test_a_manifest_holds_the_fitted_calibration() -> None:
    fitted = calibrate(MIX, make_held_out([(0.99, True)] * 40), precision=0.9)
    written = make_manifest(calibration=fitted)
    assert type(written).model_validate_json(written.model_dump_json()).calibration == fitted
