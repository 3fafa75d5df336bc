"""The training run, read from top to bottom: data -> embeddings -> figures on held-out rows -> final fit -> publish."""

import os
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from consumer.registry.folder import FolderRegistry
from trainer.final_fit import fit_final_model
from trainer.measure.calibration_figures import confidence_curves
from trainer.measure.holdout import explain_no_holdout, measure
from trainer.options import Say, TrainOptions
from trainer.prepare import Data, prepare
from trainer.publish import make_manifest, publish

MAIN_FIGURES = ("top_1", "top_3", "top_5", "macro_top_1", "ece", "accept_share", "accept_precision", "reject_accept_share")


def train(options: TrainOptions, say: Say) -> dict[str, Any]:
    """Train, evaluate and publish a version; returns what the command prints.

    One that nothing was held out for takes no other version's place in service.

    Raises TableError for data, EncoderError, RegistryError and ArtifactError for the rest, all before anything is published.
    """
    started = time.monotonic()
    registry = FolderRegistry(options.registry)
    registry.check_writable()
    with tempfile.TemporaryDirectory() as work:
        data = prepare(options, Path(work), say)
        measured = measure(data, options)
        figures = measured.summary(options.fit.accept_precision) if measured else {}
        shown = ", ".join(f"{name} {figures[name]:.3f}" for name in MAIN_FIGURES if name in figures)
        say(f"held-out figures: {shown or f'none, {explain_no_holdout(options)}'}")
        replaced = registry.current() if measured is None and options.promote else None
        model, golden = fit_final_model(data, options, measured.model if measured else None)
        shapes = confidence_curves(measured.predictions) if measured else {}
        manifest = make_manifest(model, golden=golden, training=describe_training(options, data), metrics=figures, curves=shapes)
        promote = options.promote and replaced is None
        published = publish(registry, model, manifest, promote=promote)
    say(f"published version {published.version} to {options.registry}" + (", now in service" if promote else ""))
    if replaced:
        say(
            f"version {replaced} stays in service: nothing was held out to judge or calibrate the new one on; "
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
    flat = asdict(options)
    fit = flat.pop("fit")
    plain = {name: _plain(value) for name, value in {**flat, **fit}.items()}
    return {**plain, "rows": len(data.postings), "onet_rows": len(data.inputs.onet.rows), "distinct_titles": data.distinct_titles}


def _plain(value: Any) -> Any:  # noqa: ANN401 - any option
    """Return an option as JSON can hold it; a file name need not be UTF-8."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple | frozenset):
        return [_plain(name) for name in (sorted(value) if isinstance(value, frozenset) else value)]
    return os.fsencode(value).decode("utf-8", "replace") if isinstance(value, str | Path) else value
