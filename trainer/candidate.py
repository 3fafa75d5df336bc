"""One refresh: data -> trial -> final fit -> gate -> published, and promoted if it passed."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from consumer.registry import FolderRegistry
from schemas.artifact import Manifest
from trainer.data import Report, TrainOptions, prepare
from trainer.figures import curves
from trainer.gate import GateLimits, Verdict, from_manifest, judge, lost_golden_titles, measured
from trainer.publish import make_manifest, make_scorer, publish
from trainer.train import described
from trainer.trial import final_fit, measure


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What a refresh came to."""

    manifest: Manifest
    verdict: Verdict
    rows: int
    embedded: int


def refresh(options: TrainOptions, limits: GateLimits, report: Report, *, triggers: Sequence[str] = ()) -> Refreshed:
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
    current = _in_service(registry)
    with tempfile.TemporaryDirectory() as work:
        data = prepare(options, Path(work), report)
        report("measuring on titles held out")
        trial = measure(data, options)
        figures = trial.summary(options.fit.accept_precision) if trial else {}
        outcome = measured(trial.predictions, trial.keys) if trial else None
        report("fitting on all rows")
        model, golden = final_fit(data, options, trial.model if trial else None)
        verdict = judge(
            outcome,
            from_manifest(current.training) if current else None,
            limits=limits,
            in_service=current is not None,
            lost=lost_golden_titles(make_scorer(model), current.golden) if current else (),
        )
        training = described(options, data) | {
            "triggers": list(triggers),
            "verdict": "passed" if verdict.passed else "rejected",
            "reasons": list(verdict.reasons),
            "compared_with": current.version if current else None,
        }
        if outcome is not None:
            training["gate"] = outcome.stored()
        report("publishing")
        shapes = curves(trial.predictions) if trial else {}
        manifest = make_manifest(model, golden=golden, training=training, metrics=figures, curves=shapes)
        published = publish(registry, model, manifest, promote=verdict.passed)
    return Refreshed(published, verdict, len(data.postings), data.embedded_titles)


def _in_service(registry: FolderRegistry) -> Manifest | None:
    version = registry.current()
    return registry.load(version).manifest if version else None
