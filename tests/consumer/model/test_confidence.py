"""Rank 1 gets the probability that its evidence speaks for, and every other category its part of what is left."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from consumer.model.blending import Parts
from consumer.model.confidence import EVIDENCE, apply_confidence, gather_evidence
from schemas.artifact import Confidence, Mix

MIX = Mix(title_weight=0.5, exemplar_weight=0.5)
WEIGHTS = Confidence(bias=-1.0, log_odds=0.5, share=1.0, agreement=1.0, similarity=1.0, specificity=1.0)


def make_parts(vote: list[list[float]], *, cosines: list[list[float]] | None = None) -> Parts:
    """Return parts of which the title part is indifferent unless it has `cosines`."""
    rows = torch.tensor(vote)
    nothing = torch.zeros(len(rows), dtype=torch.bool)
    title = torch.zeros_like(rows) if cosines is None else torch.tensor(cosines)
    return Parts(title, rows, None, None, None, nothing, None, nothing)


def apply(probabilities: torch.Tensor, parts: Parts, weights: Confidence | None = WEIGHTS) -> torch.Tensor:
    return apply_confidence(probabilities, [weights], torch.zeros(len(probabilities), dtype=torch.long), MIX, parts)


@given(
    rows=st.lists(st.lists(st.floats(1e-6, 1), min_size=4, max_size=4), min_size=1, max_size=5),
    bias=st.floats(-20, 20),
    log_odds=st.floats(0, 5),
)
def test_the_order_stays_and_probabilities_add_up_to_one(rows: list[list[float]], bias: float, log_odds: float) -> None:
    before = torch.tensor(rows)
    before = before / before.sum(dim=1, keepdim=True)
    weights = WEIGHTS.model_copy(update={"bias": bias, "log_odds": log_odds})
    after = apply(before, make_parts([[0.25] * 4] * len(rows)), weights)
    torch.testing.assert_close(after.sum(dim=1), torch.ones(len(rows)))
    ranked = after.gather(1, before.argsort(dim=1, descending=True, stable=True))
    assert bool((ranked[:, :-1] >= ranked[:, 1:] - 1e-6).all())
    assert bool((ranked[:, 0] > ranked[:, 1]).all()), "a tie would be broken by chance"


def test_parts_that_agree_make_an_answer_surer() -> None:
    before = torch.tensor([[0.6, 0.3, 0.1]] * 2)
    parts = make_parts([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]])
    after = apply(before, parts)
    assert after[0, 0] > after[1, 0]
    assert after[0].argmax() == after[1].argmax() == 0


def test_rank_1_gets_exactly_the_confidence_of_its_evidence() -> None:
    before = torch.tensor([[0.6, 0.3, 0.1]])
    parts = make_parts([[0.8, 0.1, 0.1]])
    evidence = gather_evidence(before, MIX, parts)[0]
    expected = torch.sigmoid(WEIGHTS.bias + sum(getattr(WEIGHTS, kind) * evidence[at] for at, kind in enumerate(EVIDENCE)))
    after = apply(before, parts)
    assert float(after[0, 0]) == pytest.approx(float(expected), abs=1e-6)
    assert float(after[0, 1] / after[0, 2]) == pytest.approx(3.0, abs=1e-4)


def test_evidence_is_what_its_names_say() -> None:
    near = torch.tensor([[0.9, 0.8, 0.7]]), torch.tensor([[1, 0, 0]])
    parts = replace(
        make_parts([[0.7, 0.2, 0.1]], cosines=[[0.0, 1.0, 0.0]]),
        specificity=torch.tensor([-1.5]),
        neighbours=near[0],
        neighbour_categories=near[1],
    )
    found = dict(zip(EVIDENCE, gather_evidence(torch.tensor([[0.75, 0.2, 0.05]]), MIX, parts)[0].tolist(), strict=True))
    assert found["log_odds"] == pytest.approx(1.0986, abs=1e-3)
    assert found["share"] == pytest.approx(0.35, abs=1e-3)
    assert found["agreement"] == 0.5
    assert found["similarity"] == pytest.approx(0.8**4)
    assert found["specificity"] == -1.5


def test_a_body_is_asked_only_where_there_is_one() -> None:
    parts = replace(
        make_parts([[0.7, 0.2, 0.1]] * 2),
        body=torch.tensor([[1.0, 0.0, 0.0]] * 2),
        with_body=torch.tensor([True, False]),
    )
    mix = MIX.model_copy(update={"body_weight": 1.0})
    share = EVIDENCE.index("share")
    found = gather_evidence(torch.tensor([[0.7, 0.2, 0.1]] * 2), mix, parts)
    assert found[0, share] > found[1, share]


def test_without_weights_nothing_changes() -> None:
    before = torch.tensor([[0.6, 0.3, 0.1]])
    assert apply(before, make_parts([[0.8, 0.1, 0.1]]), None) is before


def test_each_stratum_has_its_own_weights() -> None:
    before = torch.tensor([[0.6, 0.3, 0.1]] * 2)
    parts = make_parts([[0.8, 0.1, 0.1]] * 2)
    after = apply_confidence(before, [None, WEIGHTS], torch.tensor([0, 1]), MIX, parts)
    torch.testing.assert_close(after[0], before[0])
    assert after[1, 0] != before[1, 0]
