"""The command `evaluate`: all figures on several kinds of split, and on request the methods side by side. Publishes nothing."""

import platform
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from consumer.errors import ConfigError
from schemas.text import plain_text
from trainer.data.judged import read_judged
from trainer.final_fit import fit_on_all_rows
from trainer.measure.figures import Figures, bootstrap_intervals, compute_figures
from trainer.measure.holdout import Trial, explain_no_holdout, explain_no_holdout_of_sources, measure
from trainer.measure.judged import JudgedTitles, embed_judged, measure_judged
from trainer.measure.predict import predict, predict_from_body
from trainer.measure.split import Split, SplitKind, list_sources
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
    "softmax + exemplars + line + role words": FitOptions(parts=frozenset({"exemplars", "line", "known", "head"})),
    "static encoder (distill)": FitOptions(kind="static", parts=frozenset({"line", "known", "head"})),
}
"""The methods that `--compare` measures, by their names in the report. All clean titles; none looks at bodies."""
ALSO_UNCLEANED = ("hinge: the recipe this started from", "softmax")
"""The methods that are also measured without cleaning titles."""
OWN_NAME: dict[EncoderKind, str] = {"given": "this model", "static": "this static model", "finetuned": "this model, fine-tuned"}
"""The name in the report of the model that the options describe."""


def evaluate(
    options: TrainOptions,
    splits: Sequence[SplitKind],
    say: Say,
    *,
    compare: bool,
    judged: Sequence[str] = (),
    command: str,
) -> Report:
    """Measure the model that `options` describe on each kind of split; with `compare`, all METHODS on the same splits.

    `judged` are files of judged postings. The model that is fitted on all rows, as `train` publishes it, is measured on them.
    `command` is the command line that the report shows, for a reader who wants to repeat the evaluation.

    Raises what `train` raises for data and encoder, and ConfigError if no split holds any rows out.
    """
    started = time.monotonic()
    files = read_judged(judged)  # a mistake in them should be noticed before minutes of work, not after
    with tempfile.TemporaryDirectory() as work:
        data = prepare(options, Path(work), say)
        judged_titles = embed_judged(files, data.inputs, options.cache, say)
        runs = {split: run for split in _list_splits(data, splits, say) if (run := _measure_split(data, options, split, say))}
        if not runs:
            raise ConfigError("no split could be measured on, see above; nothing is written")
        rows = [row for split, run in runs.items() for row in _make_rows(split, run, options.fit)]
        rows += _average_sources(rows, runs)
        if compare:
            rows += _compare_methods(data, options, list(runs), say)
            plain = prepare(options, Path(work), say, clean_text=plain_text)
            rows += _compare_methods(plain, options, list(runs), say, names=ALSO_UNCLEANED, note=", titles not cleaned")
        named = {f"{split.name} split": run for split, run in runs.items()}
        precision = options.fit.accept_precision
        return Report(
            title="occustream: evaluation",
            created_at=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            data=_describe_data(data, options),
            methods=rows,
            curves={name: list(run.curve) for name, run in named.items()},
            splits={name: _list_figures(run, seed=options.seed, precision=precision) for name, run in named.items()},
            judged=_judge(data, options, runs, judged_titles, say) if files else [],
            timing=_list_times(named, time.monotonic() - started),
            command=command,
        )


def _list_splits(data: Data, kinds: Sequence[SplitKind], say: Say) -> Iterator[Split]:
    """Yield the splits of each kind: one, but of the kind `source` one for each source that is held out."""
    for kind in kinds:
        sources = list_sources([posting.source for posting in data.postings]) if kind == "source" else [None]
        yield from (Split(kind, source) for source in sources)
        if not sources:
            say(f"source split: no rows can be held out: {explain_no_holdout_of_sources()}; left out")


def _measure_split(data: Data, options: TrainOptions, split: Split, say: Say) -> Trial | None:
    own = options if split.kind == "source" else replace(options, split=split.kind)
    run = measure(data, own, refit=True, source=split.source)
    if run is None:
        why = explain_no_holdout_of_sources() if split.kind == "source" else explain_no_holdout(own)
        say(f"{split.name} split: no rows can be held out: {why}; left out")
    return run


def _judge(
    data: Data, options: TrainOptions, runs: Mapping[Split, Trial], judged: Sequence[JudgedTitles], say: Say
) -> list[Figures]:
    """Return the figures of judged postings under the model that `train` would publish with these options."""
    trial = runs.get(Split(options.split)) or measure(data, options)
    if trial is None:
        say(f"judged postings: the model is not calibrated, so it accepts nothing: {explain_no_holdout(options)}")
    model = fit_on_all_rows(data, options, trial.calibrated if trial else None)
    return measure_judged(model, judged, seed=options.seed)


def _make_rows(split: Split, run: Trial, fit: FitOptions) -> Iterator[Figures]:
    """Yield the figures of the model and, if it looks at bodies, those of its title parts and of its body part alone.

    Only the whole model has judged the reject examples, so the other two have no figures of them.
    """
    yield _make_row(OWN_NAME[fit.kind], split, run, fit)
    if run.model.encoders.body is not None:
        without_body = run.model.drop_body()
        for view, answers in (("title", predict(without_body, run.tested)), ("body", predict_from_body(run.model, run.tested))):
            yield _make_row(f"{OWN_NAME[fit.kind]}, {view} alone", split, replace(run, predictions=answers, rejected={}), fit)


def _compare_methods(
    data: Data,
    options: TrainOptions,
    splits: Sequence[Split],
    say: Say,
    *,
    names: Sequence[str] = tuple(METHODS),
    note: str = "",
) -> Iterator[Figures]:
    for split in splits:
        for name in names:
            fit = replace(METHODS[name], seed=options.fit.seed, accept_precision=options.fit.accept_precision)
            run = _measure_split(data, replace(options, fit=fit), split, say)
            if run:
                yield _make_row(name + note, split, run, fit)


def _average_sources(rows: Sequence[Figures], runs: Iterable[Split]) -> Iterator[Figures]:
    """Yield for each method the mean of its figures over the sources that were held out, each source counted once."""
    names = {split.name for split in runs if split.kind == "source"}
    of_sources = [row for row in rows if row["split"] in names]
    for method in dict.fromkeys(row["method"] for row in of_sources):
        own = [row for row in of_sources if row["method"] == method]
        figures = [name for name, value in own[0].items() if isinstance(value, float) and all(name in row for row in own)]
        means = {name: round(statistics.mean(row[name] for row in own), 4) for name in figures}
        yield {"method": method, "split": f"source, mean of {len(own)}", **means}


def _list_figures(run: Trial, *, seed: int, precision: float) -> Figures:
    return {**compute_figures(run.predictions, seed=seed, precision=precision), "summary": run.summary(precision)}


def _make_row(name: str, split: Split, run: Trial, fit: FitOptions) -> Figures:
    return {
        "method": name,
        "split": split.name,
        **run.summary(fit.accept_precision),
        "intervals": bootstrap_intervals(run.predictions, fit.seed),
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


def _list_times(runs: Mapping[str, Trial], total: float) -> dict[str, float]:
    times = {f"training and calibrating, {name}": run.fit_seconds for name, run in runs.items()}
    times |= {f"scoring {run.predictions.rows:,} held-out titles, {name}": run.score_seconds for name, run in runs.items()}
    return {**times, "all of it": total}
