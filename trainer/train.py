"""The training run, read from top to bottom: data -> embeddings -> figures on held-out rows -> final fit -> publish."""

import tempfile
import time
from pathlib import Path
from typing import Any

from consumer.registry.folder import FolderRegistry
from trainer.final_fit import fit_final_model
from trainer.measure.calibration_figures import confidence_curves
from trainer.measure.holdout import explain_no_holdout, measure
from trainer.options import Say, TrainOptions, describe_options
from trainer.prepare import Data, prepare
from trainer.publish import make_manifest, publish

MAIN_FIGURES = ("top_1", "top_3", "top_5", "macro_top_1", "ece", "accept_share", "accept_precision", "reject_accept_share")


def train(options: TrainOptions, say: Say) -> dict[str, Any]:
    """Train, measure and publish a version; returns what the command prints as JSON.

    A version for which no rows could be held out replaces no other version in service.

    Raises TableError for data; EncoderError, RegistryError and ArtifactError for the rest, all before anything is published.
    """
    started = time.monotonic()
    registry = FolderRegistry(options.registry)
    registry.check_writable()
    with tempfile.TemporaryDirectory() as work:
        data = prepare(options, Path(work), say)
        trial = measure(data, options)
        figures = trial.summary(options.fit.accept_precision) if trial else {}
        main = ", ".join(f"{name} {figures[name]:.3f}" for name in MAIN_FIGURES if name in figures)
        say(f"held-out figures: {main or f'none, {explain_no_holdout(options)}'}")
        kept = registry.read_current() if trial is None and options.promote else None
        model, golden = fit_final_model(data, options, trial.model if trial else None)
        shapes = confidence_curves(trial.predictions) if trial else {}
        training = describe_training(options, data)
        manifest = make_manifest(model, golden=golden, training=training, metrics=figures, curves=shapes)
        promote = options.promote and kept is None
        published = publish(registry, model, manifest, promote=promote)
    say(f"published version {published.version} to {options.registry}" + (", now in service" if promote else ""))
    if kept:
        say(
            f"version {kept} stays in service: nothing was held out to judge or calibrate the new one on; "
            "'occustream-trainer promote' puts it in service all the same"
        )
    return {
        "version": published.version,
        "method": options.fit.method,
        "categories": len(data.inputs.categories),
        "rows": len(data.postings),
        "metrics": figures,
        "seconds": round(time.monotonic() - started, 1),
    }


def describe_training(options: TrainOptions, data: Data) -> dict[str, Any]:
    """Return what the manifest says of the training: enough to repeat it."""
    counts = {"rows": len(data.postings), "onet_rows": len(data.inputs.onet.rows), "distinct_titles": data.distinct_titles}
    return {**describe_options(options), "languages": list(options.understood_languages), **counts}
