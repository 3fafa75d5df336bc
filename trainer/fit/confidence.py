"""How much each kind of evidence counts for the confidence in rank 1: logistic regression on held-out postings."""

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from consumer.model.blending import Parts
from consumer.model.confidence import EVIDENCE, gather_evidence
from schemas.artifact import Confidence, Mix

DEFAULT = Confidence(bias=-1.2, log_odds=0.45, share=1.5, agreement=0.8, similarity=0.4, specificity=0.5)
"""What a fit is drawn to: the weights found on left-out postings of docs/accuracy.md."""
PRIOR_ROWS = 1.0
"""How many nats of likelihood a weight costs that is 1 away from its default."""


def fit_confidence(probabilities: torch.Tensor, right: torch.Tensor, mix: Mix, parts: Parts) -> Confidence:
    """Return the weights under which it is likeliest which answers are `right` `(n,)`.

    Rank 1 of `probabilities` `(n, categories)` is the answer. No weight falls below 0.
    """
    evidence = gather_evidence(probabilities, mix, parts)
    start = torch.tensor([DEFAULT.bias, *(getattr(DEFAULT, kind) for kind in EVIDENCE)])
    fitted = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([fitted], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        logits = fitted[0] + evidence @ fitted[1:].clamp_min(0)
        loss = binary_cross_entropy_with_logits(logits, right.float())
        loss = loss + PRIOR_ROWS / len(right) * ((fitted - start) ** 2).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    bias, *weights = (round(float(value), 4) for value in fitted.detach())
    return Confidence(bias=bias, **{kind: max(0.0, weight) for kind, weight in zip(EVIDENCE, weights, strict=True)})
