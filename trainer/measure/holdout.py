"""What a model is worth: fitted without some rows, calibrated on some of them and measured on the others."""

import time
from dataclasses import dataclass, replace
from typing import Any

import torch

from trainer.fit.calibration import HeldOutParts, compute_held_out_parts, join_held_out_parts
from trainer.fit.category_embeddings import Observe
from trainer.fit.inputs import Titles
from trainer.fit.model import Model, calibrate_model, fit_model
from trainer.measure.figures import summary
from trainer.measure.predict import decisions, predictions, queries
from trainer.measure.predictions import Predictions
from trainer.measure.rejects import RejectFigures, reject_figures
from trainer.measure.split import three_ways
from trainer.options import TrainOptions
from trainer.prepare import Data


@dataclass(frozen=True, slots=True)
class Masks:
    """Which rows to measure on, and for each round which to calibrate on; no row is in two of them."""

    tested: torch.Tensor
    calibrating: tuple[torch.Tensor, ...]


@dataclass(frozen=True, slots=True)
class Trial:
    """A calibrated model that never saw the rows it is measured on, and what it says of them.

    `curve` holds (epoch, loss, held-out top-1) of the title part.
    """

    model: Model
    predictions: Predictions
    tested: Titles
    curve: list[tuple[int, float, float]]
    rejected: RejectFigures
    """What was decided of the reject examples held out."""
    fit_seconds: float
    score_seconds: float

    def summary(self, precision: float = 0.9) -> dict[str, Any]:
        """Return the main figures, those of the reject examples beside them where there are any."""
        return summary(self.predictions, precision) | self.rejected


def measure(data: Data, options: TrainOptions, *, refit: bool = False) -> Trial | None:
    """Fit without the held-out rows, calibrate on one part of them, measure on the other through the serving scorer.

    Each round fits without a part of its own to calibrate on. With `refit` all but the rows to measure on are trained on
    before measuring, as they are in what is published. None where there are too few rows to hold any out.
    """
    masks, reject_masks = _masks(data, options)
    if not all(bool(mask.any()) for mask in (masks.tested, *masks.calibrating)):
        return None
    held, curve = data.titles.select(masks.tested), list[tuple[int, float, float]]()

    def observe(epoch: int, loss: float, embeddings: torch.Tensor) -> None:
        if options.fit.kind == "given":  # the cached vectors are of no other encoder
            hits = (held.rows.embeddings @ embeddings.T).argmax(dim=1) == held.rows.labels
            curve.append((epoch, round(loss, 4), round(float(hits.double().mean()), 4)))

    started = time.monotonic()
    model = _calibrated(data, options, masks, reject_masks, observe)
    if refit:
        what = "fitting without the rows to measure on"
        again = fit_model(data.titles.select(~masks.tested), data.inputs, options.fit, what, start=model)
        model = replace(again, mix=model.mix, calibration=model.calibration)
    fitted = time.monotonic()
    said = predictions(model, held)
    scored = time.monotonic()
    rejected = reject_figures(decisions(model, data.reject_titles.select(reject_masks.tested)))
    return Trial(model, said, held, curve, rejected, fitted - started, scored - fitted)


def none_held_out(options: TrainOptions) -> str:
    """Return why `measure` found no rows to hold out."""
    dates = "a time split needs dates such as 2025-06-30 in POSTED, or " if options.split == "time" else ""
    return f"{dates}too few rows to measure on some and calibrate on others; see --split, --holdout, --rounds"


def _calibrated(data: Data, options: TrainOptions, masks: Masks, reject_masks: Masks, observe: Observe) -> Model:
    """Return the model of the first round, calibrated on what the models of all rounds say of the rows held out from each."""
    first: Model | None = None
    held: list[HeldOutParts] = []
    rounds = list(zip(masks.calibrating, reject_masks.calibrating, strict=True))
    for number, (part, reject_part) in enumerate(rounds, start=1):
        what = f"fitting without held-out rows, {number} of {len(rounds)}"
        titles = data.titles.select(~masks.tested & ~part)
        model = fit_model(titles, data.inputs, options.fit, what, observe=observe if number == 1 else lambda *_: None)
        asked = data.titles.select(part).concatenate(data.reject_titles.select(reject_part))
        held.append(compute_held_out_parts(model.mixture(), queries(model, asked), asked.rows.labels))
        first = first or model
    if first is None:
        raise ValueError("a calibration takes one round at least")
    return calibrate_model(first, join_held_out_parts(held), options.fit)


def _masks(data: Data, options: TrainOptions) -> tuple[Masks, Masks]:
    """Return the masks of the postings `(rows,)`, and of the reject examples.

    They are drawn together, so that a title which both have is held out of both.
    """
    rows = (*data.postings, *data.rejects)
    tested, calibrating = three_ways(
        [posting.onet_code for posting in rows],
        [*data.titles.keys, *data.reject_titles.keys],
        [posting.posted_at for posting in rows],
        holdout=options.holdout,
        calibration=options.calibration,
        # An encoder takes minutes to hours to fine-tune.
        rounds=1 if options.fit.kind == "finetuned" else options.rounds,
        seed=options.seed,
        kind=options.split,
    )
    count = len(data.postings)
    every = [torch.tensor(mask, dtype=torch.bool) for mask in (tested, *calibrating)]
    return Masks(every[0][:count], tuple(m[:count] for m in every[1:])), Masks(
        every[0][count:], tuple(m[count:] for m in every[1:])
    )
