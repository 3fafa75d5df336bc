"""What a consumer may choose about a model that it serves."""

from dataclasses import dataclass
from typing import Literal

Part = Literal["exemplars", "line", "known", "body"]
"""What can be switched off; the category embeddings of the cleaned title cannot."""
Precision = Literal["auto", "fp32", "bf16", "fp16"]
"""The arithmetic of an encoder; auto: half where the hardware computes in it."""


@dataclass(frozen=True, slots=True)
class ServingOptions:
    """What a consumer changes in a model: parts to leave out (the others share their weight), and the class prior.

    `prior_adjustment` a multiplies every probability by share ** -a, share being the category's of the training postings:
    above 0 it favours rare categories (logit adjustment, Menon et al. 2021).
    """

    without: frozenset[Part] = frozenset()
    prior_adjustment: float = 0.0


AS_TRAINED = ServingOptions()
