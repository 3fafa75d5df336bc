"""Parts become one probability by the formulas of `Mix`, `Exemplars` and `Thresholds`."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import normalize

from consumer.model.blending import Parts, blend
from consumer.model.mixture import Mixture, Tensors
from consumer.model.queries import Queries
from consumer.model.serving_options import Part, ServingOptions
from schemas.artifact import Calibration, Exemplars, KnownTitle, Mix, Thresholds
from tests.support.tiny_model import (
    CALIBRATION,
    CATEGORIES,
    TITLES,
    BodyEncoder,
    LetterEncoder,
    LineEncoder,
    all_parts,
    all_tensors,
    tiny_scorer,
)

CPU = torch.device("cpu")
ALL = all_parts()
ASKED = ["Line Cook", "nurse", "staff nurse", "CDL truck driver", "Head Cook", "Cook - Nights", "Cook", "", "ﬁne dining chef"]
MIX, VOTE = ALL["mix"], ALL["exemplars"]


def make_mixture(mix: Mix = MIX, *, tensors: Tensors | None = None, vote: Exemplars = VOTE, **serving_options: Any) -> Mixture:
    return Mixture(tensors or all_tensors(), mix, vote, CPU, serving_options=ServingOptions(**serving_options))


def make_queries(titles: Sequence[str]) -> Queries:
    return Queries(LetterEncoder().encode(titles), LineEncoder().encode(titles), [title.casefold() for title in titles])


def score_parts(mixed: Mixture, asked: Queries) -> Parts:
    return mixed.score_parts(asked, mixed.find_nearest(asked.title))


def predict(mixed: Mixture, asked: Queries) -> dict[str, torch.Tensor]:
    """What each part says by itself, by the name of its weight."""
    found, scale = score_parts(mixed, asked), mixed.mix.scale
    there = {"title_weight": torch.softmax(scale * found.title, dim=1)}
    there |= {"exemplar_weight": found.vote} if found.vote is not None else {}
    return there | ({"line_weight": torch.softmax(scale * found.line, dim=1)} if found.line is not None else {})


def blend_parts(mixed: Mixture, asked: Queries) -> torch.Tensor:
    return blend(mixed.mix, score_parts(mixed, asked))


def calibrate(mixed: Mixture, asked: Queries) -> torch.Tensor:
    return mixed.calibrate(blend_parts(mixed, asked), score_parts(mixed, asked), CALIBRATION)


def full_scorer(**changes: Any) -> Any:
    return tiny_scorer(**{"tensors": all_tensors(), **ALL, **changes})


@pytest.mark.parametrize("part", ["title_weight", "exemplar_weight", "line_weight"])
def test_a_part_with_all_the_weight_decides_alone(part: str) -> None:
    weights = dict.fromkeys(("title_weight", "exemplar_weight", "line_weight"), 0.0) | {"title_weight": 1e-9, part: 1.0}
    mixed, asked = make_mixture(Mix(**weights)), make_queries(ASKED)
    torch.testing.assert_close(blend_parts(mixed, asked), predict(mixed, asked)[part], atol=1e-6, rtol=0)


def test_title_and_line_are_cosines() -> None:
    asked, tensors = make_queries(ASKED), all_tensors()
    found = score_parts(make_mixture(), asked)
    assert tensors.line is not None
    for cosines, rows, matrix in ((found.title, asked.title, tensors.title), (found.line, asked.line, tensors.line)):
        torch.testing.assert_close(cosines, normalize(rows) @ normalize(matrix).T)


@pytest.mark.parametrize("off", [("line",), ("exemplars",), ("exemplars", "line"), ()])
def test_switched_off_parts_leave_their_weight_to_the_others(off: tuple[Part, ...]) -> None:
    mix = MIX.model_copy(update={"known_prior": None})
    mixed, asked = make_mixture(mix, without=frozenset(off)), make_queries(ASKED)
    found = predict(mixed, asked)
    names = {"line": "line_weight", "exemplars": "exemplar_weight"}
    assert set(found) == {"title_weight", "exemplar_weight", "line_weight"} - {names[part] for part in off}
    weights = {name: getattr(mix, name) for name in found}
    expected = sum(weights[name] * part for name, part in found.items()) / sum(weights.values())
    torch.testing.assert_close(blend_parts(mixed, asked), expected)


def test_the_vote_is_the_one_worked_out_by_hand() -> None:
    voters = (KnownTitle(title="a", category=0, weight=1), KnownTitle(title="b", category=1, weight=4))
    voters += (KnownTitle(title="c", category=1, weight=1), KnownTitle(title="no vector", category=2, weight=9))
    rows = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    tensors = Tensors(CATEGORIES, torch.eye(3)[:, :2] + 0.1, exemplars=rows, titles=voters)
    vote = Exemplars(count=3, neighbours=2, temperature=0.2)
    nearest = make_mixture(tensors=tensors, vote=vote).find_nearest(torch.tensor([[1.0, 0.0]]))
    assert nearest is not None
    assert nearest.ids.tolist() == [[0, 1]]
    assert nearest.cosines[0].tolist() == pytest.approx([1.0, 0.8])
    of_b = 4 * 2.718281828 ** ((0.8 - 1.0) / 0.2)  # a counts 1; c is third, of two that are asked
    assert nearest.vote[0].tolist() == pytest.approx([1 / (1 + of_b), of_b / (1 + of_b), 0], abs=1e-5)


def test_an_exact_title_pulls_towards_its_counts_by_the_formula() -> None:
    titles = (*TITLES, KnownTitle(title="LINE COOK", category=2, weight=4))
    tensors, asked = replace(all_tensors(), titles=titles), make_queries(["line cook", "Line Coook"])
    unknowing = make_mixture(MIX.model_copy(update={"known_prior": None}), tensors=tensors)
    found, before = blend_parts(make_mixture(MIX, tensors=tensors), asked), blend_parts(unknowing, asked)
    counts = torch.tensor([0.0, 1.0, 4.0])
    torch.testing.assert_close(found[0], (3.0 * before[0] + counts) / (3.0 + 5.0))
    torch.testing.assert_close(found[1], before[1])  # a title that is not known is left alone
    without_known = blend_parts(make_mixture(MIX, tensors=tensors, without=frozenset({"known"})), asked)
    torch.testing.assert_close(without_known, before)


def test_a_title_of_onets_own_is_no_known_title() -> None:
    titles = (KnownTitle(title="Line Cook", category=1, weight=0.6),)
    mixed = make_mixture(tensors=replace(all_tensors(), titles=(*TITLES[:1], *titles, *TITLES[2:])))
    assert not mixed.is_known("line cook")
    assert score_parts(mixed, make_queries(["line cook"])).counts is None


def test_a_title_that_onet_lists_pulls_towards_its_categories_by_the_formula() -> None:
    listed = (KnownTitle(title="Line Cook", category=1, weight=0.6), KnownTitle(title="line cook", category=2, weight=0.6))
    tensors, asked = replace(all_tensors(), titles=(*TITLES, *listed)), make_queries(["line cook", "cook of lines"])
    mix = MIX.model_copy(update={"listed_weight": 4.0})
    found = blend_parts(make_mixture(mix, tensors=tensors), asked)
    unknowing = make_mixture(MIX.model_copy(update={"known_prior": None}), tensors=tensors)
    before, known = blend_parts(unknowing, asked), torch.tensor([0.0, 1.0 + 2.0, 2.0])
    torch.testing.assert_close(found[0], (3.0 * before[0] + known) / (3.0 + 5.0))
    torch.testing.assert_close(found[1], before[1])
    unlisted = blend_parts(make_mixture(MIX, tensors=tensors), asked)
    torch.testing.assert_close(unlisted[0], (3.0 * before[0] + torch.tensor([0.0, 1.0, 0.0])) / 4.0)


def mix_with_bodies(weight: float, bodies: Sequence[str]) -> tuple[Mixture, Queries]:
    """Every part, and bodies; "" is none."""
    tensors, titles = replace(all_tensors(), body=all_tensors().title), ["driver nurse"] * len(bodies)
    there = torch.tensor([[float(bool(body))] for body in bodies])
    asked = replace(make_queries(titles), body=LetterEncoder().encode(bodies) * there)
    return make_mixture(MIX.model_copy(update={"body_weight": weight, "body_scale": 11.0}), tensors=tensors), asked


def test_a_body_joins_in_by_what_the_title_leaves_open() -> None:
    mixed, asked = mix_with_bodies(2.0, ["cooks cook", ""])
    mixed_in, alone = blend_parts(mixed, asked), blend_parts(mixed, replace(asked, body=None))
    torch.testing.assert_close(mixed_in[1], alone[1])  # no body, nothing to join in
    cosines = score_parts(mixed, asked).body
    assert cosines is not None
    doubt, body = 2.0 * (1 - alone[0].max()), torch.softmax(11.0 * cosines[0], dim=0)
    torch.testing.assert_close(mixed_in[0], (alone[0] + doubt * body) / (1 + doubt))
    assert int(mixed_in[0].argmax()) == 1
    torch.testing.assert_close(blend_parts(mix_with_bodies(0.0, ["cooks cook", ""])[0], asked), alone)


def test_postings_with_a_body_are_calibrated_and_decided_on_their_own() -> None:
    plain, body = Thresholds(accept_at=1.01, review_at=1.01), Thresholds(sharpness=3.0, accept_at=0, review_at=0)
    scorer = full_scorer(
        tensors=replace(all_tensors(), body=all_tensors().title),
        body_encoder=BodyEncoder.ref,
        calibration=Calibration(new=plain, known=plain, body=body),
    )
    answer = scorer.score(["Nurse of ours", "Nurse of ours", "Nurse of ours"], ["cook cook", None, ""])
    assert [s.decision for s in answer] == ["accept", "unclassified", "unclassified"]
    assert answer[1] == answer[2]


def test_a_body_that_the_model_does_not_look_at_changes_nothing() -> None:
    scorer = full_scorer()
    assert scorer.score(["Cook"], ["Drives trucks"]) == scorer.score(["Cook"])


@given(
    weights=st.tuples(st.floats(0.01, 1), st.floats(0, 1), st.floats(0, 1)),
    prior=st.none() | st.floats(0.01, 100),
    sharpness=st.floats(0.1, 5),
    adjustment=st.floats(-2, 2),
    titles=st.lists(st.sampled_from(ASKED), min_size=1, max_size=5),
)
def test_probabilities_sum_to_one(
    weights: tuple[float, float, float], prior: float | None, sharpness: float, adjustment: float, titles: list[str]
) -> None:
    title, exemplar, line = weights
    mix = Mix(title_weight=title, exemplar_weight=exemplar, line_weight=line, known_prior=prior)
    mixed, asked = make_mixture(mix, prior_adjustment=adjustment), make_queries(titles)
    thresholds = Thresholds(sharpness=sharpness, accept_at=1, review_at=0)
    before = blend_parts(mixed, asked)
    for found in (before, mixed.calibrate(before, score_parts(mixed, asked), Calibration(new=thresholds, known=thresholds))):
        assert bool((found >= 0).all())
        torch.testing.assert_close(found.sum(dim=1), torch.ones(len(titles)))


def test_known_and_new_titles_are_sharpened_and_decided_apart() -> None:
    known, new = Thresholds(sharpness=3.0, accept_at=0, review_at=0), Thresholds(sharpness=0.5, accept_at=1.01, review_at=1.01)
    scorer = full_scorer(calibration=Calibration(known=known, new=new))
    asked = make_queries(["line cook", "line coook"])
    mixed = blend_parts(scorer.mixture, asked)
    found, decisions = scorer.judge(asked)
    for row, sharpness in enumerate((3.0, 0.5)):
        torch.testing.assert_close(found[row], mixed[row] ** sharpness / (mixed[row] ** sharpness).sum())
    assert [s.decision for s in scorer.score(["Line Cook", "Line Coook"])] == ["accept", "unclassified"]
    assert decisions == ["accept", "unclassified"]


@pytest.mark.parametrize(("margin", "decision"), [(0.0, "accept"), (0.99, "review")])
def test_what_leads_by_too_little_is_not_accepted(margin: float, decision: str) -> None:
    thresholds = Thresholds(accept_at=0.3, accept_margin=margin, review_at=0.1)
    scorer = tiny_scorer(calibration=Calibration(new=thresholds, known=thresholds), top_n=1, mix=Mix(scale=2.0))
    assert scorer.score(["Cook"])[0].decision == decision


def test_prior_adjustment_favours_what_was_rare_in_training_and_zero_changes_nothing() -> None:
    counted = tuple(c.model_copy(update={"postings": n}) for c, n in zip(CATEGORIES, (900, 99, 0), strict=True))
    tensors, asked = replace(all_tensors(), categories=counted), make_queries(ASKED)
    plain, none, rare, frequent = (
        calibrate(make_mixture(tensors=tensors, prior_adjustment=a), asked) for a in (0.0, 0.0, 0.5, -0.5)
    )
    assert torch.equal(plain, none)
    assert torch.equal(plain, calibrate(make_mixture(tensors=tensors), asked))
    shares = torch.tensor([901, 100, 1]) / 1_002  # each counts one posting more, so that none is 0
    expected = plain * shares**-0.5
    torch.testing.assert_close(rare, expected / expected.sum(dim=1, keepdim=True), atol=1e-5, rtol=1e-4)
    assert bool((rare[:, 2] > plain[:, 2]).all())
    assert bool((frequent[:, 0] > plain[:, 0]).all())
