"""One refresh: data -> trial -> final fit -> gate -> publish, and promote if the gate is passed."""

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
from trainer.measure.calibration_figures import confidence_curves
from trainer.measure.holdout import measure
from trainer.options import Say, TrainOptions
from trainer.prepare import prepare
from trainer.publish import make_manifest, make_scorer, publish
from trainer.refresh.gate import GateLimits, TrialOutcome, Verdict, find_lost_golden_titles, judge, make_outcome, read_outcome
from trainer.train import describe_training

MAX_JUDGEMENTS = 5
"""How often a candidate is judged at most, if other trainers promote theirs in between."""


@dataclass(frozen=True, slots=True)
class RefreshResult:
    """The result of a refresh: the published version, the verdict on it, its training rows and how many titles were embedded."""

    manifest: Manifest
    verdict: Verdict
    rows: int
    embedded: int


def refresh(options: TrainOptions, limits: GateLimits, say: Say, *, triggers: Sequence[str] = ()) -> RefreshResult:
    """Train a candidate, judge it against the version in service, publish it, and promote it if it passed.

    The trial holds titles out by their digest. These are the same titles for every version of a registry, so that the answers
    of two versions can be compared, and no trial is fitted to them. The published model is fitted to all rows, as `train` does
    it, with the trial's calibration. It knows a fifth more of the titles that the market uses, so the trial's figures are a
    cautious estimate of it. The golden titles are asked of the published model.

    A candidate that failed is kept beside the others. Its manifest's `training` says "rejected" and why; a person may look at
    it and promote it. Raises TableError, EncoderError, RegistryError, ArtifactError, ValueError; then nothing was promoted.
    """
    options = replace(options, split="digest")
    registry = FolderRegistry(options.registry)
    registry.check_writable()
    _load_current(registry)  # a version that cannot be read should be noticed before hours of training, not after
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
            outcome=make_outcome(trial.predictions, trial.tested.keys) if trial else None,
            curves=confidence_curves(trial.predictions) if trial else {},
            training=describe_training(options, data) | {"triggers": list(triggers)},
        )
        manifest, verdict = _judge_and_publish(candidate, registry, limits, say)
    return RefreshResult(manifest, verdict, len(data.postings), data.embedded_titles)


def _judge_and_publish(
    candidate: "_Candidate", registry: FolderRegistry, limits: GateLimits, say: Say
) -> tuple[Manifest, Verdict]:
    """Judge a candidate and publish it with the verdict. Do so again if the version in service is replaced meanwhile."""
    for turn in range(MAX_JUDGEMENTS):
        current = _load_current(registry)
        verdict = candidate.judge_against(current, limits)
        try:
            manifest = publish(
                registry,
                candidate.model,
                candidate.make_manifest(current, verdict),
                promote=verdict.passed,
                instead_of=current.version if current else None,
            )
        except CurrentMoved as moved:
            if turn + 1 == MAX_JUDGEMENTS:
                raise
            say(f"judging again: {moved}")
        else:
            break
    return manifest, verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """A fitted model and the outcome of its trial, before it is judged."""

    model: Model
    golden: tuple[GoldenTitle, ...]
    figures: dict[str, float]
    outcome: TrialOutcome | None
    curves: dict[str, list[dict[str, float]]]
    training: dict[str, Any]

    def judge_against(self, current: Manifest | None, limits: GateLimits) -> Verdict:
        """Return whether the candidate may replace the version in service."""
        return judge(
            self.outcome,
            read_outcome(current.training) if current else None,
            limits=limits,
            in_service=current is not None,
            lost=find_lost_golden_titles(make_scorer(self.model), current.golden) if current else (),
        )

    def make_manifest(self, current: Manifest | None, verdict: Verdict) -> Manifest:
        """Return the candidate's manifest, with the verdict and the version it was compared with."""
        training = self.training | {
            "verdict": "passed" if verdict.passed else "rejected",
            "reasons": list(verdict.reasons),
            "compared_with": current.version if current else None,
        }
        if self.outcome is not None:
            training["gate"] = self.outcome.to_manifest()
        return make_manifest(self.model, golden=self.golden, training=training, metrics=self.figures, curves=self.curves)


def _load_current(registry: FolderRegistry) -> Manifest | None:
    version = registry.read_current()
    return registry.load(version).manifest if version else None
