"""The fit of what is published: on all rows, going on from the model of a trial and calibrated as that one was."""

from dataclasses import replace

import torch

from schemas.artifact import GoldenTitle
from trainer.fit.inputs import Titles
from trainer.fit.model import Model, fit
from trainer.measure.golden_titles import golden_titles
from trainer.options import TrainOptions
from trainer.prepare import Data


def final_fit(data: Data, options: TrainOptions, measured: Model | None) -> tuple[Model, tuple[GoldenTitle, ...]]:
    """Fit on all rows, from `measured` on and calibrated as it was; returns the model and its golden titles to publish.

    A part for bodies that has no weight is left out: serving would look at bodies for nothing.
    """
    if measured is None:
        unused = replace(options.fit, parts=options.fit.parts - {"body"})
        model = fit(data.titles, data.source, unused, "fitting on all rows")
    else:
        start = measured if measured.mix.body_weight else measured.without_body()
        again = fit(data.titles, data.source, options.fit, "fitting on all rows", start=start)
        model = replace(again, mix=measured.mix, calibration=measured.calibration)
    return model, golden_titles(model, _golden_candidates(data))


def _golden_candidates(data: Data) -> Titles:
    """Return postings and category names: golden titles are chosen among them."""
    names, source = len(data.source.categories), data.source
    rows = data.titles.rows.with_rows(source.onet.rows.where(torch.arange(len(source.onet.rows)) < names))
    clean = [*data.titles.clean, *source.onet.clean[:names]]
    return Titles(clean, [*data.titles.lines, *source.onet.lines[:names]], rows, source.encoder.ref.sha256)
