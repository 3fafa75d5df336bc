"""The methods and parts side by side on held-out postings: random and title-grouped splits, one embedding of the titles for all.

Figures are means over the seeds. Each seed draws its own split: 20 % of the rows are measured on. Of the others two parts of
12 % choose weights and thresholds, each judged by a fit without it; then all 80 % train. Nothing is chosen on what is
reported. All go through the serving scorer. `raw` is without title cleaning; each further line adds one thing.

`ece_pooled` is the calibration error of the rows of all seeds together. That of a single split is mostly noise: `ece_chance` is
what a perfectly calibrated model would show on it if rows were independent, and rows of one title are not.

    python -m benchmarks.accuracy --postings labelled.csv --onet db_29_3_text/ [--seeds 3]
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.throughput import machine
from schemas.text import plain_text
from trainer.evaluate import METHODS
from trainer.measure.figures import summary
from trainer.measure.holdout import measure
from trainer.measure.predictions import Predictions
from trainer.options import TrainOptions
from trainer.prepare import prepare
from trainer.refresh.gate import chance_eces

SHOWN = ("top_1", "top_3", "top_5", "top_10", "macro_top_1", "ece", "ece_chance", "accept_share", "accept_precision")
NAMES = ("direct", "mean", "hinge", "softmax", "+ exemplars, known titles", "+ line", "static")
VARIANTS = dict(zip(NAMES, METHODS.values(), strict=True))
"""What `evaluate --compare` compares, under names short enough to type."""


def main() -> None:
    """Measure, print a table on standard error and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--postings", nargs="+", default=["starter"], help="labelled postings (default: the built-in ones)")
    parser.add_argument("--onet", type=Path, help="O*NET text release")
    parser.add_argument("--onet-titles", type=int, default=60, help="O*NET job titles per category (60)")
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), help="which (all)")
    parser.add_argument("--raw", nargs="*", default=["hinge", "softmax", "+ line"], help="which also without cleaning")
    parser.add_argument("--splits", nargs="+", default=["random", "title"], help="which (all)")
    parser.add_argument("--cache", type=Path, help="where title embeddings are kept for the next run")
    parser.add_argument("--seeds", type=int, default=3, help="splits per kind (3)")
    parser.add_argument("--first-seed", type=int, default=20, help="(20: lower ones were looked at while building)")
    options = parser.parse_args()
    given = {name: getattr(options, name) for name in ("postings", "onet", "onet_titles", "cache")}
    base = TrainOptions(registry=Path("unused"), **given)
    figures: dict[str, dict[str, float]] = {}
    for cleaned, names in ((False, options.raw), (True, options.variants)):
        if not names:
            continue
        with tempfile.TemporaryDirectory() as work:
            report = {"clean_text": plain_text} if not cleaned else {}
            data = prepare(base, Path(work), lambda line: print(line, file=sys.stderr), **report)
            for kind in options.splits:
                for name in names:
                    started = time.monotonic()
                    chosen = [
                        replace(base, fit=VARIANTS[name], split=kind, seed=seed)
                        for seed in range(options.first_seed, options.first_seed + options.seeds)
                    ]
                    said = [run.predictions for each in chosen if (run := measure(data, each, refit=True))]
                    runs = [summary(p) | {"ece_chance": float(chance_eces(p.confidence.numpy()).mean())} for p in said]
                    seconds = (time.monotonic() - started) / options.seeds
                    means = {f: round(statistics.mean(run[f] for run in runs if f in run), 4) for f in SHOWN if f in runs[0]}
                    label = f"{kind}/{name}" if cleaned else f"{kind}/raw {name}"
                    figures[label] = {**means, "ece_pooled": summary(pooled(said))["ece"], "seconds": round(seconds, 1)}
                    print(label, figures[label], file=sys.stderr, flush=True)
    print(
        json.dumps(
            {"benchmark": "accuracy", "seeds": options.seeds, "first_seed": options.first_seed, "figures": figures, **machine()}
        )
    )


def pooled(said: Sequence[Predictions]) -> Predictions:
    """Return the rows of all splits as those of one."""
    return replace(
        said[0],
        probabilities=torch.cat([p.probabilities for p in said]),
        labels=torch.cat([p.labels for p in said]),
        decisions=[decision for p in said for decision in p.decisions],
        titles=[title for p in said for title in p.titles],
    )


if __name__ == "__main__":
    main()
