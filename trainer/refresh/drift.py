"""Drift: has the market moved away from the model? Windows of enriched events are summed up and compared."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from schemas.events import EnrichedPosting
from schemas.soc import soc_major

LEAST_SHARE = 1e-4
"""The share that an empty bin counts as."""
RARE_SHARE = 0.01
"""Codes with a smaller share of the reference are merged into one bin."""
OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftLimits:
    """How far a window may differ from the reference.

    A stability index below 0.1 is usually called stable, one above 0.25 a shift.
    """

    psi: float = 0.25
    unsure_rise: float = 0.1
    similarity_fall: float = 0.05


@dataclass(frozen=True, slots=True)
class WindowFigures:
    """A window summed up: how many events, the share not accepted, the mean cosine of rank 1, and shares by group and code."""

    events: int
    unsure_share: float
    similarity: float
    groups: Mapping[str, float]
    codes: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Reference:
    """The first full window of a version, with which its later windows are compared."""

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
        """Count an event; an event without occupations is skipped."""
        if event.occupations:
            best = event.occupations[0]
            self._codes[best.onet_code] += 1
            self._unsure += event.decision != "accept"
            self._similarity += best.score

    @property
    def full(self) -> bool:
        """Whether the window holds all its events."""
        return self._codes.total() >= self._size

    def figures(self) -> WindowFigures:
        """Return the figures of the events so far. Raises ValueError if there are none."""
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

    It is the sum over bins of (a - e) * ln(a / e), where a and e are shares (Siddiqi, Credit Risk Scorecards, 2006; the
    symmetric divergence of Jeffreys 1946). An empty bin counts as LEAST_SHARE. The index is 0 for equal distributions and
    never negative. Raises ValueError for a distribution without anything in it.
    """
    totals = sum(expected.values()), sum(actual.values())
    if min(totals) <= 0:
        raise ValueError("a distribution needs something in it")
    index = 0.0
    for name in expected.keys() | actual.keys():
        e, a = (max(d.get(name, 0.0) / total, LEAST_SHARE) for d, total in zip((expected, actual), totals, strict=True))
        index += (a - e) * math.log(a / e)
    return index


def measure_shifts(window: WindowFigures, reference: WindowFigures) -> dict[str, float]:
    """Return the stability index by SOC major group ("group") and by code ("code").

    Codes with less than RARE_SHARE of the reference share one bin: a thousand nearly empty bins would differ by chance alone.
    """
    common = {code for code, share in reference.codes.items() if share >= RARE_SHARE}
    return {
        "group": psi(reference.groups, window.groups),
        "code": psi(_merge_rare(reference.codes, common), _merge_rare(window.codes, common)),
    }


def explain_drift(window: WindowFigures, reference: WindowFigures, limits: DriftLimits) -> list[str]:
    """Return a sentence for each way in which the window differs from the reference by more than a limit."""
    reasons = [
        f"the mix by {name} moved: stability index {index:.3f}, limit {limits.psi:.3f}"
        for name, index in measure_shifts(window, reference).items()
        if index > limits.psi
    ]
    if window.unsure_share - reference.unsure_share > limits.unsure_rise:
        reasons.append(f"postings not accepted rose from {reference.unsure_share:.3f} to {window.unsure_share:.3f}")
    if reference.similarity - window.similarity > limits.similarity_fall:
        reasons.append(f"the mean similarity of rank 1 fell from {reference.similarity:.3f} to {window.similarity:.3f}")
    return reasons


class DriftMonitor:
    """Compares the windows of the version in service, one after another, with the first full one."""

    def __init__(self, size: int, limits: DriftLimits, reference: Reference | None = None) -> None:
        """Take the `reference` of an earlier monitor, if there was one. It is used while its version is in service."""
        self._size = size
        self._limits = limits
        self.reference = reference
        self._version = reference.version if reference else None
        self._window = Window(size)
        self.latest: WindowFigures | None = None
        self.shifts: dict[str, float] = {}
        self.reasons: list[str] = []

    def add(self, event: EnrichedPosting, *, in_service: str | None) -> bool:
        """Count an event that the version in service made; return whether that filled a window.

        `in_service` is None while it is not known, as after a start. Then nothing is counted, and nothing is forgotten.
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
        self.shifts = measure_shifts(self.latest, self.reference.figures)
        self.reasons = explain_drift(self.latest, self.reference.figures, self._limits)
        return True


def _merge_rare(shares: Mapping[str, float], names: set[str]) -> dict[str, float]:
    """Return the shares of these names, and the sum of all others as OTHER."""
    named = {name: shares.get(name, 0.0) for name in names}
    return named | {OTHER: max(0.0, sum(shares.values()) - sum(named.values()))}
