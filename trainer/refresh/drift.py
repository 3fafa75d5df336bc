"""Whether the market has moved away from the model: enriched events summed up by the window, windows compared. Pure."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from schemas.events import EnrichedPosting
from schemas.soc import soc_major

LEAST_SHARE = 1e-4
"""What an empty bin counts as."""
RARE_SHARE = 0.01
OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftLimits:
    """What a window may differ from the reference by. An index below 0.1 is usually called stable, above 0.25 a shift."""

    psi: float = 0.25
    unsure_rise: float = 0.1
    similarity_fall: float = 0.05


@dataclass(frozen=True, slots=True)
class WindowFigures:
    """A window of events: how many, the share not accepted, the mean cosine of rank 1, and shares by group and by code."""

    events: int
    unsure_share: float
    similarity: float
    groups: Mapping[str, float]
    codes: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Reference:
    """What the windows of a version are compared with: the figures of its first full one."""

    version: str
    figures: WindowFigures


class Window:
    """Collects the events of one model version until it is full."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._codes: Counter[str] = Counter()
        self._unsure = 0
        self._similarity = 0.0

    def add(self, event: EnrichedPosting) -> None:
        """Count an event; one without occupations is passed over."""
        if event.occupations:
            best = event.occupations[0]
            self._codes[best.onet_code] += 1
            self._unsure += event.decision != "accept"
            self._similarity += best.score

    @property
    def full(self) -> bool:
        """Whether it holds as many events as it may."""
        return self._codes.total() >= self._size

    def figures(self) -> WindowFigures:
        """Return what was collected. Raises ValueError when that is nothing."""
        events = self._codes.total()
        if not events:
            raise ValueError("an empty window has no figures")
        groups: Counter[str] = Counter()
        for code, count in self._codes.items():
            groups[soc_major(code)] += count
        return WindowFigures(
            events,
            self._unsure / events,
            self._similarity / events,
            {group: count / events for group, count in groups.items()},
            {code: count / events for code, count in self._codes.items()},
        )


def psi(expected: Mapping[str, float], actual: Mapping[str, float]) -> float:
    """Return the population stability index of two distributions, counts or shares, over the bins of both.

    sum over bins of (a - e) * ln(a / e), a and e being shares (Siddiqi, Credit Risk Scorecards, 2006; it is the symmetric
    divergence of Jeffreys 1946). An empty bin counts as LEAST_SHARE. 0 for equal ones, never negative. Raises ValueError for
    a distribution without anything in it.
    """
    totals = sum(expected.values()), sum(actual.values())
    if min(totals) <= 0:
        raise ValueError("a distribution needs something in it")
    index = 0.0
    for name in expected.keys() | actual.keys():
        e, a = (max(d.get(name, 0.0) / total, LEAST_SHARE) for d, total in zip((expected, actual), totals, strict=True))
        index += (a - e) * math.log(a / e)
    return index


def shifts(window: WindowFigures, reference: WindowFigures) -> dict[str, float]:
    """Return the stability index by SOC major group and by code.

    Codes below RARE_SHARE of the reference are one bin together: a thousand nearly empty ones would differ by chance alone.
    """
    common = {code for code, share in reference.codes.items() if share >= RARE_SHARE}
    return {
        "group": psi(reference.groups, window.groups),
        "code": psi(_binned(reference.codes, common), _binned(window.codes, common)),
    }


def drifted(window: WindowFigures, reference: WindowFigures, limits: DriftLimits) -> list[str]:
    """Return a sentence for each way in which the window differs from the reference by more than a limit."""
    reasons = [
        f"the mix by {name} moved: stability index {index:.3f}, limit {limits.psi:.3f}"
        for name, index in shifts(window, reference).items()
        if index > limits.psi
    ]
    if window.unsure_share - reference.unsure_share > limits.unsure_rise:
        reasons.append(f"postings not accepted rose from {reference.unsure_share:.3f} to {window.unsure_share:.3f}")
    if reference.similarity - window.similarity > limits.similarity_fall:
        reasons.append(f"the mean similarity of rank 1 fell from {reference.similarity:.3f} to {window.similarity:.3f}")
    return reasons


class DriftMonitor:
    """Windows of one model version, one after another; its first full one is the reference for those after it."""

    def __init__(self, size: int, limits: DriftLimits, reference: Reference | None = None) -> None:
        """Take the `reference` that an earlier monitor had, if there was one; it counts while its version is in service."""
        self._size = size
        self._limits = limits
        self.reference = reference
        self._version = reference.version if reference else None
        self._window = Window(size)
        self.latest: WindowFigures | None = None
        self.shifts: dict[str, float] = {}
        self.reasons: list[str] = []

    def add(self, event: EnrichedPosting, *, in_service: str | None) -> bool:
        """Count an event that the version in service made; returns whether that filled a window.

        `in_service` None is "not known yet", as after a start: what is known of the last version stays.
        """
        if in_service is None:
            return False
        if in_service != self._version:
            self._version, self.reference, self._window, self.reasons = in_service, None, Window(self._size), []
        if event.model.version != in_service:
            return False
        self._window.add(event)
        if not self._window.full:
            return False
        self.latest, self._window = self._window.figures(), Window(self._size)
        self.reference = self.reference or Reference(in_service, self.latest)
        self.shifts = shifts(self.latest, self.reference.figures)
        self.reasons = drifted(self.latest, self.reference.figures, self._limits)
        return True


def _binned(shares: Mapping[str, float], names: set[str]) -> dict[str, float]:
    named = {name: shares.get(name, 0.0) for name in names}
    return named | {OTHER: max(0.0, sum(shares.values()) - sum(named.values()))}
