"""The commands of `occustream-trainer` and their flags. Nothing here imports PyTorch, which would delay the help by seconds."""

import argparse
from typing import get_args

from consumer.model.encoder_folder import DEFAULT_ENCODER
from consumer.model.serving_options import Part, Precision
from trainer.cli.argument_types import (
    parse_language_codes,
    parse_name,
    parse_path,
    parse_positive,
    parse_rounds,
    parse_seed,
    parse_share,
    parse_weight,
)
from trainer.cli.evaluate_flags import add_evaluate_flags
from trainer.cli.serve_flags import add_serve_flags
from trainer.data.labels import UNCLASSIFIED, Unclassified
from trainer.data.onet_release import MIRROR_VARIABLE
from trainer.data.packaged import STARTER
from trainer.measure.split import DrawnSplit
from trainer.options import EncoderKind, Method

WITHOUT: dict[EncoderKind, tuple[Part, ...]] = {"given": (), "static": ("exemplars",), "finetuned": ()}
"""The parts that a model of each kind leaves out by default."""
TRAIN = """\
Read labelled postings (CSV, TSV, XLSX, JSONL or Parquet; columns ID, POSTED, TITLE_RAW, BODY, ONET_NAME, ONET or their usual
other names) and embed each distinct title once. Train, measure on held-out rows, fit on all rows, and publish. The last line of
standard output is one JSON object."""
DISTILL = """\
Distil the encoder into one vector per token, and train these vectors together with the categories: such a model is some 20
times faster on a CPU. Its artifact is used like any other. By default it holds no exemplars, because searching them would cost
most of that gain."""
REGISTRY_COMMANDS = {
    "list": "list the model versions and show which one is in service",
    "promote": "put a version in service; running consumers take it up within seconds",
    "rollback": "put the version before the current one back in service",
}


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line. `run` of the parsed options names the command, see `trainer.cli.commands`."""
    parser = argparse.ArgumentParser(
        prog="occustream-trainer", description="Train category embeddings from labelled postings and publish them to consumers."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_train(commands.add_parser("train", help="train, evaluate and publish a model version"), kind="given")
    _add_train(commands.add_parser("distill", help="train with a static encoder, for machines without a GPU"), kind="static")
    _add_evaluate(
        commands.add_parser("evaluate", help="measure on random, title-grouped and time-ordered splits; publish nothing")
    )
    _add_report(commands.add_parser("report", help="make the HTML report of an earlier evaluation's JSON file"))
    _add_serve(
        commands.add_parser("serve", help="refresh the model whenever there is a reason to, if a gate lets the new one pass")
    )
    _add_export(
        commands.add_parser("export", help="write a version's vectors as Parquet and as a FAISS index, for other systems")
    )
    for name, text in REGISTRY_COMMANDS.items():
        _add_registry_command(commands.add_parser(name, help=text, description=text), name)
    return parser


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("figures", type=parse_path, metavar="JSON", help="the file that evaluate --json wrote")
    parser.add_argument("--output", type=parse_path, required=True, metavar="HTML", help="the file to write")
    parser.set_defaults(run="report")


def _add_export(parser: argparse.ArgumentParser) -> None:
    _add_registry(parser)
    parser.add_argument("--version", metavar="VERSION", help="the version to export (the one in service)")
    parser.add_argument("--output", type=parse_path, required=True, metavar="DIR", help="the folder to write to")
    parser.set_defaults(run="export")


def _add_registry_command(parser: argparse.ArgumentParser, name: str) -> None:
    if name == "promote":
        parser.add_argument("version", metavar="VERSION")
    _add_registry(parser)
    parser.set_defaults(run=name)


def _add_registry(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--registry", type=parse_path, required=True, metavar="DIR", help="folder of model versions")


def _add_serve(parser: argparse.ArgumentParser) -> None:
    _add_fit(parser, kind="given", rounds=1, needs_postings=True)
    add_serve_flags(parser)
    parser.set_defaults(run="serve", kind="given")


def _add_cache(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cache", type=parse_path, metavar="DIR", help="folder that keeps title embeddings for the next run (none)"
    )


def _add_train(parser: argparse.ArgumentParser, *, kind: EncoderKind) -> None:
    parser.set_defaults(run="train", kind=kind)
    parser.description = f"{DISTILL} {TRAIN}" if kind == "static" else TRAIN
    _add_fit(parser, kind=kind)
    _add_registry(parser)
    parser.add_argument("--split", choices=get_args(DrawnSplit), default="random", help="how rows are held out (random)")
    _add_cache(parser)
    parser.add_argument(
        "--no-promote", dest="promote", action="store_false", help="publish the version, but do not put it in service"
    )


def _add_fit(parser: argparse.ArgumentParser, *, kind: EncoderKind, rounds: int = 2, needs_postings: bool = False) -> None:
    """Add the flags that all commands share that train."""
    _add_data(parser, needs_postings=needs_postings)
    _add_method(parser, kind)
    _add_holdout(parser, rounds)
    _add_encoder(parser)


def _add_data(parser: argparse.ArgumentParser, *, needs_postings: bool) -> None:
    add = parser.add_argument
    add(
        "--postings",
        nargs="+",
        type=parse_name,
        required=needs_postings,
        default=[],
        metavar="FILE",
        help=f"files of labelled postings; {STARTER!r} stands for the built-in ones"
        + ("" if needs_postings else " (none: a first model is trained on O*NET's job titles, see --onet)"),
    )
    add(
        "--onet",
        type=parse_name,
        metavar="DIR",
        help="the O*NET database in text form: its folder, or a version such as 31.0, which is downloaded once "
        "(default: built-in codes and names only)",
    )
    add(
        "--onet-mirror",
        type=parse_name,
        metavar="URL",
        help=f"URL or path of the archive, or of its folder, for --onet VERSION (${MIRROR_VARIABLE}, else its publisher)",
    )
    add(
        "--onet-titles",
        type=parse_positive,
        default=10_000,
        metavar="N",
        help="O*NET job titles that train a category, at most (10,000: all)",
    )
    add(
        "--new-categories",
        action="store_true",
        help="codes outside the taxonomy, such as 15-9999.01, become categories if rows name them (off: such rows are left out)",
    )
    add(
        "--unclassified",
        choices=get_args(Unclassified),
        default="reject",
        help=f"rows labelled {UNCLASSIFIED!r} are examples of what not to accept, are left out, or are a category (reject)",
    )
    add("--source-column", type=parse_name, metavar="NAME", help="the column that names the source of a row (SOURCE)")
    add(
        "--weight",
        dest="weights",
        nargs="+",
        action="extend",
        type=parse_weight,
        default=[],
        metavar="SOURCE=WEIGHT",
        help="how much a row of this source counts in every fit; 0 leaves its rows out (1)",
    )


def _add_method(parser: argparse.ArgumentParser, kind: EncoderKind) -> None:
    add = parser.add_argument
    add("--method", choices=get_args(Method), default="softmax", help="how category embeddings are trained (softmax)")
    add(
        "--without",
        nargs="*",
        choices=get_args(Part),
        default=list(WITHOUT[kind]),
        metavar="PART",
        help=f"parts to leave out: exemplars, line, known, head, body ({', '.join(WITHOUT[kind]) or 'none'})",
    )
    add("--max-exemplars", type=parse_positive, default=50_000, metavar="N", help="known titles kept with a vector (50000)")
    add("--seed", type=parse_seed, default=0, metavar="N", help="seed of splits, samples and fits (0)")
    add("--epochs", type=parse_positive, metavar="N", help="passes of training over the rows (softmax 6, hinge 5)")
    if kind != "given":
        parser.set_defaults(finetune_encoder=None)
        return
    add(
        "--finetune-encoder",
        type=parse_path,
        metavar="DIR",
        help="first fine-tune the encoder, twice (minutes to hours); DIR keeps the result, and an interrupted run goes on there",
    )
    add("--finetune-epochs", type=parse_positive, default=2, metavar="N", help="passes of fine-tuning over the rows (2)")


def _add_holdout(parser: argparse.ArgumentParser, rounds: int) -> None:
    add = parser.add_argument
    add(
        "--holdout", type=parse_share, default=0.2, metavar="SHARE", help="share of the rows that is held out to measure on (0.2)"
    )
    add(
        "--rounds",
        type=parse_rounds,
        default=rounds,
        metavar="N",
        help=f"fits to calibrate on, each without a part of the rows ({rounds}; more calibrate better, and take longer)",
    )
    add(
        "--accept-precision",
        type=parse_share,
        default=0.9,
        metavar="SHARE",
        help="precision that the decision 'accept' promises (0.9)",
    )


def _add_encoder(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--encoder",
        type=parse_name,
        default=DEFAULT_ENCODER,
        metavar="NAME",
        help="a SentenceTransformer: a folder, or a name on the Hugging Face hub (all-MiniLM-L6-v2)",
    )
    add(
        "--languages",
        type=parse_language_codes,
        default=("auto",),
        metavar="CODES",
        help="languages that the model understands, e.g. en,de; or any; auto: en, or any where the encoder's name says it is "
        "multilingual (auto)",
    )
    add("--max-seq-length", type=parse_positive, default=128, metavar="N", help="word pieces of a title that are read (128)")
    add("--device", type=parse_name, default="auto", help="auto, cpu, cuda or cuda:N")
    add(
        "--precision",
        choices=get_args(Precision),
        default="auto",
        help="arithmetic of the encoder; auto: half precision if the hardware has it",
    )


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    _add_fit(parser, kind="given")
    _add_cache(parser)
    add_evaluate_flags(parser)
    parser.set_defaults(run="evaluate", kind="given")
