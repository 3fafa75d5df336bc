"""The gate: decides whether a candidate may replace the version in service. Pure functions of both trials' outcomes.

The version in service is not asked again, for it has since been fitted to the rows that its trial held out. The outcome of
its trial, which never saw them, is stored in its manifest (`TrialOutcome.to_manifest`) and compared with the candidate's.
"""

import base64
import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from consumer.model.scorer import Scorer
from schemas.artifact import GoldenTitle
from schemas.soc import MAJOR_GROUPS, soc_major
from trainer.measure.calibration_figures import draw_chance_errors
from trainer.measure.figures import summary
from trainer.measure.predictions import Predictions

CONFIDENCE = 0.95
"""Coverage of the intervals that tell a fall, or a calibration error, from chance."""
ROUNDS = 10_000
"""Resamples of the bootstrap."""
LEAST_COMMON_SHARE = 0.5
"""Two trials are compared row by row if they share at least this part of the smaller held-out set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateLimits:
    """How much worse a candidate may be. A SOC major group is judged only if it has at least `group_rows` held-out rows.

    A candidate is refused only if it exceeds a limit by more than chance explains. Otherwise a gate that is asked often would
    refuse good candidates for noise.
    """

    ece: float = 0.05
    group_fall: float = 0.02
    group_rows: int = 30
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the candidate passed, the reasons against it as sentences, and the figures it was judged by."""

    passed: bool
    reasons: tuple[str, ...]
    figures: dict[str, float]


@dataclass(frozen=True, slots=True)
class TrialOutcome:
    """The outcome of a trial: which held-out rows were right, and the calibration error.

    `rows` maps a row's hash to its SOC major group and whether rank 1 was right. `chance_ece` is the calibration error that a
    perfectly calibrated model stays below in 39 of 40 cases, on rows of the same confidence. On a few hundred rows it is
    larger than many a limit.
    """

    rows: Mapping[int, tuple[str, bool]]
    ece: float
    chance_ece: float = 0.0

    @property
    def top_1(self) -> float:
        """The share of rows that is right at rank 1; 0 without rows."""
        return sum(right for _group, right in self.rows.values()) / max(1, len(self.rows))

    def to_manifest(self) -> dict[str, Any]:
        """Return what a manifest keeps: for each row its hash (32 bits), right or not (1 bit) and group (1 byte), in base64."""
        names = sorted(self.rows)
        columns = {
            "names": np.array(names, dtype="<u4").tobytes(),
            "hits": np.packbits([self.rows[name][1] for name in names]).tobytes(),
            "of_group": bytes(int(self.rows[name][0]) for name in names),
        }
        coded = {name: base64.b64encode(data).decode() for name, data in columns.items()}
        return {"rows": len(names), "top_1": round(self.top_1, 4), "ece": round(self.ece, 4), "groups": self.groups(), **coded}

    def groups(self) -> dict[str, list[int]]:
        """Return for each SOC major group how many rows it has and how many of them are right."""
        found: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
        for group, right in self.rows.values():
            found[group][0] += 1
            found[group][1] += right
        return dict(sorted(found.items()))


def make_outcome(p: Predictions, keys: Sequence[str]) -> TrialOutcome:
    """Return the outcome of a trial on rows whose normalised titles are `keys`.

    A row is known by a 32-bit hash of its title, its code, and its number among rows that have the same two. Of 10,000 rows,
    one in some 400,000 has the hash of another; one of the two is then left out.
    """
    turns: Counter[tuple[str, str]] = Counter()
    rows: dict[int, tuple[str, bool]] = {}
    for key, label, rank in zip(keys, p.labels.tolist(), p.ranks.tolist(), strict=True):
        row = (key, p.codes[label])
        rows[_hash_row(*row, turns[row])] = (soc_major(row[1]), rank == 1)
        turns[row] += 1
    by_chance = np.quantile(draw_chance_errors(p.confidence.numpy()), (1 + CONFIDENCE) / 2)
    return TrialOutcome(rows, float(summary(p).get("ece", 0.0)), float(by_chance))


def read_outcome(training: Mapping[str, Any]) -> TrialOutcome | None:
    """Return what `TrialOutcome.to_manifest` stored under "gate"; None if it is missing or damaged."""
    try:
        stored = training["gate"]
        names, hits, groups = (base64.b64decode(stored[name]) for name in ("names", "hits", "of_group"))
        ids = np.frombuffer(names, dtype="<u4").tolist()
        right = np.unpackbits(np.frombuffer(hits, dtype=np.uint8), count=len(ids)).tolist()
        pairs = zip(ids, groups, right, strict=True)
        return TrialOutcome({name: (f"{group:02d}", bool(hit)) for name, group, hit in pairs}, float(stored["ece"]))
    except (KeyError, TypeError, ValueError):
        return None


def find_lost_golden_titles(candidate: Scorer, golden: Sequence[GoldenTitle]) -> list[str]:
    """Return a sentence for each golden title of the current version to which the candidate gives another code.

    Titles whose code has left the taxonomy are skipped. `candidate` is the serving scorer of the model to be published.
    """
    codes = {category.onet_code for category in candidate.categories}
    kept = [title for title in golden if title.onet_code in codes]
    answers = candidate.score([title.title for title in kept])
    return [
        f"golden title {title.title!r} is no longer {title.onet_code}, but {scored.occupations[0].onet_code}"
        for title, scored in zip(kept, answers, strict=True)
        if scored.occupations[0].onet_code != title.onet_code
    ]


def judge(
    candidate: TrialOutcome | None,
    current: TrialOutcome | None,
    *,
    limits: GateLimits,
    in_service: bool = True,
    lost: Sequence[str] = (),
) -> Verdict:
    """Judge a candidate against the version in service. If none is in service the candidate passes: nothing is to be protected.

    `current` is None if the version in service was published without a trial of this kind. Then only the calibration and the
    golden titles count (`lost`, see `find_lost_golden_titles`).
    """
    figures = {"top_1": candidate.top_1, "ece": candidate.ece, "rows": float(len(candidate.rows))} if candidate else {}
    if not in_service:
        return Verdict(passed=True, reasons=(), figures=figures)
    if candidate is None or not candidate.rows:
        return Verdict(passed=False, reasons=("no labelled row is held out to judge by; more are needed",), figures=figures)
    reasons = list(lost)
    if candidate.ece > max(limits.ece, candidate.chance_ece):
        reasons.append(
            f"the calibration error is {candidate.ece:.3f}, above the budget of {limits.ece:.3f} and above the "
            f"{candidate.chance_ece:.3f} that chance explains on {len(candidate.rows)} rows"
        )
    if current is not None and current.rows:
        reasons += _explain_falls(candidate, current, limits)
        figures["current_top_1"] = current.top_1
    return Verdict(passed=not reasons, reasons=tuple(reasons), figures=figures)


def _explain_falls(candidate: TrialOutcome, current: TrialOutcome, limits: GateLimits) -> list[str]:
    """Return a sentence if top-1 fell further than its limit, and one for each group that did."""
    common = candidate.rows.keys() & current.rows.keys()
    paired = len(common) >= LEAST_COMMON_SHARE * min(len(candidate.rows), len(current.rows))
    reasons = []
    groups = sorted({group for group, _right in candidate.rows.values()})
    for group in ("", *groups):
        before, now = (_select_hits(m, group, common if paired else None) for m in (current, candidate))
        if not before or not now or (group and min(len(before), len(now)) < limits.group_rows):
            continue
        fall = sum(before) / len(before) - sum(now) / len(now)
        # The groups share the chance of error that the whole has alone (Bonferroni): else one of twenty would fall by chance.
        tail = (1 - CONFIDENCE) / 2 / (len(groups) if group else 1)
        interval = _bootstrap_fall(before, now, tail, paired=paired, seed=limits.seed)
        if interval[0] > 0 and fall > (limits.group_fall if group else 0.0):
            reasons.append(_explain_fall(group, before, now, interval, paired=paired))
    return reasons


def _explain_fall(group: str, before: Sequence[bool], now: Sequence[bool], interval: tuple[float, float], *, paired: bool) -> str:
    what = f"SOC major group {group} ({MAJOR_GROUPS.get(group, 'unnamed')})" if group else "top-1"
    how = f"on {len(now)} rows that both held out" if paired else f"on {len(now)} rows, before on {len(before)} others"
    return (
        f"{what} fell from {sum(before) / len(before):.3f} to {sum(now) / len(now):.3f} {how} "
        f"(interval of the fall {interval[0]:.3f} to {interval[1]:.3f})"
    )


def _select_hits(m: TrialOutcome, group: str, common: set[int] | None) -> list[bool]:
    """Return whether each row of a group ("": of all) is right, in the order of the common rows if these are given."""
    names = sorted(common) if common is not None else m.rows
    return [m.rows[name][1] for name in names if not group or m.rows[name][0] == group]


def _bootstrap_fall(before: Sequence[bool], now: Sequence[bool], tail: float, *, paired: bool, seed: int) -> tuple[float, float]:
    """Return the bootstrap percentile interval of the fall in the share right (Efron 1979).

    `tail` of the draws lies on each side of it. Paired rows that are drawn with replacement give numbers of losses, gains and
    ties: one multinomial draw. For unpaired rows the two shares are drawn independently.
    """
    rng = np.random.default_rng(seed)
    if paired:
        rows = len(now)
        losses = sum(b and not n for b, n in zip(before, now, strict=True))
        gains = sum(n and not b for b, n in zip(before, now, strict=True))
        drawn = rng.multinomial(rows, [losses / rows, gains / rows, (rows - losses - gains) / rows], size=ROUNDS)  # (rounds, 3)
        falls = (drawn[:, 0] - drawn[:, 1]) / rows
    else:
        falls = _draw_shares(before, rng) - _draw_shares(now, rng)
    low, high = np.quantile(falls, [tail, 1 - tail])
    return float(low), float(high)


def _draw_shares(hits: Sequence[bool], rng: np.random.Generator) -> "np.ndarray[Any, Any]":
    """Return `(ROUNDS,)` shares right of resampled rows."""
    return rng.binomial(len(hits), math.fsum(hits) / len(hits), size=ROUNDS) / len(hits)


def _hash_row(key: str, code: str, turn: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{key}\t{code}\t{turn}".encode("utf-8", "surrogatepass")).digest()[:4], "little")
