"""The methods side by side on held-out postings: random and title-grouped splits, one embedding of the titles for all.

Figures are means over the seeds; each seed draws its own split and its own calibration part, and nothing is chosen on
what is reported. All go through the serving scorer.

    python benchmarks/accuracy.py --postings labelled.csv --onet db_29_3_text/ [--seeds 3]
"""

import argparse
import json
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import get_args

from throughput import machine

from trainer.split import SplitKind
from trainer.train import Method, TrainOptions, measure, prepare

SHOWN = ("top_1", "top_3", "top_5", "macro_top_1", "ece", "accept_share", "accept_precision")


def main() -> None:
    """Measure, print a table on standard error and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--postings", nargs="+", default=["starter"], help="labelled postings (default: the built-in ones)")
    parser.add_argument("--onet", type=Path, help="O*NET text release")
    parser.add_argument("--onet-titles", type=int, default=60, help="O*NET job titles per category (60)")
    parser.add_argument("--methods", nargs="+", default=list(reversed(get_args(Method))), help="which (all)")
    parser.add_argument("--splits", nargs="+", default=list(get_args(SplitKind)), help="which (all)")
    parser.add_argument("--seeds", type=int, default=3, help="splits per kind (3)")
    options = parser.parse_args()
    base = TrainOptions(postings=options.postings, onet=options.onet, registry=Path("unused"), onet_titles=options.onet_titles)
    data = prepare(base, lambda line: print(line, file=sys.stderr))
    figures: dict[str, dict[str, float]] = {}
    for kind in options.splits:
        for method in options.methods:
            started = time.monotonic()
            runs = [measure(data, replace(base, method=method, split=kind, seed=seed))[1] for seed in range(options.seeds)]
            seconds = (time.monotonic() - started) / options.seeds
            means = {
                name: round(statistics.mean(run[name] for run in runs if name in run), 3) for name in SHOWN if name in runs[0]
            }
            figures[f"{kind}/{method}"] = {**means, "seconds": round(seconds, 1)}
            print(kind, method, means, file=sys.stderr)
    print(json.dumps({"benchmark": "accuracy", "seeds": options.seeds, "figures": figures, **machine()}))


if __name__ == "__main__":
    main()
