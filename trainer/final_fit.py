"""The last fit of a run, on all rows: it makes the model that is published, and chooses its golden titles."""

from dataclasses import replace

import torch

from schemas.artifact import GoldenTitle
from trainer.fit.inputs import Titles
from trainer.fit.model import Model, fit_model
from trainer.measure.golden_titles import choose_golden_titles
from trainer.options import TrainOptions
from trainer.prepare import Data


def fit_final_model(data: Data, options: TrainOptions, trial_model: Model | None) -> tuple[Model, tuple[GoldenTitle, ...]]:
    """Fit a model on all rows; returns the model to publish and its golden titles. See `fit_on_all_rows`."""
    model = fit_on_all_rows(data, options, trial_model)
    return model, choose_golden_titles(model, _list_golden_candidates(data))


def fit_on_all_rows(data: Data, options: TrainOptions, trial_model: Model | None) -> Model:
    """Fit a model on all rows: the one that is published.

    The fit starts from `trial_model`, which was fitted without the held-out rows, and keeps its weights and thresholds. None
    stands for a run in which no rows could be held out: its model is not calibrated and has no part for bodies.
    """
    if trial_model is None:
        without_body = replace(options.fit, parts=options.fit.parts - {"body"})
        return fit_model(data.titles, data.inputs, without_body, "fitting on all rows")
    # Serving would embed every body for a part that has no weight.
    start = trial_model if trial_model.mix.body_weight else trial_model.drop_body()
    model = fit_model(data.titles, data.inputs, options.fit, "fitting on all rows", start=start)
    return replace(model, mix=trial_model.mix, calibration=trial_model.calibration)


def _list_golden_candidates(data: Data) -> Titles:
    """Return the titles of all postings, then the names of all categories: golden titles are chosen among them."""
    names, inputs = len(data.inputs.categories), data.inputs
    rows = data.titles.rows.concatenate(inputs.onet.rows.select(torch.arange(len(inputs.onet.rows)) < names))
    clean = [*data.titles.clean, *inputs.onet.clean[:names]]
    return Titles(clean, [*data.titles.lines, *inputs.onet.lines[:names]], rows, inputs.encoder.ref.sha256)
