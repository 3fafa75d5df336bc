"""`occustream-trainer`: the command line of the trainer."""

import argparse
import json
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar, get_args

from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from consumer.encoder_files import DEFAULT_ENCODER
from consumer.errors import ConfigError, OccustreamError, RegistryError
from consumer.registry import FolderRegistry
from consumer.switches import Part, Precision
from schemas.artifact import Manifest
from schemas.tables import TableError
from trainer.data import TrainOptions
from trainer.datasets import STARTER
from trainer.encoders import Finetuning
from trainer.evaluate import DESCRIPTION, EPILOG, evaluate
from trainer.export import export
from trainer.labels import UNCLASSIFIED, Unclassified
from trainer.options import EncoderKind, FitOptions, Method
from trainer.report import dump, load, write_report
from trainer.serve import add_serve_flags, serve
from trainer.split import SplitKind
from trainer.train import train

Number = TypeVar("Number", int, float)
WITHOUT: dict[EncoderKind, tuple[Part, ...]] = {"given": (), "static": ("exemplars",), "finetuned": ()}
MAX_ROUNDS = 20
MAX_SEED = 2**63
"""What a generator of torch's can be seeded with is less."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0 done, 1 failed, 2 wrong use, 3 rejected (`serve --once`)."""
    options = _parser().parse_args(arguments)
    options.command = shlex.join(["occustream-trainer", *(sys.argv[1:] if arguments is None else arguments)])
    try:
        status: int | None = options.run(options)
    except ConfigError as error:
        print(f"occustream-trainer: {error}", file=sys.stderr)
        return 2
    except (OccustreamError, TableError) as error:
        print(f"occustream-trainer: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("occustream-trainer: interrupted; 'list' shows what is published", file=sys.stderr)
        return 130
    except Exception:
        traceback.print_exc()
        print("occustream-trainer: unexpected error, see above; 'list' shows what is published", file=sys.stderr)
        return 1
    return status or 0


def _serve(options: argparse.Namespace) -> int:
    return serve(options, _train_options(options))


def _train(options: argparse.Namespace) -> None:
    print(json.dumps(train(_train_options(options), _say)))


def _train_options(options: argparse.Namespace) -> TrainOptions:
    given = vars(options)
    parts = frozenset(get_args(Part)) - frozenset(options.without or ()) if options.method == "softmax" else frozenset[Part]()
    if options.finetune_encoder and options.finetune_encoder.exists() and not options.finetune_encoder.is_dir():
        raise ConfigError(f"--finetune-encoder {options.finetune_encoder} is a file; name a folder")
    tuning = Finetuning(options.finetune_encoder, options.finetune_epochs) if options.finetune_encoder else None
    known = {name: given[name] for name in FitOptions.__dataclass_fields__ if name in given}
    fit = FitOptions(**{**known, "kind": "finetuned" if tuning else options.kind}, parts=parts, finetune=tuning)
    chosen = {name: given[name] for name in TrainOptions.__dataclass_fields__ if name in given and name != "fit"}
    return TrainOptions(**{"registry": Path(), **chosen}, fit=fit)


def _evaluate(options: argparse.Namespace) -> None:
    outputs = {path: write for path, write in ((options.json, dump), (options.html, write_report)) if path}
    for path in outputs:
        _check_output(path)
    chosen = _train_options(options)
    content = evaluate(chosen, options.splits, _say, compare=options.compare, command=options.command)
    shown = {name: {**figures["summary"], "intervals": figures["intervals"]} for name, figures in content.splits.items()}
    print(json.dumps({"splits": shown, "methods": content.methods}))
    for path, write in outputs.items():
        try:
            write(path, content)
        except OSError as error:
            raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from error


def _check_output(path: Path) -> None:
    """Raise ConfigError if nothing can be written to this name: asked before minutes of work, not after."""
    if not path.parent.is_dir():
        raise ConfigError(f"{path} cannot be written: there is no folder {path.parent}")
    if path.is_dir():
        raise ConfigError(f"{path} cannot be written: it is a folder; name a file")
    if not os.access(path.parent, os.W_OK):
        raise ConfigError(f"{path} cannot be written: no permission in {path.parent}")


def _report(options: argparse.Namespace) -> None:
    try:
        write_report(options.output, load(options.figures))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ConfigError(
            f"no report of {options.figures}: it is none that 'evaluate --json' wrote: {place}: {first['msg']}"
        ) from error
    except (OSError, ValueError, TypeError, AttributeError, LookupError) as error:
        raise ConfigError(f"no report of {options.figures}: {str(error).splitlines()[0]}") from error


def _export(options: argparse.Namespace) -> None:
    registry = _existing(options)
    version = options.version or registry.current()
    if version is None:
        raise ConfigError(f"{options.registry} has no version in service; name one with --version, or train")
    export(registry.load(version), options.output, _say)


def _existing(options: argparse.Namespace) -> FolderRegistry:
    """Return the registry; only training makes a new one. Raises RegistryError."""
    if not options.registry.is_dir():
        raise RegistryError(f"there is no folder {options.registry}; 'occustream-trainer train' makes a registry")
    return FolderRegistry(options.registry)


def _list(options: argparse.Namespace) -> int:
    registry = _existing(options)
    current, versions, unreadable = registry.current(), registry.versions(), registry.unreadable()
    for version, why in unreadable.items():
        _say(f"version {version}{' is in service and' if version == current else ''} cannot be read: {why}")
    if versions:
        _print_versions(versions, current)
    elif not unreadable:
        print(f"{options.registry} holds no model version; make one with 'occustream-trainer train'")
    return 1 if current in unreadable else 0


def _print_versions(versions: Sequence[Manifest], current: str | None) -> None:
    table = Table("", "version", "trained at", "method", "rows", "top-1", "top-5", "macro", "encoder")
    for manifest in versions:
        figures = [
            f"{manifest.metrics[name]:.3f}" if name in manifest.metrics else "-" for name in ("top_1", "top_5", "macro_top_1")
        ]
        table.add_row(
            "*" if manifest.version == current else "",
            manifest.version,
            f"{manifest.trained_at:%Y-%m-%d %H:%M:%S}",
            str(manifest.training.get("method", "-")),
            f"{manifest.training.get('rows', 0):,}",
            *figures,
            manifest.encoder.id,
        )
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    whole = any(manifest.version == current for manifest in versions)
    console.print("* in service" if whole else "no version that can be read is in service; promote one")


def _promote(options: argparse.Namespace) -> None:
    _existing(options).promote(options.version)
    print(f"version {options.version} is in service")


def _rollback(options: argparse.Namespace) -> None:
    print(f"version {_existing(options).rollback()} is in service again")


def _say(line: str) -> None:
    """Report progress where it does not mix with what a command puts out."""
    print(line, file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="occustream-trainer", description="Train category embeddings from labelled postings and publish them to consumers."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_train(commands.add_parser("train", help="train, evaluate and publish a model version"), kind="given")
    _add_train(commands.add_parser("distill", help="the same with a static encoder, for users without a GPU"), kind="static")
    _add_evaluate(
        commands.add_parser("evaluate", help="measure on random, title-grouped and time-ordered splits; publish nothing")
    )
    report = commands.add_parser("report", help="make the HTML report of an earlier evaluation's JSON file")
    report.add_argument("figures", type=_folder, metavar="JSON", help="what evaluate --json wrote")
    report.add_argument("--output", type=_folder, required=True, metavar="HTML", help="the file to write")
    report.set_defaults(run=_report)
    _add_serve(commands.add_parser("serve", help="refresh the model whenever there is a reason to, behind a gate"))
    vectors = commands.add_parser("export", help="write a version's vectors as Parquet, and as a FAISS index, for other systems")
    vectors.add_argument("--registry", type=_folder, required=True, metavar="DIR", help="folder of model versions")
    vectors.add_argument("--version", metavar="VERSION", help="which (the one in service)")
    vectors.add_argument("--output", type=_folder, required=True, metavar="DIR", help="the folder to write to")
    vectors.set_defaults(run=_export)
    for name, run, text in (
        ("list", _list, "show the model versions and which is in service"),
        ("promote", _promote, "put a version in service; running consumers take it up within seconds"),
        ("rollback", _rollback, "put the version before the current one back in service"),
    ):
        _add_command(commands, name, run, text)
    return parser


def _add_command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    run: Callable[[argparse.Namespace], int | None],
    text: str,
) -> None:
    command = commands.add_parser(name, help=text, description=text)
    if name == "promote":
        command.add_argument("version", metavar="VERSION")
    command.add_argument("--registry", type=_folder, required=True, metavar="DIR", help="folder of model versions")
    command.set_defaults(run=run)


def _add_serve(parser: argparse.ArgumentParser) -> None:
    _add_fit(parser, kind="given", rounds=1)
    parser.add_argument("--registry", type=_folder, required=True, metavar="DIR", help="folder of model versions")
    add_serve_flags(parser, positive=_positive, share=_share, folder=_folder)
    parser.set_defaults(run=_serve, kind="given")


def _add_train(parser: argparse.ArgumentParser, *, kind: EncoderKind) -> None:
    parser.set_defaults(run=_train, kind=kind)
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
    add("--registry", type=_folder, required=True, metavar="DIR", help="folder of model versions")
    add("--split", choices=get_args(SplitKind), default="random", help="what is held out (random)")
    add("--cache", type=_folder, metavar="DIR", help="where title embeddings are kept for the next run (none)")
    add("--no-promote", dest="promote", action="store_false", help="publish without putting the version in service")


def _add_fit(parser: argparse.ArgumentParser, *, kind: EncoderKind, rounds: int = 2) -> None:
    add = parser.add_argument
    add(
        "--postings",
        nargs="+",
        type=_text,
        required=True,
        metavar="FILE",
        help=f"labelled postings; {STARTER!r} names the ones built in",
    )
    add("--onet", type=_folder, metavar="DIR", help="text release of the O*NET database (default: codes and names only)")
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
            type=_folder,
            metavar="DIR",
            help="first fine-tune the encoder, twice (minutes to hours); kept in DIR and resumed there when interrupted",
        )
        add("--finetune-epochs", type=_positive, default=2, metavar="N", help="passes of fine-tuning (2)")
    else:
        parser.set_defaults(finetune_encoder=None)
    add("--max-exemplars", type=_positive, default=50_000, metavar="N", help="known titles kept with a vector (50000)")
    add("--seed", type=_seed, default=0, metavar="N", help="of splits, samples and fits (0)")
    add("--epochs", type=_positive, metavar="N", help="passes over the rows (softmax 6, hinge 5)")
    add(
        "--rounds",
        type=_rounds,
        default=rounds,
        metavar="N",
        help=f"fits to calibrate on, each without a part of its own of the rows ({rounds}; more: better calibrated, and slower)",
    )
    add("--holdout", type=_share, default=0.2, metavar="SHARE", help="of the rows, held out to measure on (0.2)")
    add("--accept-precision", type=_share, default=0.9, metavar="SHARE", help="promised precision of the decision 'accept' (0.9)")
    add("--onet-titles", type=_positive, default=60, metavar="N", help="O*NET job titles used per category (60)")
    add(
        "--encoder",
        type=_text,
        default=DEFAULT_ENCODER,
        metavar="NAME",
        help="a SentenceTransformer: folder or hub name (all-MiniLM-L6-v2)",
    )
    add("--max-seq-length", type=_positive, default=128, metavar="N", help="word pieces of a title that count (128)")
    add("--device", type=_text, default="auto", help="auto, cpu, cuda or cuda:N")
    add(
        "--precision",
        choices=get_args(Precision),
        default="auto",
        help="arithmetic of the encoder; auto: half where the hardware has it",
    )


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    _add_fit(parser, kind="given")
    parser.set_defaults(run=_evaluate, kind="given")
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add(
        "--splits",
        nargs="+",
        choices=get_args(SplitKind),
        default=["random", "title", "time"],
        help="ways to hold out (random title time)",
    )
    add("--cache", type=_folder, metavar="DIR", help="where title embeddings are kept for the next run (none)")
    add("--compare", action="store_true", help="measure the methods side by side (some minutes more)")
    add("--json", type=_folder, metavar="FILE", help="write every figure there")
    add("--html", type=_folder, metavar="FILE", help="write the report there: one file, no network")


def _positive(text: str) -> int:
    number = _parsed(int, text)
    if number is None or number < 1:
        raise argparse.ArgumentTypeError(f"a whole number, at least 1, not {text}")
    return number


def _seed(text: str) -> int:
    number = _parsed(int, text)
    if number is None or not 0 <= number < MAX_SEED:
        raise argparse.ArgumentTypeError(f"a whole number from 0 to 2^63 - 1, not {text}")
    return number


def _rounds(text: str) -> int:
    number = _positive(text)
    if number > MAX_ROUNDS:
        raise argparse.ArgumentTypeError(f"at most {MAX_ROUNDS}, not {text}: each is a fit, and they share the rows")
    return number


def _text(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("an empty name; is a variable unset?")
    return text


def _folder(text: str) -> Path:
    return Path(_text(text))


def _share(text: str) -> float:
    number = _parsed(float, text)
    if number is None or not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"a number between 0 and 1, not {text}")
    return number


def _parsed(kind: Callable[[str], Number], text: str) -> Number | None:
    try:
        return kind(text)
    except ValueError:
        return None


if __name__ == "__main__":
    sys.exit(main())
