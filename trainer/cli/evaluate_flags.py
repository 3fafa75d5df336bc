"""The flags of `occustream-trainer evaluate`, and its help."""

import argparse
from typing import get_args

from trainer.cli.argument_types import parse_name, parse_path
from trainer.measure.split import SplitKind

DESCRIPTION = """\
Measure how good a model is: hold out postings in several ways, train without them, and compare the model's answers with their
labels. All figures can be written as JSON and as a page. Nothing is published."""
EPILOG = """\
Is another encoder better on your data? Measure each of them on the same splits (same --seed), then 'train' with the best.
--encoder takes a folder, or a name on the Hugging Face hub, which is downloaded once:
  occustream-trainer evaluate --postings labelled.csv --onet db_29_3_text/ --json minilm.json
  occustream-trainer evaluate --postings labelled.csv --onet db_29_3_text/ --json bge.json --encoder BAAI/bge-small-en-v1.5
  occustream-trainer evaluate --postings labelled.csv --onet db_29_3_text/ --json many.json \\
    --encoder sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2
  occustream-trainer evaluate --postings labelled.csv --onet db_29_3_text/ --json ours.json --encoder models/our-encoder/
A difference that lies within both 'intervals' may be chance. Repeat the measurement with other seeds to find out."""


def add_evaluate_flags(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the flags of `evaluate` beyond those of `train`."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add(
        "--splits",
        nargs="+",
        choices=get_args(SplitKind),
        default=["random", "title", "time"],
        help="ways to hold rows out (random title time)",
    )
    add(
        "--judged",
        nargs="+",
        type=parse_name,
        default=[],
        metavar="FILE",
        help="files of postings with every code that could be right, which the model of all rows is measured on, too",
    )
    add("--compare", action="store_true", help="also measure other methods, side by side (some minutes more)")
    add("--json", type=parse_path, metavar="FILE", help="write all figures to this file")
    add("--html", type=parse_path, metavar="FILE", help="write the report to this file: one page that needs no network")
