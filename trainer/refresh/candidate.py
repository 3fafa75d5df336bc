"""One refresh: data -> trial -> final fit -> gate -> published, and promoted if it passed."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from consumer.errors import CurrentMoved
from consumer.registry.folder import FolderRegistry
from schemas.artifact import GoldenTitle, Manifest
from trainer.final_fit import fit_final_model
from trainer.fit.model import Model
from trainer.measure.figures import curves
from trainer.measure.holdout import measure
from trainer.options import Say, TrainOptions
from trainer.prepare import prepare
from trainer.publish import make_manifest, make_scorer, publish
from trainer.refresh.gate import GateLimits, Measured, Verdict, from_manifest, judge, lost_golden_titles, measured
from trainer.train import describe_training

TURNS = 5
"""How often a candidate is judged at most, where other trainers promote theirs in between."""


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What a refresh came to."""

    manifest: Manifest
    verdict: Verdict
    rows: int
    embedded: int


def refresh(options: TrainOptions, limits: GateLimits, say: Say, *, triggers: Sequence[str] = ()) -> Refreshed:
    """Train a candidate, judge it against the version in service, publish it; promote it if it passed.

    The trial holds titles out by their digest: the same titles for every version of a registry, so that what two versions
    say of them can be compared; no trial is fitted to them. What is published is fitted to all rows, as `train` does it,
    with the trial's calibration: it knows a fifth more of the titles that the market uses, and the trial's figures are a
    cautious estimate of it. Golden titles are asked of what is published.

    A candidate that failed is kept beside the others, its manifest's `training` says "rejected" and why; a person may look
    at it and promote it. Raises TableError, EncoderError, RegistryError, ArtifactError, ValueError: nothing was promoted then.
    """
    options = replace(options, split="digest")
    registry = FolderRegistry(options.registry)
    registry.check_writable()
    _in_service(registry)  # one that cannot be compared with is found out before hours of training, not after
    with tempfile.TemporaryDirectory() as work:
        data = prepare(options, Path(work), say)
        say("measuring on titles held out")
        trial = measure(data, options)
        say("fitting on all rows")
        model, golden = fit_final_model(data, options, trial.model if trial else None)
        say("publishing")
        candidate = _Candidate(
            model=model,
            golden=golden,
            figures=trial.summary(options.fit.accept_precision) if trial else {},
            outcome=measured(trial.predictions, trial.tested.keys) if trial else None,
            curves=curves(trial.predictions) if trial else {},
            training=describe_training(options, data) | {"triggers": list(triggers)},
        )
        manifest, verdict = _judged(candidate, registry, limits, say)
    return Refreshed(manifest, verdict, len(data.postings), data.embedded_titles)


def _judged(candidate: "_Candidate", registry: FolderRegistry, limits: GateLimits, say: Say) -> tuple[Manifest, Verdict]:
    """Publish a candidate by what the gate says of it and the version in service; again if that one is replaced meanwhile."""
    for turn in range(TURNS):
        current = _in_service(registry)
        verdict = candidate.verdict(current, limits)
        try:
            manifest = publish(
                registry,
                candidate.model,
                candidate.manifest(current, verdict),
                promote=verdict.passed,
                instead_of=current.version if current else None,
            )
        except CurrentMoved as moved:
            if turn + 1 == TURNS:
                raise
            say(f"judging again: {moved}")
        else:
            break
    return manifest, verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """A fitted model and what its trial said of it, before anybody judged it."""

    model: Model
    golden: tuple[GoldenTitle, ...]
    figures: dict[str, float]
    outcome: Measured | None
    curves: dict[str, list[dict[str, float]]]
    training: dict[str, Any]

    def verdict(self, current: Manifest | None, limits: GateLimits) -> Verdict:
        """Return whether it may replace the version in service."""
        return judge(
            self.outcome,
            from_manifest(current.training) if current else None,
            limits=limits,
            in_service=current is not None,
            lost=lost_golden_titles(make_scorer(self.model), current.golden) if current else (),
        )

    def manifest(self, current: Manifest | None, verdict: Verdict) -> Manifest:
        """Return its manifest, with what it was compared with and what came of that."""
        training = self.training | {
            "verdict": "passed" if verdict.passed else "rejected",
            "reasons": list(verdict.reasons),
            "compared_with": current.version if current else None,
        }
        if self.outcome is not None:
            training["gate"] = self.outcome.stored()
        return make_manifest(self.model, golden=self.golden, training=training, metrics=self.figures, curves=self.curves)


def _in_service(registry: FolderRegistry) -> Manifest | None:
    version = registry.read_current()
    return registry.load(version).manifest if version else None
