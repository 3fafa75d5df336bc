"""The training methods and parts of the model side by side on held-out postings, on random and on title-grouped splits.

Each figure is the mean over the seeds. Each seed draws its own split, and 20 % of the rows are measured on. Two parts of 12 % of
the other rows choose weights and thresholds, each judged by a fit without that part; then all 80 % train. No choice is made on
the measured rows. All variants go through the serving scorer and share one embedding of the titles. `raw` is without title
cleaning; each further line of the table adds one part.

`ece_pooled` is the calibration error of the rows of all seeds together. That of a single split is mostly noise: `ece_chance` is
what a perfectly calibrated model would show on it if rows were independent, and rows of one title are not.

With `--judged`, each variant and seed is also fitted on all rows, as `train` publishes it, and measured on judged postings.

    python -m benchmarks.accuracy --postings labelled.csv --onet db_29_3_text/ [--seeds 3] [--judged judged.jsonl]
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.machine import print_result
from schemas.text import plain_text
from trainer.data.judged import read_judged
from trainer.evaluate import METHODS
from trainer.final_fit import fit_on_all_rows
from trainer.measure.calibration_figures import draw_chance_errors
from trainer.measure.figures import Figures, summary
from trainer.measure.holdout import measure
from trainer.measure.judged import JudgedTitles, embed_judged, measure_judged
from trainer.measure.predictions import Predictions
from trainer.options import TrainOptions
from trainer.prepare import Data, prepare

SHOWN = ("top_1", "top_3", "top_5", "top_10", "macro_top_1", "ece", "ece_chance", "accept_share", "accept_precision")
NAMES = ("direct", "mean", "hinge", "softmax", "+ exemplars, known titles", "+ line", "+ role words", "static")
VARIANTS = dict(zip(NAMES, METHODS.values(), strict=True))
"""What `evaluate --compare` compares, under names short enough to type."""


def main() -> None:
    """Measure, print a table on standard error and one JSON line."""
    options = _parser().parse_args()
    figures: dict[str, Figures] = {}
    for cleaned, names in ((False, options.raw), (True, options.variants)):
        if names:
            figures |= compare_variants(options, names, cleaned=cleaned)
    splits, judged = ({label: found[part] for label, found in figures.items() if part in found} for part in ("split", "judged"))
    print_result("accuracy", seeds=options.seeds, first_seed=options.first_seed, figures=splits, judged=judged)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--postings", nargs="+", default=["starter"], help="labelled postings (default: the built-in ones)")
    parser.add_argument("--onet", type=Path, help="O*NET text release")
    parser.add_argument("--onet-titles", type=int, default=10_000, help="O*NET job titles per category (10,000: all)")
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), help="which to measure (all)")
    parser.add_argument("--raw", nargs="*", default=["hinge", "softmax", "+ role words"], help="which also uncleaned")
    parser.add_argument("--splits", nargs="+", default=["random", "title"], help="which kinds of split (all)")
    parser.add_argument("--judged", nargs="+", default=[], help="files of judged postings (none)")
    parser.add_argument("--cache", type=Path, help="where title embeddings are kept for the next run")
    parser.add_argument("--seeds", type=int, default=3, help="splits per kind (3)")
    parser.add_argument("--first-seed", type=int, default=20, help="(20: lower ones were looked at while building)")
    return parser


def compare_variants(options: argparse.Namespace, names: Sequence[str], *, cleaned: bool) -> dict[str, dict[str, Figures]]:
    """Return the figures of each variant by a label: on each kind of `split`, and on `judged` postings.

    Titles are `cleaned` or as posted.
    """
    given = {name: getattr(options, name) for name in ("postings", "onet", "onet_titles", "cache")}
    base = TrainOptions(registry=Path("unused"), **given)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    files = read_judged(options.judged)
    figures: dict[str, dict[str, Figures]] = {}
    with tempfile.TemporaryDirectory() as work:
        cleaning = {} if cleaned else {"clean_text": plain_text}
        data = prepare(base, Path(work), say, **cleaning)
        judged = embed_judged(files, data.inputs, base.cache, say, **cleaning)
        for name in names:
            variant = name if cleaned else f"raw {name}"
            runs = [replace(base, fit=VARIANTS[name], seed=seed) for seed in seeds]
            for kind in options.splits:
                found = {"split": measure_splits(data, [replace(run, split=kind) for run in runs])}
                figures[f"{kind}/{variant}"] = found
                print(f"{kind}/{variant}", found, file=sys.stderr, flush=True)
            if judged:
                found = {"judged": measure_judged_files(data, runs, judged)}
                figures[variant] = found
                print(variant, found, file=sys.stderr, flush=True)
    return figures


def measure_judged_files(data: Data, runs: Sequence[TrainOptions], judged: Sequence[JudgedTitles]) -> Figures:
    """Return the mean of each figure of judged postings over the runs, by file and set."""
    found: defaultdict[str, list[Figures]] = defaultdict(list)
    for run in runs:
        trial = measure(data, run)
        model = fit_on_all_rows(data, run, trial.calibrated if trial else None)
        for row in measure_judged(model, judged, seed=run.seed):
            found[f"{row['file']}/{row['set']}"].append(row)
    return {place: _average(rows) for place, rows in found.items()}


def _average(rows: Sequence[Figures]) -> Figures:
    """Return the mean of each number over the rows that have it."""
    names = dict.fromkeys(name for row in rows for name, value in row.items() if isinstance(value, int | float))
    return {name: round(statistics.mean(row[name] for row in rows if name in row), 4) for name in names}


def measure_splits(data: Data, splits: Sequence[TrainOptions]) -> Figures:
    """Return the mean of each figure over the splits, the pooled calibration error, and the seconds per split."""
    started = time.monotonic()
    found = [trial.predictions for split in splits if (trial := measure(data, split, refit=True))]
    runs = [summary(p) | {"ece_chance": float(draw_chance_errors(p.confidence.numpy()).mean())} for p in found]
    seconds = (time.monotonic() - started) / len(splits)
    means = {name: round(statistics.mean(run[name] for run in runs if name in run), 4) for name in SHOWN if name in runs[0]}
    return {**means, "ece_pooled": summary(pool_predictions(found))["ece"], "seconds": round(seconds, 1)}


def say(line: str) -> None:
    """Report progress on standard error."""
    print(line, file=sys.stderr)


def pool_predictions(splits: Sequence[Predictions]) -> Predictions:
    """Return the rows of all splits as those of one."""
    return replace(
        splits[0],
        probabilities=torch.cat([p.probabilities for p in splits]),
        labels=torch.cat([p.labels for p in splits]),
        decisions=[decision for p in splits for decision in p.decisions],
        titles=[title for p in splits for title in p.titles],
    )


if __name__ == "__main__":
    main()
