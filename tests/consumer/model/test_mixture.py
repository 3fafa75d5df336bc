"""Parts become one probability by the formulas of `Mix`, and an answer says what it stands on."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import normalize

from consumer.model.answers import Answer
from consumer.model.mixture import Mixture, Parts, Tensors, blend
from consumer.model.queries import Queries
from consumer.model.serving_options import AS_TRAINED, Part, ServingOptions
from schemas.artifact import Calibration, Category, Exemplars, KnownTitle, Mix, Thresholds
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


def mixture(mix: Mix = MIX, *, tensors: Tensors | None = None, vote: Exemplars = VOTE, **serving_options: Any) -> Mixture:
    return Mixture(tensors or all_tensors(), mix, vote, CPU, serving_options=ServingOptions(**serving_options))


def queries(titles: Sequence[str]) -> Queries:
    return Queries(LetterEncoder().encode(titles), LineEncoder().encode(titles), [title.casefold() for title in titles])


def parts(mixed: Mixture, asked: Queries) -> Parts:
    return mixed.score_parts(asked, mixed.find_nearest(asked.title))


def probabilities(mixed: Mixture, asked: Queries) -> dict[str, torch.Tensor]:
    """What each part says by itself, by the name of its weight."""
    found, scale = parts(mixed, asked), mixed.mix.scale
    there = {"title_weight": torch.softmax(scale * found.title, dim=1)}
    there |= {"exemplar_weight": found.vote} if found.vote is not None else {}
    return there | ({"line_weight": torch.softmax(scale * found.line, dim=1)} if found.line is not None else {})


def blended(mixed: Mixture, asked: Queries) -> torch.Tensor:
    return blend(mixed.mix, parts(mixed, asked))


def full_scorer(**changes: Any) -> Any:
    return tiny_scorer(**{"tensors": all_tensors(), **ALL, **changes})


def named(scored: Answer) -> list[Any]:
    """Everything of an answer but its numbers."""
    codes = [match.onet_code for match in scored.occupations] + [group.code for group in scored.groups]
    return [codes, [near.title for near in scored.evidence.nearest], scored.evidence.exact_title, scored.decision]


def numbers(scored: Answer) -> list[float]:
    matches = [number for match in scored.occupations for number in (match.score, match.probability)]
    return matches + [group.probability for group in scored.groups] + [near.similarity for near in scored.evidence.nearest]


# ---- the formula of Mix ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["title_weight", "exemplar_weight", "line_weight"])
def test_a_part_with_all_the_weight_decides_alone(part: str) -> None:
    weights = dict.fromkeys(("title_weight", "exemplar_weight", "line_weight"), 0.0) | {"title_weight": 1e-9, part: 1.0}
    mixed, asked = mixture(Mix(**weights)), queries(ASKED)
    torch.testing.assert_close(blended(mixed, asked), probabilities(mixed, asked)[part], atol=1e-6, rtol=0)


def test_title_and_line_are_cosines() -> None:
    asked, tensors = queries(ASKED), all_tensors()
    found = parts(mixture(), asked)
    assert tensors.line is not None
    for cosines, rows, matrix in ((found.title, asked.title, tensors.title), (found.line, asked.line, tensors.line)):
        torch.testing.assert_close(cosines, normalize(rows) @ normalize(matrix).T)


@pytest.mark.parametrize("off", [("line",), ("exemplars",), ("exemplars", "line"), ()])
def test_switched_off_parts_leave_their_weight_to_the_others(off: tuple[Part, ...]) -> None:
    mix = MIX.model_copy(update={"known_prior": None})
    mixed, asked = mixture(mix, without=frozenset(off)), queries(ASKED)
    found = probabilities(mixed, asked)
    names = {"line": "line_weight", "exemplars": "exemplar_weight"}
    assert set(found) == {"title_weight", "exemplar_weight", "line_weight"} - {names[part] for part in off}
    weights = {name: getattr(mix, name) for name in found}
    expected = sum(weights[name] * part for name, part in found.items()) / sum(weights.values())
    torch.testing.assert_close(blended(mixed, asked), expected)


def test_the_vote_is_the_one_worked_out_by_hand() -> None:
    voters = (KnownTitle(title="a", category=0, weight=1), KnownTitle(title="b", category=1, weight=4))
    voters += (KnownTitle(title="c", category=1, weight=1), KnownTitle(title="no vector", category=2, weight=9))
    rows = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    tensors = Tensors(CATEGORIES, torch.eye(3)[:, :2] + 0.1, exemplars=rows, titles=voters)
    vote = Exemplars(count=3, neighbours=2, temperature=0.2)
    nearest = mixture(tensors=tensors, vote=vote).find_nearest(torch.tensor([[1.0, 0.0]]))
    assert nearest is not None
    assert nearest.ids.tolist() == [[0, 1]]
    assert nearest.cosines[0].tolist() == pytest.approx([1.0, 0.8])
    of_b = 4 * 2.718281828 ** ((0.8 - 1.0) / 0.2)  # a counts 1; c is third, of two that are asked
    assert nearest.vote[0].tolist() == pytest.approx([1 / (1 + of_b), of_b / (1 + of_b), 0], abs=1e-5)


def test_an_exact_title_pulls_towards_its_counts_by_the_formula() -> None:
    titles = (*TITLES, KnownTitle(title="LINE COOK", category=2, weight=4))
    tensors, asked = replace(all_tensors(), titles=titles), queries(["line cook", "Line Coook"])
    unknowing = mixture(MIX.model_copy(update={"known_prior": None}), tensors=tensors)
    found, before = blended(mixture(MIX, tensors=tensors), asked), blended(unknowing, asked)
    counts = torch.tensor([0.0, 1.0, 4.0])
    torch.testing.assert_close(found[0], (3.0 * before[0] + counts) / (3.0 + 5.0))
    torch.testing.assert_close(found[1], before[1])  # a title that is not known is left alone
    unswitched = blended(mixture(MIX, tensors=tensors, without=frozenset({"known"})), asked)
    torch.testing.assert_close(unswitched, before)


def test_a_title_of_onets_own_is_no_known_title() -> None:
    titles = (KnownTitle(title="Line Cook", category=1, weight=0.6),)
    mixed = mixture(tensors=replace(all_tensors(), titles=(*TITLES[:1], *titles, *TITLES[2:])))
    assert not mixed.is_known("line cook")
    assert parts(mixed, queries(["line cook"])).counts is None


def with_bodies(weight: float, bodies: Sequence[str]) -> tuple[Mixture, Queries]:
    """Every part, and bodies; "" is none."""
    tensors, titles = replace(all_tensors(), body=all_tensors().title), ["driver nurse"] * len(bodies)
    there = torch.tensor([[float(bool(body))] for body in bodies])
    asked = replace(queries(titles), body=LetterEncoder().encode(bodies) * there)
    return mixture(MIX.model_copy(update={"body_weight": weight, "body_scale": 11.0}), tensors=tensors), asked


def test_a_body_joins_in_by_what_the_title_leaves_open() -> None:
    mixed, asked = with_bodies(2.0, ["cooks cook", ""])
    said, alone = blended(mixed, asked), blended(mixed, replace(asked, body=None))
    torch.testing.assert_close(said[1], alone[1])  # no body, nothing to join in
    cosines = parts(mixed, asked).body
    assert cosines is not None
    doubt, body = 2.0 * (1 - alone[0].max()), torch.softmax(11.0 * cosines[0], dim=0)
    torch.testing.assert_close(said[0], (alone[0] + doubt * body) / (1 + doubt))
    assert int(said[0].argmax()) == 1
    torch.testing.assert_close(blended(with_bodies(0.0, ["cooks cook", ""])[0], asked), alone)


def test_postings_with_a_body_are_calibrated_and_decided_on_their_own() -> None:
    plain, body = Thresholds(accept_at=1.01, review_at=1.01), Thresholds(sharpness=3.0, accept_at=0, review_at=0)
    scorer = full_scorer(
        tensors=replace(all_tensors(), body=all_tensors().title),
        body_encoder=BodyEncoder.ref,
        calibration=Calibration(new=plain, known=plain, body=body),
    )
    scored = scorer.score(["Nurse of ours", "Nurse of ours", "Nurse of ours"], ["cook cook", None, ""])
    assert [s.decision for s in scored] == ["accept", "unclassified", "unclassified"]
    assert scored[1] == scored[2]


def test_a_body_that_the_model_does_not_look_at_changes_nothing() -> None:
    scorer = full_scorer()
    assert scorer.score(["Cook"], ["Drives trucks"]) == scorer.score(["Cook"])


def test_answers_are_kept_by_title_and_body() -> None:
    looking: dict[str, Any] = {"tensors": replace(all_tensors(), body=all_tensors().title), "body_encoder": BodyEncoder.ref}
    looking["mix"] = MIX.model_copy(update={"body_weight": 4.0})
    scorer = full_scorer(**looking, cache_size=9)
    bodies = ["cook the cook", "truck driver", "<p>cook &amp;nbsp; the   cook</p>"]
    first = scorer.score(["Nurse of ours"] * 3, bodies)
    assert first[0].occupations != first[1].occupations
    assert first == scorer.score(["Nurse of ours"] * 3, bodies)
    with pytest.raises(ValueError, match="zip"):
        scorer.score(["one", "two"], ["one body"])
    digest = hashlib.blake2b(b"truck driver", digest_size=16).hexdigest()
    scorer.score([f"Nurse of yours\0{digest}"])  # would pass for a title and a body
    assert scorer.score(["Nurse of yours"], ["truck driver"]) == full_scorer(**looking).score(
        ["Nurse of yours"], ["truck driver"]
    )


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
    mixed, asked = mixture(mix, prior_adjustment=adjustment), queries(titles)
    decide = Thresholds(sharpness=sharpness, accept_at=1, review_at=0)
    before = blended(mixed, asked)
    for found in (before, mixed.calibrate(before, parts(mixed, asked), Calibration(new=decide, known=decide))):
        assert bool((found >= 0).all())
        torch.testing.assert_close(found.sum(dim=1), torch.ones(len(titles)))


def test_known_and_new_titles_are_sharpened_and_decided_apart() -> None:
    known, new = Thresholds(sharpness=3.0, accept_at=0, review_at=0), Thresholds(sharpness=0.5, accept_at=1.01, review_at=1.01)
    scorer = full_scorer(calibration=Calibration(known=known, new=new))
    asked = queries(["line cook", "line coook"])
    mixed = blended(scorer.mixture, asked)
    found, decisions = scorer.judge(asked)
    for row, sharpness in enumerate((3.0, 0.5)):
        torch.testing.assert_close(found[row], mixed[row] ** sharpness / (mixed[row] ** sharpness).sum())
    assert [s.decision for s in scorer.score(["Line Cook", "Line Coook"])] == ["accept", "unclassified"]
    assert decisions == ["accept", "unclassified"]


@pytest.mark.parametrize(("margin", "decision"), [(0.0, "accept"), (0.99, "review")])
def test_what_leads_by_too_little_is_not_accepted(margin: float, decision: str) -> None:
    decide = Thresholds(accept_at=0.3, accept_margin=margin, review_at=0.1)
    scorer = tiny_scorer(calibration=Calibration(new=decide, known=decide), top_n=1, mix=Mix(scale=2.0))
    assert scorer.score(["Cook"])[0].decision == decision


def test_prior_adjustment_favours_what_was_rare_in_training_and_zero_changes_nothing() -> None:
    counted = tuple(c.model_copy(update={"postings": n}) for c, n in zip(CATEGORIES, (900, 99, 0), strict=True))
    tensors, asked = replace(all_tensors(), categories=counted), queries(ASKED)
    plain, none, rare, frequent = (
        (mixed := mixture(tensors=tensors, prior_adjustment=a)).calibrate(blended(mixed, asked), parts(mixed, asked), CALIBRATION)
        for a in (0.0, 0.0, 0.5, -0.5)
    )
    assert torch.equal(plain, none)
    assert torch.equal(plain, mixture(tensors=tensors).calibrate(blended(mixture(), asked), parts(mixture(), asked), CALIBRATION))
    shares = torch.tensor([901, 100, 1]) / 1_002  # each counts one posting more, so that none is 0
    expected = plain * shares**-0.5
    torch.testing.assert_close(rare, expected / expected.sum(dim=1, keepdim=True), atol=1e-5, rtol=1e-4)
    assert bool((rare[:, 2] > plain[:, 2]).all())
    assert bool((frequent[:, 0] > plain[:, 0]).all())


# ---- groups ------------------------------------------------------------------------------------------------------------

FAMILY = tuple(
    Category(onet_code=code, onet_title=code)
    for code in ("29-1141.00", "29-1141.01", "29-1142.00", "29-1171.00", "29-2011.00", "31-1131.00")
)


def family_scorer(
    probabilities: Sequence[float], *, precision: float = 0.9, accept_at: float = 1.01, review_at: float = 0
) -> Any:
    """A scorer that answers any title with `probabilities` over FAMILY: its one known title weighs far more than the rest."""
    titles = tuple(KnownTitle(title="any", category=i, weight=1_000_000 * p) for i, p in enumerate(probabilities))
    decide = Thresholds(accept_at=accept_at, review_at=review_at)
    return tiny_scorer(
        tensors=Tensors(FAMILY, torch.eye(6, 27) + 0.01, titles=titles),
        mix=Mix(known_prior=1e-9),
        calibration=Calibration(precision=precision, new=decide, known=decide),
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
    scored = family_scorer([0.3, 0.25, 0.2, 0.1, 0.1, 0.05], precision=precision).score(["any"])[0]
    assert (scored.backoff and scored.backoff.code) == code


def test_what_is_accepted_needs_no_coarser_answer() -> None:
    scored = family_scorer([0.6, 0.1, 0.1, 0.1, 0.05, 0.05], accept_at=0.5).score(["any"])[0]
    assert (scored.decision, scored.backoff) == ("accept", scored.groups[-1])


@pytest.mark.parametrize(("review_at", "decision"), [(0.0, "review"), (1.0, "unclassified")])
def test_what_is_not_accepted_never_backs_off_to_the_whole_code(review_at: float, decision: str) -> None:
    scored = family_scorer([0.95, 0.01, 0.01, 0.01, 0.01, 0.01], review_at=review_at).score(["any"])[0]
    assert scored.occupations[0].probability > 0.9
    assert scored.decision == decision
    assert scored.backoff == scored.groups[-2]


def test_a_group_may_win_that_the_first_occupation_is_not_in() -> None:
    groups = family_scorer([0.2, 0.2, 0.2, 0.0001, 0.0001, 0.3998]).score(["any"])[0].groups
    assert [group.code for group in groups] == ["29-0000", "29-1000", "29-1140", "29-1141", "31-1131.00"]


# ---- evidence ----------------------------------------------------------------------------------------------------------


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


# ---- neighbours in a batch, and the cache ------------------------------------------------------------------------------


@given(st.lists(st.lists(st.sampled_from(ASKED), max_size=5), max_size=5), st.integers(0, 4))
def test_an_answer_depends_neither_on_its_batch_nor_on_the_cache(batches: list[list[str]], cache_size: int) -> None:
    cached, plain = full_scorer(cache_size=cache_size), full_scorer()
    for titles in batches:
        for title, found in zip(titles, cached.score(titles), strict=True):
            (alone,) = plain.score([title])
            assert named(found) == named(alone)
            assert numbers(found) == pytest.approx(numbers(alone), abs=2e-5)


@pytest.mark.parametrize("serving_options", [AS_TRAINED, ServingOptions(frozenset({"line"}))])
def test_lines_of_one_cleaned_title_share_an_answer_only_without_a_line_part(serving_options: ServingOptions) -> None:
    encoder = LetterEncoder()
    scorer = full_scorer(encoder=encoder, serving_options=serving_options, cache_size=9)
    first, second = scorer.score(["Line Cook", "Line Cook - $20/hr"])
    assert encoder.seen == ["Line Cook"], "the encoder sees one cleaned title once"
    apart = serving_options == AS_TRAINED
    assert (first.occupations != second.occupations) == apart
    assert len(scorer._cache) == (2 if apart else 1)
    assert [m.score for m in scorer.score(["Line Cook - $20/hr"])[0].occupations] == [m.score for m in second.occupations]
