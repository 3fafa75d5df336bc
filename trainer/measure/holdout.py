"""Measuring a model on rows it never saw: it is fitted without some rows, calibrated on a part of them, measured on the rest."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from trainer.fit.calibration import HeldOutParts, compute_held_out_parts, join_held_out_parts
from trainer.fit.category_embeddings import Observe
from trainer.fit.inputs import Titles
from trainer.fit.model import Model, calibrate_model, fit_model
from trainer.measure.figures import reject_figures, summary
from trainer.measure.predict import answer, make_title_queries, predict
from trainer.measure.predictions import Predictions
from trainer.measure.split import LEAST_SOURCE_ROWS, draw_calibration_rows, hold_out
from trainer.options import TrainOptions
from trainer.prepare import Data


@dataclass(frozen=True, slots=True)
class SplitMasks:
    """Masks `(rows,)` of the rows to measure on, and for each round of those to calibrate on. No row is in two of them."""

    tested: torch.Tensor
    calibrating: tuple[torch.Tensor, ...]


@dataclass(frozen=True, slots=True)
class Trial:
    """A calibrated model, and its predictions for rows that it never saw.

    `calibrated` is the model before it was fitted again: the fit on all rows starts from it. `curve` holds (epoch, loss,
    held-out top-1) of the title part.
    """

    model: Model
    calibrated: Model
    predictions: Predictions
    tested: Titles
    curve: list[tuple[int, float, float]]
    rejected: dict[str, float]
    """The figures of the held-out reject examples, see `reject_figures`."""
    fit_seconds: float
    score_seconds: float

    def summary(self, precision: float = 0.9) -> dict[str, Any]:
        """Return the main figures, and those of the reject examples where there are any."""
        return summary(self.predictions, precision) | self.rejected


def measure(data: Data, options: TrainOptions, *, refit: bool = False, source: str | None = None) -> Trial | None:
    """Fit without the held-out rows, calibrate on one part of them, and measure on the other through the serving scorer.

    Each round fits without a part of its own, which it calibrates on. With `refit` the model is then fitted again on all rows
    but those to measure on, as a published model is fitted on all rows. With `source`, the rows of this source are held out,
    whatever `options.split` says. Returns None if there are too few rows to hold out, or none that count is left to fit.
    """
    masks, reject_masks = _draw_masks(data, options, source)
    fitted_rows = ~masks.tested & (data.titles.rows.weights > 0)
    if not all(bool(mask.any()) for mask in (masks.tested, fitted_rows, *masks.calibrating)):
        return None
    held, curve = data.titles.select(masks.tested), list[tuple[int, float, float]]()

    def observe(epoch: int, loss: float, embeddings: torch.Tensor) -> None:
        if options.fit.kind == "given":  # the cached vectors were made by this encoder only
            hits = (held.rows.embeddings @ embeddings.T).argmax(dim=1) == held.rows.labels
            curve.append((epoch, round(loss, 4), round(float(hits.double().mean()), 4)))

    started = time.monotonic()
    model = calibrated = _calibrate_in_rounds(data, options, masks, reject_masks, observe)
    if refit:
        what = "fitting without the rows to measure on"
        again = fit_model(data.titles.select(~masks.tested), data.inputs, options.fit, what, start=model)
        model = replace(again, mix=model.mix, calibration=model.calibration)
    fitted = time.monotonic()
    predictions = predict(model, held)
    scored = time.monotonic()
    rejected = reject_figures(answer(model, data.reject_titles.select(reject_masks.tested))[1])
    return Trial(model, calibrated, predictions, held, curve, rejected, fitted - started, scored - fitted)


def explain_no_holdout_of_sources() -> str:
    """Return why `measure` could not hold out the rows of a source."""
    return f"that takes {LEAST_SOURCE_ROWS} rows of a source, and enough rows of others; see --source-column, --weight"


def explain_no_holdout(options: TrainOptions) -> str:
    """Return why `measure` could not hold out any rows."""
    dates = "a time split needs dates such as 2025-06-30 in POSTED, or " if options.split == "time" else ""
    return f"{dates}too few rows to measure on some and calibrate on others; see --split, --holdout, --rounds"


def _calibrate_in_rounds(
    data: Data, options: TrainOptions, masks: SplitMasks, reject_masks: SplitMasks, observe: Observe
) -> Model:
    """Return the model of the first round. It is calibrated on the answers of each round's model to that round's rows."""
    first: Model | None = None
    held: list[HeldOutParts] = []
    rounds = list(zip(masks.calibrating, reject_masks.calibrating, strict=True))
    for number, (part, reject_part) in enumerate(rounds, start=1):
        what = f"fitting without held-out rows, {number} of {len(rounds)}"
        titles = data.titles.select(~masks.tested & ~part)
        model = fit_model(titles, data.inputs, options.fit, what, observe=observe if number == 1 else lambda *_: None)
        asked = data.titles.select(part).concatenate(data.reject_titles.select(reject_part))
        answers = compute_held_out_parts(model.mixture(), make_title_queries(model, asked), asked.rows.labels)
        held.append(replace(answers, weights=answers.weights * asked.rows.weights))
        first = first or model
    if first is None:
        raise ValueError("a calibration takes at least one round")
    return calibrate_model(first, join_held_out_parts(held), options.fit)


def _draw_masks(data: Data, options: TrainOptions, source: str | None) -> tuple[SplitMasks, SplitMasks]:
    """Return the masks of the postings and those of the reject examples.

    Both are drawn together, so that a title that occurs in both is held out of both. Rows that do not count in fits are not
    calibrated on either.
    """
    codes = [posting.onet_code for posting in data.labelled.all]
    keys = [*data.titles.keys, *data.reject_titles.keys]
    tested = _choose_tested(data, options, source, codes, keys)
    calibrating = draw_calibration_rows(
        codes,
        keys,
        tested,
        calibration=options.calibration,
        # An encoder takes minutes to hours to fine-tune.
        rounds=1 if options.fit.kind == "finetuned" else options.rounds,
        seed=options.seed,
    )
    count = len(data.postings)
    counts_in_fits = torch.cat((data.titles.rows.weights, data.reject_titles.rows.weights)) > 0
    test, *rounds = (torch.tensor(mask, dtype=torch.bool) for mask in (tested, *calibrating))
    rounds = [mask & counts_in_fits for mask in rounds]
    of_postings = SplitMasks(test[:count], tuple(mask[:count] for mask in rounds))
    return of_postings, SplitMasks(test[count:], tuple(mask[count:] for mask in rounds))


def _choose_tested(
    data: Data, options: TrainOptions, source: str | None, codes: Sequence[str], keys: Sequence[str]
) -> list[bool]:
    """Return for each row whether it is measured on."""
    rows = data.labelled.all
    if source is not None:
        return [posting.source == source for posting in rows]
    dates = [posting.posted_at for posting in rows]
    return hold_out(codes, keys, share=options.holdout, seed=options.seed, kind=options.split, dates=dates)
