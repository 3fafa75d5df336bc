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
from trainer.measure.calibration_figures import confidence_curves
from trainer.measure.holdout import measure
from trainer.options import Say, TrainOptions
from trainer.prepare import prepare
from trainer.publish import make_manifest, make_scorer, publish
from trainer.refresh.gate import GateLimits, TrialOutcome, Verdict, find_lost_golden_titles, judge, make_outcome, read_outcome
from trainer.train import describe_training

MAX_JUDGEMENTS = 5
"""How often a candidate is judged at most, where other trainers promote theirs in between."""


@dataclass(frozen=True, slots=True)
class RefreshResult:
    """What a refresh came to."""

    manifest: Manifest
    verdict: Verdict
    rows: int
    embedded: int


def refresh(options: TrainOptions, limits: GateLimits, say: Say, *, triggers: Sequence[str] = ()) -> RefreshResult:
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
    _load_current(registry)  # one that cannot be compared with is found out before hours of training, not after
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
    """Publish a candidate by what the gate says of it and the version in service; again if that one is replaced meanwhile."""
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
    """A fitted model and what its trial said of it, before anybody judged it."""

    model: Model
    golden: tuple[GoldenTitle, ...]
    figures: dict[str, float]
    outcome: TrialOutcome | None
    curves: dict[str, list[dict[str, float]]]
    training: dict[str, Any]

    def judge_against(self, current: Manifest | None, limits: GateLimits) -> Verdict:
        """Return whether it may replace the version in service."""
        return judge(
            self.outcome,
            read_outcome(current.training) if current else None,
            limits=limits,
            in_service=current is not None,
            lost=find_lost_golden_titles(make_scorer(self.model), current.golden) if current else (),
        )

    def make_manifest(self, current: Manifest | None, verdict: Verdict) -> Manifest:
        """Return its manifest, with what it was compared with and what came of that."""
        training = self.training | {
            "verdict": "passed" if verdict.passed else "rejected",
            "reasons": list(verdict.reasons),
            "compared_with": current.version if current else None,
        }
        if self.outcome is not None:
            training["gate"] = self.outcome.to_manifest()
        return make_manifest(self.model, golden=self.golden, training=training, metrics=self.figures, curves=self.curves)


def _load_current(registry: FolderRegistry) -> Manifest | None:
    version = registry.current()
    return registry.load(version).manifest if version else None
