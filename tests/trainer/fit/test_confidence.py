"""The weights of evidence are fitted to held-out answers: what tells right from wrong counts, what misleads does not."""

import torch

from consumer.model.blending import Parts
from consumer.model.confidence import apply_confidence
from schemas.artifact import Mix
from trainer.fit.confidence import DEFAULT, fit_confidence

MIX = Mix(title_weight=0.5, exemplar_weight=0.5)


def make_answers(rows: int, *, seed: int = 0) -> tuple[torch.Tensor, Parts, torch.Tensor]:
    """Return answers that are all as probable, of which half agree with the vote: probabilities, parts, and which agree."""
    agree = torch.rand(rows, generator=torch.Generator().manual_seed(seed)) < 0.5
    vote = torch.where(agree[:, None], torch.tensor([[0.9, 0.1]]), torch.tensor([[0.1, 0.9]]))
    nothing = torch.zeros(rows, dtype=torch.bool)
    parts = Parts(torch.zeros(rows, 2), vote, None, None, None, nothing, None, nothing)
    return torch.tensor([[0.7, 0.3]]).repeat(rows, 1), parts, agree


def test_confidence_is_the_share_of_right_answers_with_such_evidence() -> None:
    probabilities, parts, agree = make_answers(4_000)
    right = torch.rand(4_000, generator=torch.Generator().manual_seed(1)) < torch.where(agree, 0.95, 0.6)
    fitted = fit_confidence(probabilities, right, MIX, parts)
    after = apply_confidence(probabilities, [fitted], torch.zeros(4_000, dtype=torch.long), MIX, parts)[:, 0]
    assert abs(float(after[agree].mean()) - 0.95) < 0.02
    assert abs(float(after[~agree].mean()) - 0.6) < 0.04


def test_no_evidence_for_an_answer_ever_counts_against_it() -> None:
    probabilities, parts, agree = make_answers(4_000)
    fitted = fit_confidence(probabilities, ~agree, MIX, parts)
    assert min(fitted.log_odds, fitted.share, fitted.agreement, fitted.similarity, fitted.specificity) == 0


def test_few_answers_change_the_default_little() -> None:
    probabilities, parts, agree = make_answers(3)
    fitted = fit_confidence(probabilities, torch.ones_like(agree), MIX, parts)
    assert all(abs(getattr(fitted, name) - value) < 1 for name, value in DEFAULT.model_dump().items())
