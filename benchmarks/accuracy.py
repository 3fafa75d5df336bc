"""The training methods and parts of the model side by side on held-out postings, on random and on title-grouped splits.

Each figure is the mean over the seeds. Each seed draws its own split, and 20 % of the rows are measured on. Two parts of 12 % of
the other rows choose weights and thresholds, each judged by a fit without that part; then all 80 % train. No choice is made on
the measured rows. All variants go through the serving scorer and share one embedding of the titles. `raw` is without title
cleaning; each further line of the table adds one part.

`ece_pooled` is the calibration error of the rows of all seeds together. That of a single split is mostly noise: `ece_chance` is
what a perfectly calibrated model would show on it if rows were independent, and rows of one title are not.

    python -m benchmarks.accuracy --postings labelled.csv --onet db_29_3_text/ [--seeds 3]
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.machine import print_result
from schemas.text import plain_text
from trainer.evaluate import METHODS
from trainer.measure.figures import Figures, summary
from trainer.measure.holdout import measure
from trainer.measure.predictions import Predictions
from trainer.options import TrainOptions
from trainer.prepare import Data, prepare
from trainer.refresh.gate import chance_eces

SHOWN = ("top_1", "top_3", "top_5", "top_10", "macro_top_1", "ece", "ece_chance", "accept_share", "accept_precision")
NAMES = ("direct", "mean", "hinge", "softmax", "+ exemplars, known titles", "+ line", "static")
VARIANTS = dict(zip(NAMES, METHODS.values(), strict=True))
"""What `evaluate --compare` compares, under names short enough to type."""


def main() -> None:
    """Measure, print a table on standard error and one JSON line."""
    options = _parser().parse_args()
    figures: dict[str, Figures] = {}
    for cleaned, names in ((False, options.raw), (True, options.variants)):
        if names:
            figures |= compare_variants(options, names, cleaned=cleaned)
    print_result("accuracy", seeds=options.seeds, first_seed=options.first_seed, figures=figures)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--postings", nargs="+", default=["starter"], help="labelled postings (default: the built-in ones)")
    parser.add_argument("--onet", type=Path, help="O*NET text release")
    parser.add_argument("--onet-titles", type=int, default=60, help="O*NET job titles per category (60)")
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), help="which to measure (all)")
    parser.add_argument("--raw", nargs="*", default=["hinge", "softmax", "+ line"], help="which also without title cleaning")
    parser.add_argument("--splits", nargs="+", default=["random", "title"], help="which kinds of split (all)")
    parser.add_argument("--cache", type=Path, help="where title embeddings are kept for the next run")
    parser.add_argument("--seeds", type=int, default=3, help="splits per kind (3)")
    parser.add_argument("--first-seed", type=int, default=20, help="(20: lower ones were looked at while building)")
    return parser


def compare_variants(options: argparse.Namespace, names: Sequence[str], *, cleaned: bool) -> dict[str, Figures]:
    """Return the figures of each variant on each kind of split, by a label of both; titles are `cleaned` or as posted."""
    given = {name: getattr(options, name) for name in ("postings", "onet", "onet_titles", "cache")}
    base = TrainOptions(registry=Path("unused"), **given)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    figures: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory() as work:
        cleaning = {} if cleaned else {"clean_text": plain_text}
        data = prepare(base, Path(work), lambda line: print(line, file=sys.stderr), **cleaning)
        for kind in options.splits:
            for name in names:
                label = f"{kind}/{name}" if cleaned else f"{kind}/raw {name}"
                figures[label] = measure_splits(data, [replace(base, fit=VARIANTS[name], split=kind, seed=s) for s in seeds])
                print(label, figures[label], file=sys.stderr, flush=True)
    return figures


def measure_splits(data: Data, splits: Sequence[TrainOptions]) -> Figures:
    """Return the mean of each figure over the splits, the pooled calibration error, and the seconds per split."""
    started = time.monotonic()
    found = [trial.predictions for split in splits if (trial := measure(data, split, refit=True))]
    runs = [summary(p) | {"ece_chance": float(chance_eces(p.confidence.numpy()).mean())} for p in found]
    seconds = (time.monotonic() - started) / len(splits)
    means = {name: round(statistics.mean(run[name] for run in runs if name in run), 4) for name in SHOWN if name in runs[0]}
    return {**means, "ece_pooled": summary(pool_predictions(found))["ece"], "seconds": round(seconds, 1)}


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
