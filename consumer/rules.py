"""What is said of a posting beside the model: which codes it may get, and whether the answer counts at all."""

from dataclasses import dataclass, field

from consumer.abstention import Abstainer
from consumer.limits import Limits


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of a run. Without settings, a posting is limited by its message alone, and languages are what models say."""

    limits: Limits = field(default_factory=Limits)
    abstainer: Abstainer = field(default_factory=Abstainer)
