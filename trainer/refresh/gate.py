"""Whether a candidate may replace the version in service: pure judgement of what both said of held-out postings.

The version in service has meanwhile been fitted to its held-out rows, so it is not asked again: what its own trial, which
never saw them, got right is stored in its manifest (`Measured.stored`) and compared with the candidate's trial.
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
from trainer.measure.figures import BINS, summary
from trainer.measure.predictions import Predictions

CONFIDENCE = 0.95
ROUNDS = 10_000
LEAST_COMMON_SHARE = 0.5
"""Of the smaller held-out set, which both must have in common to be compared row by row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateLimits:
    """What a candidate may cost. `group_rows`: a SOC major group is judged from so many held-out rows on.

    Every limit must be passed by more than chance explains: else a gate that is asked often refuses good candidates for noise.
    """

    ece: float = 0.05
    group_fall: float = 0.02
    group_rows: int = 30
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the candidate passed, each reason against it as a sentence, and the figures it was judged by."""

    passed: bool
    reasons: tuple[str, ...]
    figures: dict[str, float]


@dataclass(frozen=True, slots=True)
class Measured:
    """Which held-out rows a trial got right: row name to (SOC major group, right at rank 1); and its calibration error.

    `chance_ece`: what a model that is calibrated perfectly would stay below, on rows of these probabilities, 39 times of 40.
    On a few hundred rows that is more than many a budget.
    """

    rows: Mapping[int, tuple[str, bool]]
    ece: float
    chance_ece: float = 0.0

    @property
    def top_1(self) -> float:
        """The share right at rank 1; 0 without rows."""
        return sum(right for _group, right in self.rows.values()) / max(1, len(self.rows))

    def stored(self) -> dict[str, Any]:
        """Return what a manifest keeps: 32 bits a row for its name, one for the hit, a byte for the group, in base64."""
        names = sorted(self.rows)
        columns = {
            "names": np.array(names, dtype="<u4").tobytes(),
            "hits": np.packbits([self.rows[name][1] for name in names]).tobytes(),
            "of_group": bytes(int(self.rows[name][0]) for name in names),
        }
        coded = {name: base64.b64encode(data).decode() for name, data in columns.items()}
        return {"rows": len(names), "top_1": round(self.top_1, 4), "ece": round(self.ece, 4), "groups": self.groups(), **coded}

    def groups(self) -> dict[str, list[int]]:
        """Return rows and hits of each SOC major group."""
        found: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
        for group, right in self.rows.values():
            found[group][0] += 1
            found[group][1] += right
        return dict(sorted(found.items()))


def measured(p: Predictions, keys: Sequence[str]) -> Measured:
    """Return the outcome of a trial on rows whose normalised titles are `keys`. A row is named by title, code and turn.

    Names are 32 bits of a hash: of 10,000 rows one in some 400,000 meets another's, and one of the two is then left out.
    """
    turns: Counter[tuple[str, str]] = Counter()
    rows: dict[int, tuple[str, bool]] = {}
    for key, label, rank in zip(keys, p.labels.tolist(), p.ranks.tolist(), strict=True):
        row = (key, p.codes[label])
        rows[_name(*row, turns[row])] = (soc_major(row[1]), rank == 1)
        turns[row] += 1
    by_chance = np.quantile(chance_eces(p.confidence.numpy()), (1 + CONFIDENCE) / 2)
    return Measured(rows, float(summary(p).get("ece", 0.0)), float(by_chance))


def from_manifest(training: Mapping[str, Any]) -> Measured | None:
    """Return what `Measured.stored` put under "gate"; None where it is not there or not whole."""
    try:
        stored = training["gate"]
        names, hits, groups = (base64.b64decode(stored[name]) for name in ("names", "hits", "of_group"))
        ids = np.frombuffer(names, dtype="<u4").tolist()
        right = np.unpackbits(np.frombuffer(hits, dtype=np.uint8), count=len(ids)).tolist()
        pairs = zip(ids, groups, right, strict=True)
        return Measured({name: (f"{group:02d}", bool(hit)) for name, group, hit in pairs}, float(stored["ece"]))
    except (KeyError, TypeError, ValueError):
        return None


def lost_golden_titles(candidate: Scorer, golden: Sequence[GoldenTitle]) -> list[str]:
    """Return a sentence for each of the current version's golden titles that the candidate codes otherwise.

    Titles whose code has left the taxonomy are passed over. `candidate` is the serving scorer of what would be published.
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
    candidate: Measured | None, current: Measured | None, *, limits: GateLimits, in_service: bool = True, lost: Sequence[str] = ()
) -> Verdict:
    """Judge a candidate against the version in service; with none in service it passes, there is nothing to protect.

    `current` is None where the version in service was published without a trial of this kind: then only calibration and
    golden titles (`lost`, see `lost_golden_titles`) count.
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
        reasons += _falls(candidate, current, limits)
        figures["current_top_1"] = current.top_1
    return Verdict(passed=not reasons, reasons=tuple(reasons), figures=figures)


def _falls(candidate: Measured, current: Measured, limits: GateLimits) -> list[str]:
    """Return a sentence for the whole and for each group that fell further than its limit."""
    common = candidate.rows.keys() & current.rows.keys()
    paired = len(common) >= LEAST_COMMON_SHARE * min(len(candidate.rows), len(current.rows))
    reasons = []
    groups = sorted({group for group, _right in candidate.rows.values()})
    for group in ("", *groups):
        before, now = (_hits(m, group, common if paired else None) for m in (current, candidate))
        if not before or not now or (group and min(len(before), len(now)) < limits.group_rows):
            continue
        fall = sum(before) / len(before) - sum(now) / len(now)
        # The groups share the error that the whole has for itself (Bonferroni): else one of twenty would fall by chance.
        tail = (1 - CONFIDENCE) / 2 / (len(groups) if group else 1)
        noise = _interval(before, now, tail, paired=paired, seed=limits.seed)
        if noise[0] > 0 and fall > (limits.group_fall if group else 0.0):
            what = f"SOC major group {group} ({MAJOR_GROUPS.get(group, 'unnamed')})" if group else "top-1"
            how = f"on {len(now)} rows that both held out" if paired else f"on {len(now)} rows, before on {len(before)} others"
            reasons.append(
                f"{what} fell from {sum(before) / len(before):.3f} to {sum(now) / len(now):.3f} {how} "
                f"(interval of the fall {noise[0]:.3f} to {noise[1]:.3f})"
            )
    return reasons


def _hits(m: Measured, group: str, common: set[int] | None) -> list[bool]:
    """Return the hits of a group ("": of all), in the order of the common rows if there are such."""
    names = sorted(common) if common is not None else m.rows
    return [m.rows[name][1] for name in names if not group or m.rows[name][0] == group]


def _interval(before: Sequence[bool], now: Sequence[bool], tail: float, *, paired: bool, seed: int) -> tuple[float, float]:
    """Return the bootstrap percentile interval of the fall in share right, `tail` of the draws on either side of it.

    Rows drawn with replacement come to so many losses, gains and ties: a multinomial, drawn at once (Efron 1979). Unpaired,
    both shares are drawn apart.
    """
    rng = np.random.default_rng(seed)
    if paired:
        rows = len(now)
        losses = sum(b and not n for b, n in zip(before, now, strict=True))
        gains = sum(n and not b for b, n in zip(before, now, strict=True))
        drawn = rng.multinomial(rows, [losses / rows, gains / rows, (rows - losses - gains) / rows], size=ROUNDS)  # (rounds, 3)
        falls = (drawn[:, 0] - drawn[:, 1]) / rows
    else:
        falls = _share(before, rng) - _share(now, rng)
    low, high = np.quantile(falls, [tail, 1 - tail])
    return float(low), float(high)


def _share(hits: Sequence[bool], rng: np.random.Generator) -> "np.ndarray[Any, Any]":
    return rng.binomial(len(hits), math.fsum(hits) / len(hits), size=ROUNDS) / len(hits)


def chance_eces(confidence: "np.ndarray[Any, Any]", rounds: int = 1_000) -> "np.ndarray[Any, Any]":
    """Return `(rounds,)` ECEs that rows `(n,)` of these rank-1 probabilities show when each is right so often.

    Drawn, not derived: the sum over bins of the absolute value of noise grows as the bins get emptier.
    """
    rng = np.random.default_rng(0)
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    drawn = np.empty(rounds)
    for i in range(rounds):
        right = rng.random(len(confidence)) < confidence
        drawn[i] = np.abs(np.bincount(bins, right - confidence, BINS)).sum() / max(1, len(confidence))
    return drawn


def _name(key: str, code: str, turn: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{key}\t{code}\t{turn}".encode("utf-8", "surrogatepass")).digest()[:4], "little")
