"""The flags of `occustream-trainer`'s commands. Nothing here imports PyTorch: help need not wait seconds for it."""

import argparse
from typing import get_args

from consumer.model.encoder_folder import DEFAULT_ENCODER
from consumer.model.serving_options import Part, Precision
from trainer.cli import argument_types as arguments
from trainer.cli.serve_flags import add_serve_flags
from trainer.data.labels import UNCLASSIFIED, Unclassified
from trainer.data.packaged import STARTER
from trainer.measure.split import SplitKind
from trainer.options import EncoderKind, Method

WITHOUT: dict[EncoderKind, tuple[Part, ...]] = {"given": (), "static": ("exemplars",), "finetuned": ()}
"""The parts that a model lacks unless told otherwise."""
EVALUATE = """Hold out postings in several ways, train without them, and say how good the model is: all figures as JSON, or as
a page. Nothing is published."""
EVALUATE_EPILOG = """\
Is another encoder better on your data? Measure each on the same splits (same --seed), then 'train' with the best.
--encoder takes a folder, or a name on the Hugging Face hub, which is downloaded once:
  occustream-trainer evaluate --postings labelled.csv --onet db_29_3_text/ --json minilm.json
  occustream-trainer evaluate --postings labelled.csv --onet db_29_3_text/ --json bge.json --encoder BAAI/bge-small-en-v1.5
  occustream-trainer evaluate --postings labelled.csv --onet db_29_3_text/ --json many.json \\
    --encoder sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2
  occustream-trainer evaluate --postings labelled.csv --onet db_29_3_text/ --json ours.json --encoder models/our-encoder/
A difference that lies within both 'intervals' may be chance; other seeds tell."""


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser; `run` of what it parses names the command, see `trainer.cli.commands`."""
    made = argparse.ArgumentParser(
        prog="occustream-trainer", description="Train category embeddings from labelled postings and publish them to consumers."
    )
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    _add_train(commands.add_parser("train", help="train, evaluate and publish a model version"), kind="given")
    _add_train(commands.add_parser("distill", help="the same with a static encoder, for users without a GPU"), kind="static")
    _add_evaluate(
        commands.add_parser("evaluate", help="measure on random, title-grouped and time-ordered splits; publish nothing")
    )
    report = commands.add_parser("report", help="make the HTML report of an earlier evaluation's JSON file")
    report.add_argument("figures", type=arguments.path, metavar="JSON", help="what evaluate --json wrote")
    report.add_argument("--output", type=arguments.path, required=True, metavar="HTML", help="the file to write")
    report.set_defaults(run="report")
    _add_serve(commands.add_parser("serve", help="refresh the model whenever there is a reason to, behind a gate"))
    vectors = commands.add_parser("export", help="write a version's vectors as Parquet, and as a FAISS index, for other systems")
    vectors.add_argument("--registry", type=arguments.path, required=True, metavar="DIR", help="folder of model versions")
    vectors.add_argument("--version", metavar="VERSION", help="which (the one in service)")
    vectors.add_argument("--output", type=arguments.path, required=True, metavar="DIR", help="the folder to write to")
    vectors.set_defaults(run="export")
    for name, text in (
        ("list", "show the model versions and which is in service"),
        ("promote", "put a version in service; running consumers take it up within seconds"),
        ("rollback", "put the version before the current one back in service"),
    ):
        _add_command(commands, name, text)
    return made


def _add_command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    text: str,
) -> None:
    command = commands.add_parser(name, help=text, description=text)
    if name == "promote":
        command.add_argument("version", metavar="VERSION")
    command.add_argument("--registry", type=arguments.path, required=True, metavar="DIR", help="folder of model versions")
    command.set_defaults(run=name)


def _add_serve(parser: argparse.ArgumentParser) -> None:
    _add_fit(parser, kind="given", rounds=1)
    parser.add_argument("--registry", type=arguments.path, required=True, metavar="DIR", help="folder of model versions")
    add_serve_flags(parser)
    parser.set_defaults(run="serve", kind="given")


def _add_train(parser: argparse.ArgumentParser, *, kind: EncoderKind) -> None:
    parser.set_defaults(run="train", kind=kind)
    parser.description = (
        ""
        if kind == "given"
        else (
            "Distil the encoder into one vector per token, trained together with the categories: some 20 times faster on a CPU. "
            "The artifact is one like any other; by default it holds no exemplars, whose search would cost most of that. "
        )
    )
    parser.description += (
        "Read labelled postings (columns ID, POSTED, TITLE_RAW, BODY, ONET_NAME, ONET or their usual other names; CSV, TSV, "
        "JSONL or Parquet), embed each distinct title once, train, measure on held-out rows, fit on all rows, publish. "
        "The last line of standard output is one JSON object."
    )
    _add_fit(parser, kind=kind)
    add = parser.add_argument
    add("--registry", type=arguments.path, required=True, metavar="DIR", help="folder of model versions")
    add("--split", choices=get_args(SplitKind), default="random", help="what is held out (random)")
    add("--cache", type=arguments.path, metavar="DIR", help="where title embeddings are kept for the next run (none)")
    add("--no-promote", dest="promote", action="store_false", help="publish without putting the version in service")


def _add_fit(parser: argparse.ArgumentParser, *, kind: EncoderKind, rounds: int = 2) -> None:
    add = parser.add_argument
    add(
        "--postings",
        nargs="+",
        type=arguments.name,
        required=True,
        metavar="FILE",
        help=f"labelled postings; {STARTER!r} names the ones built in",
    )
    add("--onet", type=arguments.path, metavar="DIR", help="text release of the O*NET database (default: codes and names only)")
    add(
        "--new-categories",
        action="store_true",
        help="codes outside the taxonomy, such as 15-9999.01, become categories where rows name them (off: left out)",
    )
    add(
        "--unclassified",
        choices=get_args(Unclassified),
        default="reject",
        help=f"rows labelled {UNCLASSIFIED!r} are examples of what not to accept, are left out, or are a category (reject)",
    )
    add("--method", choices=get_args(Method), default="softmax", help="how category embeddings are made (softmax)")
    add(
        "--without",
        nargs="*",
        choices=get_args(Part),
        default=list(WITHOUT[kind]),
        metavar="PART",
        help=f"parts to leave out: exemplars, line, known, body ({', '.join(WITHOUT[kind]) or 'none'})",
    )
    if kind == "given":
        add(
            "--finetune-encoder",
            type=arguments.path,
            metavar="DIR",
            help="first fine-tune the encoder, twice (minutes to hours); kept in DIR and resumed there when interrupted",
        )
        add("--finetune-epochs", type=arguments.positive, default=2, metavar="N", help="passes of fine-tuning (2)")
    else:
        parser.set_defaults(finetune_encoder=None)
    add("--max-exemplars", type=arguments.positive, default=50_000, metavar="N", help="known titles kept with a vector (50000)")
    add("--seed", type=arguments.seed, default=0, metavar="N", help="of splits, samples and fits (0)")
    add("--epochs", type=arguments.positive, metavar="N", help="passes over the rows (softmax 6, hinge 5)")
    add(
        "--rounds",
        type=arguments.rounds,
        default=rounds,
        metavar="N",
        help=f"fits to calibrate on, each without a part of its own of the rows ({rounds}; more: better calibrated, and slower)",
    )
    add("--holdout", type=arguments.share, default=0.2, metavar="SHARE", help="of the rows, held out to measure on (0.2)")
    add(
        "--accept-precision",
        type=arguments.share,
        default=0.9,
        metavar="SHARE",
        help="promised precision of the decision 'accept' (0.9)",
    )
    add("--onet-titles", type=arguments.positive, default=60, metavar="N", help="O*NET job titles used per category (60)")
    add(
        "--encoder",
        type=arguments.name,
        default=DEFAULT_ENCODER,
        metavar="NAME",
        help="a SentenceTransformer: folder or hub name (all-MiniLM-L6-v2)",
    )
    add("--max-seq-length", type=arguments.positive, default=128, metavar="N", help="word pieces of a title that count (128)")
    add("--device", type=arguments.name, default="auto", help="auto, cpu, cuda or cuda:N")
    add(
        "--precision",
        choices=get_args(Precision),
        default="auto",
        help="arithmetic of the encoder; auto: half where the hardware has it",
    )


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    _add_fit(parser, kind="given")
    parser.set_defaults(run="evaluate", kind="given")
    parser.description, parser.epilog = EVALUATE, EVALUATE_EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add(
        "--splits",
        nargs="+",
        choices=get_args(SplitKind),
        default=["random", "title", "time"],
        help="ways to hold out (random title time)",
    )
    add("--cache", type=arguments.path, metavar="DIR", help="where title embeddings are kept for the next run (none)")
    add("--compare", action="store_true", help="measure the methods side by side (some minutes more)")
    add("--json", type=arguments.path, metavar="FILE", help="write every figure there")
    add("--html", type=arguments.path, metavar="FILE", help="write the report there: one file, no network")
