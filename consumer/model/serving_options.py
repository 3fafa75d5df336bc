"""What the operator of a consumer may change about a model that it serves."""

from dataclasses import dataclass
from typing import Literal

Part = Literal["exemplars", "line", "known", "head", "body"]
"""A part of a model that can be switched off. The category embeddings of the cleaned title always stay on."""
Precision = Literal["auto", "fp32", "bf16", "fp16"]
"""The arithmetic of an encoder. `auto` means half precision where the hardware computes in it, else fp32."""


@dataclass(frozen=True, slots=True)
class ServingOptions:
    """Changes that a consumer makes to a model: the parts in `without` are left out, and the class prior is adjusted.

    The other parts share the weight of those that are left out. With a `prior_adjustment` of a, every probability is multiplied
    by share ** -a, where share is the category's share of the training postings: a value above 0 favours rare categories (logit
    adjustment, Menon et al. 2021).
    """

    without: frozenset[Part] = frozenset()
    prior_adjustment: float = 0.0


AS_TRAINED = ServingOptions()
"""No changes: the model serves as it was trained."""
