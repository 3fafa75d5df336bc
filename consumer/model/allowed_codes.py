"""Restricts probabilities to the codes that a posting may get. Where limits come from is in `consumer/limits.py`."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from consumer.limits import Limit

MIN_ALLOWED_SHARE = 0.05
"""Where the allowed codes hold less of the probability, the model contradicts the limit, and nothing is accepted."""
FORBIDDEN = -1.0
"""Stands for the probability of a code that is not allowed, where codes are ranked."""
MAX_KEPT = 256
"""How many limits are kept with their masks."""


class Restricted(NamedTuple):
    """Probabilities `(n, categories)` of the allowed codes, scaled to a sum of 1, and their `share` `(n, 1)` before that.

    `ranked` is the same, with FORBIDDEN for all other codes.
    """

    probabilities: torch.Tensor
    ranked: torch.Tensor
    share: torch.Tensor


class AllowedCodes:
    """Restricts the probabilities of one model version."""

    def __init__(self, codes: Sequence[str], device: torch.device) -> None:
        self._codes, self._device = codes, device
        self._masks: dict[Limit, torch.Tensor] = {}

    def restrict(self, probabilities: torch.Tensor, limits: Sequence[Limit | None]) -> Restricted:
        """Return probabilities `(n, categories)` under the n limits; None is no limit.

        A limit that allows none of the categories leaves them as they are, with a share of 0.
        """
        if not any(limit is not None for limit in limits):
            return Restricted(probabilities, probabilities, probabilities.new_ones(len(probabilities), 1))
        allowed = torch.stack([self._find_mask(limit) for limit in limits])
        share = (probabilities * allowed).sum(dim=1, keepdim=True)
        none = ~allowed.any(dim=1, keepdim=True)
        allowed = allowed | none
        scaled = torch.where(none, probabilities, probabilities * allowed / share.clamp_min(torch.finfo(share.dtype).tiny))
        return Restricted(scaled, scaled.masked_fill(~allowed, FORBIDDEN), share)

    def _find_mask(self, limit: Limit | None) -> torch.Tensor:
        """Return which categories `(categories,)` a limit allows."""
        key = ("",) if limit is None else limit
        if (mask := self._masks.get(key)) is None:
            if len(self._masks) >= MAX_KEPT:
                self._masks.clear()
            mask = self._masks[key] = torch.tensor([code.startswith(key) for code in self._codes], device=self._device)
        return mask
