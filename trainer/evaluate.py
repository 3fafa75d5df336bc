"""The command `evaluate`: all figures on several kinds of split, and on request the methods side by side. Publishes nothing."""

import platform
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from consumer.errors import ConfigError
from schemas.text import plain_text
from trainer.measure.figures import everything, intervals
from trainer.measure.holdout import Trial, measure, none_held_out
from trainer.measure.predict import body_alone, predictions
from trainer.measure.split import SplitKind
from trainer.options import EncoderKind, FitOptions, Say, TrainOptions
from trainer.prepare import Data, prepare
from trainer.report.report import Report

PLAIN = FitOptions(parts=frozenset())
METHODS: dict[str, FitOptions] = {
    "direct: category names": replace(PLAIN, method="direct"),
    "mean: class means, shrunk": replace(PLAIN, method="mean"),
    "hinge: the recipe this started from": replace(PLAIN, method="hinge"),
    "softmax": PLAIN,
    "softmax + exemplars and known titles": FitOptions(parts=frozenset({"exemplars", "known"})),
    "softmax + exemplars + line": FitOptions(parts=frozenset({"exemplars", "line", "known"})),
    "static encoder (distill)": FitOptions(kind="static", parts=frozenset({"line", "known"})),
}
"""The methods that `--compare` measures, by their names in the report. All clean titles; none looks at bodies."""
ALSO_UNCLEANED = ("hinge: the recipe this started from", "softmax")
"""The methods that are also measured without cleaning titles."""
OWN_NAME: dict[EncoderKind, str] = {"given": "this model", "static": "this static model", "finetuned": "this model, fine-tuned"}
"""The name in the report of the model that the options describe."""


def evaluate(options: TrainOptions, splits: Sequence[SplitKind], say: Say, *, compare: bool, command: str) -> Report:
    """Measure the model that `options` describe on each kind of split; with `compare`, all METHODS on the same splits.

    `command` is the command line that the report shows, for a reader who wants to repeat the evaluation.

    Raises what `train` raises for data and encoder, and ConfigError if no split holds any rows out.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as work:
        data = prepare(options, Path(work), say)
        runs = {kind: run for kind in splits if (run := _measure_split(data, replace(options, split=kind), say))}
        if not runs:
            raise ConfigError("no split could be measured on, see above; nothing is written")
        rows = [row for kind, run in runs.items() for row in _make_rows(kind, run, options.fit)]
        if compare:
            rows += _compare_methods(data, options, list(runs), say)
            plain = prepare(options, Path(work), say, clean_text=plain_text)
            rows += _compare_methods(plain, options, list(runs), say, names=ALSO_UNCLEANED, note=", titles not cleaned")
        precision = options.fit.accept_precision
        return Report(
            title="occustream: evaluation",
            created_at=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            data=_describe_data(data, options),
            methods=rows,
            curves={f"{kind} split": list(run.curve) for kind, run in runs.items()},
            splits={f"{kind} split": _list_figures(run, seed=options.seed, precision=precision) for kind, run in runs.items()},
            timing=_list_times(runs, time.monotonic() - started),
            command=command,
        )


def _measure_split(data: Data, options: TrainOptions, say: Say) -> Trial | None:
    run = measure(data, options, refit=True)
    if run is None:
        say(f"{options.split} split: no rows can be held out: {none_held_out(options)}; left out")
    return run


def _make_rows(kind: SplitKind, run: Trial, fit: FitOptions) -> Iterator[dict[str, Any]]:
    """Yield the figures of the model and, if it looks at bodies, those of its title parts and of its body part alone.

    Only the whole model has judged the reject examples, so the other two have no figures of them.
    """
    yield _make_row(OWN_NAME[fit.kind], kind, run, fit)
    if run.model.encoders.body is not None:
        without_body = run.model.drop_body()
        for view, answers in (("title", predictions(without_body, run.tested)), ("body", body_alone(run.model, run.tested))):
            yield _make_row(f"{OWN_NAME[fit.kind]}, {view} alone", kind, replace(run, predictions=answers, rejected={}), fit)


def _compare_methods(
    data: Data,
    options: TrainOptions,
    splits: Sequence[SplitKind],
    say: Say,
    *,
    names: Sequence[str] = tuple(METHODS),
    note: str = "",
) -> Iterator[dict[str, Any]]:
    for kind in splits:
        for name in names:
            fit = replace(METHODS[name], seed=options.fit.seed, accept_precision=options.fit.accept_precision)
            run = _measure_split(data, replace(options, split=kind, fit=fit), say)
            if run:
                yield _make_row(name + note, kind, run, fit)


def _list_figures(run: Trial, *, seed: int, precision: float) -> dict[str, Any]:
    return {**everything(run.predictions, seed=seed, precision=precision), "summary": run.summary(precision)}


def _make_row(name: str, kind: SplitKind, run: Trial, fit: FitOptions) -> dict[str, Any]:
    return {
        "method": name,
        "split": kind,
        **run.summary(fit.accept_precision),
        "intervals": intervals(run.predictions, fit.seed),
        "train_seconds": round(run.fit_seconds, 1),
        "score_seconds": round(run.score_seconds, 2),
    }


def _describe_data(data: Data, options: TrainOptions) -> dict[str, str | int | float]:
    rejects: dict[str, str | int | float] = {"reject examples": len(data.rejects)} if data.rejects else {}
    return {
        "postings": len(data.postings),
        **rejects,
        "categories with postings": len(set(data.codes)),
        "categories": len(data.inputs.categories),
        "O*NET titles": len(data.inputs.onet.clean),
        "encoder": data.inputs.encoder.ref.id,
        "held out": options.holdout,
        "seed": options.seed,
        "machine": platform.machine() or "unknown",
    }


def _list_times(runs: dict[SplitKind, Trial], total: float) -> dict[str, float]:
    times = {f"training and calibrating, {kind} split": run.fit_seconds for kind, run in runs.items()}
    times |= {f"scoring {run.predictions.rows:,} held-out titles, {kind} split": run.score_seconds for kind, run in runs.items()}
    return {**times, "all of it": total}
