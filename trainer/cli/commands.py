"""Runs the commands of `occustream-trainer` with their parsed options."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from consumer.errors import ConfigError, RegistryError
from consumer.model.serving_options import Part
from consumer.registry.folder import FolderRegistry
from schemas.artifact import Manifest
from trainer.data.onet_release import find_release
from trainer.data.packaged import STARTER
from trainer.evaluate import evaluate
from trainer.export_vectors import export
from trainer.options import Finetuning, FitOptions, TrainOptions
from trainer.refresh.run import serve
from trainer.refresh.settings import load_serve_settings
from trainer.report.report import read_json, write_json, write_report
from trainer.train import train


def run_command(options: argparse.Namespace) -> int:
    """Run the command that was parsed; return the exit status. Raises OccustreamError, TableError."""
    return COMMANDS[options.run](options) or 0


def _serve(options: argparse.Namespace) -> int:
    settings = load_serve_settings(vars(options))
    return serve(settings, replace(_make_train_options(options), registry=settings.registry))


def _train(options: argparse.Namespace) -> None:
    print(json.dumps(train(_make_train_options(options), _say)))


def _make_train_options(options: argparse.Namespace) -> TrainOptions:
    given = vars(options)
    if not options.postings and not options.onet:
        raise ConfigError(
            f"nothing to learn from: give --postings FILE ({STARTER!r} stands for built-in ones), or --onet DIR for a first "
            "model without labelled postings"
        )
    parts = frozenset(get_args(Part)) - frozenset(options.without or ()) if options.method == "softmax" else frozenset[Part]()
    if options.finetune_encoder and options.finetune_encoder.exists() and not options.finetune_encoder.is_dir():
        raise ConfigError(f"--finetune-encoder {options.finetune_encoder} is a file; name a folder")
    tuning = Finetuning(options.finetune_encoder, options.finetune_epochs) if options.finetune_encoder else None
    known = {name: given[name] for name in FitOptions.__dataclass_fields__ if name in given}
    fit = FitOptions(**{**known, "kind": "finetuned" if tuning else options.kind}, parts=parts, finetune=tuning)
    chosen = {name: given[name] for name in TrainOptions.__dataclass_fields__ if name in given and name != "fit"}
    chosen["weights"] = dict(options.weights)
    if options.onet:
        chosen["onet"] = find_release(options.onet, options.onet_mirror, _say)
    return TrainOptions(**{"registry": Path(), **chosen}, fit=fit)


def _evaluate(options: argparse.Namespace) -> None:
    outputs = {path: write for path, write in ((options.json, write_json), (options.html, write_report)) if path}
    for path in outputs:
        _check_output(path)
    chosen = _make_train_options(options)
    report = evaluate(chosen, options.splits, _say, compare=options.compare, judged=options.judged, command=options.command)
    printed = {name: {**figures["summary"], "intervals": figures["intervals"]} for name, figures in report.splits.items()}
    print(json.dumps({"splits": printed, "methods": report.methods, "judged": report.judged}))
    for path, write in outputs.items():
        try:
            write(path, report)
        except OSError as error:
            raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from error


def _check_output(path: Path) -> None:
    """Raise ConfigError if this file cannot be written. Asked before minutes of work, not after."""
    if not path.parent.is_dir():
        raise ConfigError(f"{path} cannot be written: there is no folder {path.parent}")
    if path.is_dir():
        raise ConfigError(f"{path} cannot be written: it is a folder; name a file")
    if not os.access(path.parent, os.W_OK):
        raise ConfigError(f"{path} cannot be written: no permission in {path.parent}")


def _report(options: argparse.Namespace) -> None:
    try:
        write_report(options.output, read_json(options.figures))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ConfigError(
            f"no report of {options.figures}: 'evaluate --json' did not write this file: {place}: {first['msg']}"
        ) from error
    except (OSError, ValueError, TypeError, AttributeError, LookupError) as error:
        raise ConfigError(f"no report of {options.figures}: {str(error).splitlines()[0]}") from error


def _export(options: argparse.Namespace) -> None:
    registry = _open_registry(options)
    version = options.version or registry.read_current()
    if version is None:
        raise ConfigError(f"{options.registry} has no version in service; name one with --version, or train")
    export(registry.load(version), options.output, _say)


def _open_registry(options: argparse.Namespace) -> FolderRegistry:
    """Return the registry, which must exist: only training makes a new one. Raises RegistryError."""
    if not options.registry.is_dir():
        raise RegistryError(f"there is no folder {options.registry}; 'occustream-trainer train' makes a registry")
    return FolderRegistry(options.registry)


def _list(options: argparse.Namespace) -> int:
    registry = _open_registry(options)
    current, versions, unreadable = registry.read_current(), registry.list_versions(), registry.explain_unreadable()
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
    _open_registry(options).promote(options.version)
    print(f"version {options.version} is in service")


def _rollback(options: argparse.Namespace) -> None:
    print(f"version {_open_registry(options).roll_back()} is in service again")


def _say(line: str) -> None:
    """Report progress on standard error, so that it does not mix with the output of a command."""
    print(line, file=sys.stderr)


COMMANDS: dict[str, Callable[[argparse.Namespace], int | None]] = {
    "train": _train,
    "evaluate": _evaluate,
    "report": _report,
    "serve": _serve,
    "export": _export,
    "list": _list,
    "promote": _promote,
    "rollback": _rollback,
}
