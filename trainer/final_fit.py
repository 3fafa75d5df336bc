"""The fit of what is published: on all rows, going on from the model of a trial and calibrated as that one was."""

from dataclasses import replace

import torch

from schemas.artifact import GoldenTitle
from trainer.fit.inputs import Titles
from trainer.fit.model import Model, fit_model
from trainer.measure.golden_titles import golden_titles
from trainer.options import TrainOptions
from trainer.prepare import Data


def fit_final_model(data: Data, options: TrainOptions, measured: Model | None) -> tuple[Model, tuple[GoldenTitle, ...]]:
    """Fit on all rows, from `measured` on and calibrated as it was; returns the model and its golden titles to publish.

    A part for bodies that has no weight is left out: serving would look at bodies for nothing.
    """
    if measured is None:
        unused = replace(options.fit, parts=options.fit.parts - {"body"})
        model = fit_model(data.titles, data.inputs, unused, "fitting on all rows")
    else:
        start = measured if measured.mix.body_weight else measured.drop_body()
        again = fit_model(data.titles, data.inputs, options.fit, "fitting on all rows", start=start)
        model = replace(again, mix=measured.mix, calibration=measured.calibration)
    return model, golden_titles(model, _list_golden_candidates(data))


def _list_golden_candidates(data: Data) -> Titles:
    """Return postings and category names: golden titles are chosen among them."""
    names, inputs = len(data.inputs.categories), data.inputs
    rows = data.titles.rows.concatenate(inputs.onet.rows.select(torch.arange(len(inputs.onet.rows)) < names))
    clean = [*data.titles.clean, *inputs.onet.clean[:names]]
    return Titles(clean, [*data.titles.lines, *inputs.onet.lines[:names]], rows, inputs.encoder.ref.sha256)
