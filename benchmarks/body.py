"""Accuracy by title, by body and by both, without labelled bodies: on made-up bodies of task statements, and on real bodies.

Two of three labelled postings are given a body: some task statements of their occupation among sentences of other people's real
postings. The trainer gets the other half of the task statements, so that no sentence of a code is on both sides. The model is
also measured on real bodies from `--stream`, those whose titles O*NET lists under one occupation only. That occupation is a
silver label, which the body's part of the model never saw. `occustream-trainer evaluate` tells what bodies are worth on your
postings.

    python -m benchmarks.body --postings labelled.csv --onet db_29_3_text/ --stream postings.jsonl [--seeds 2]
"""

import argparse
import csv
import json
import random
import re
import shutil
import statistics
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.machine import print_result
from schemas.text import body_text, clean_title, plain_text, title_key
from trainer.data.onet import TASKS, list_release_files
from trainer.fit.category_embeddings import EmbeddedRows
from trainer.fit.inputs import Titles
from trainer.measure.figures import Figures, summary
from trainer.measure.holdout import Trial, measure
from trainer.measure.predict import predict, predict_from_body
from trainer.options import TrainOptions
from trainer.prepare import Data, prepare

SHOWN = ("top_1", "top_3", "top_5", "macro_top_1", "ece", "accept_share", "accept_precision")
SENTENCE = re.compile(r"(?<=[.!?])\s+")
TASKS_A_BODY, SENTENCES_A_BODY = 4, 8


def main() -> None:
    """Measure, print a table on standard error and one JSON line."""
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure_views(options, Path(folder))
    for name, values in figures.items():
        print(name, values, file=sys.stderr)
    print_result("body", seeds=options.seeds, first_seed=options.first_seed, figures=figures)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--postings", required=True, help="labelled postings, CSV")
    parser.add_argument("--onet", type=Path, required=True, help="O*NET text release, with its task statements")
    parser.add_argument("--stream", type=Path, required=True, help="postings with real bodies, JSONL")
    parser.add_argument("--cache", type=Path, help="where title embeddings are kept for the next run")
    parser.add_argument("--seeds", type=int, default=2, help="splits per kind (2)")
    parser.add_argument("--first-seed", type=int, default=20, help="(20: lower ones were looked at while building)")
    return parser


def measure_views(options: argparse.Namespace, work: Path) -> dict[str, Figures]:
    """Return the figures of each view (title, body, both) on each kind of split, and of the body alone on real bodies."""
    stream = [json.loads(line) for line in options.stream.read_text(encoding="utf-8").splitlines()]
    release, tasks = split_tasks(options.onet, work / "onet")
    write_with_bodies(Path(options.postings), tasks, filler_sentences(stream), work / "postings.csv")
    base = TrainOptions(postings=[str(work / "postings.csv")], onet=release, registry=work, cache=options.cache)
    (work / "encoders").mkdir()
    data = prepare(base, work / "encoders", lambda line: print(line, file=sys.stderr))
    figures: dict[str, Figures] = {}
    silver: list[Figures] = []
    for kind in ("random", "title"):
        runs = []
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            if trial := measure(data, replace(base, split=kind, seed=seed), refit=True):
                runs.append(figures_by_view(trial))
                silver.append(measure_real_bodies(trial, data, stream))
        figures |= {f"{kind}/{view}": mean_figures([run[view] for run in runs]) for view in runs[0]}
    return figures | {"real bodies/body alone": mean_figures(silver)}


def split_tasks(release: Path, target: Path) -> tuple[Path, dict[str, list[str]]]:
    """Copy a release with every second task statement of each code; return its folder, and the others by code."""
    target.mkdir()
    for path in list_release_files(release):
        if path.name != TASKS:
            shutil.copyfile(path, target / path.name)
    header, *lines = (release / TASKS).read_text(encoding="utf-8").splitlines()
    kept, held = [header], defaultdict[str, list[str]](list)
    turns: Counter[str] = Counter()
    for line in lines:
        code, _number, task = line.split("\t")[:3]
        if turns[code] % 2:
            held[code].append(task)
        else:
            kept.append(line)
        turns[code] += 1
    (target / TASKS).write_text("\n".join(kept) + "\n", encoding="utf-8")
    return target, held


def filler_sentences(stream: Sequence[dict[str, str]]) -> list[str]:
    """Return the sentences of real bodies that are neither very short nor very long."""
    sentences = [part for row in stream for part in SENTENCE.split(body_text(row["BODY"]))]
    return [sentence for sentence in sentences if 30 <= len(sentence) <= 300]  # noqa: PLR2004 - characters


def write_with_bodies(postings: Path, tasks: dict[str, list[str]], sentences: Sequence[str], target: Path) -> None:
    """Write the postings, two of three with a body of some of `tasks` among `sentences`."""
    rng = random.Random(0)  # noqa: S311 - made-up bodies
    with postings.open(encoding="utf-8", newline="") as source, target.open("w", encoding="utf-8", newline="") as out:
        rows = csv.DictReader(source)
        writer = csv.DictWriter(out, rows.fieldnames or [])
        writer.writeheader()
        for number, row in enumerate(rows):
            known = tasks.get(row["ONET"], [])
            if known and number % 3:
                parts = rng.sample(known, min(len(known), TASKS_A_BODY)) + rng.sample(list(sentences), SENTENCES_A_BODY)
                rng.shuffle(parts)
                row["BODY"] = " ".join(parts)
            writer.writerow(row)


def figures_by_view(trial: Trial) -> dict[str, Figures]:
    """Return the figures of title, body and both on the measured postings that have a body."""
    mask = torch.tensor([bool(body) for body in trial.tested.bodies])
    asked = trial.tested.select(mask)
    without = trial.model.drop_body()
    found = {
        "title": predict(without, asked),
        "body": predict_from_body(trial.model, asked),
        "both": predict(trial.model, asked),
    }
    return {view: summary(p) | {"body_weight": trial.model.mix.body_weight} for view, p in found.items()}


def measure_real_bodies(trial: Trial, data: Data, stream: Sequence[dict[str, str]]) -> Figures:
    """Return the figures of the body's part on real bodies of titles that O*NET lists under one occupation only."""
    labels_of: dict[str, set[int]] = defaultdict(set)
    for title, label in zip(data.inputs.onet.clean, data.inputs.onet.rows.labels.tolist(), strict=True):
        labels_of[title_key(title)].add(label)
    keys = [title_key(clean_title(row["TITLE_RAW"])) for row in stream]
    rows = [(row, labels_of[key]) for row, key in zip(stream, keys, strict=True) if len(labels_of.get(key, ())) == 1]
    encoder = data.inputs.encoder
    clean = [row["TITLE_RAW"] for row, _ in rows]
    labels = torch.tensor([next(iter(only)) for _, only in rows])
    titles = Titles(
        clean,
        [plain_text(title) for title in clean],
        EmbeddedRows(encoder.encode(clean).cpu(), labels, torch.ones(len(labels))),
        encoder.ref.sha256,
        [body_text(row["BODY"]) for row, _ in rows],
    )
    return summary(predict_from_body(trial.model, titles))


def mean_figures(figures: Sequence[Figures]) -> Figures:
    """Return the mean of each figure, and the rows of all."""
    shown = (*SHOWN, "body_weight")
    found = {
        name: round(statistics.mean(run[name] for run in figures), 4) for name in shown if all(name in run for run in figures)
    }
    return {"rows": sum(run["rows"] for run in figures), **found}


if __name__ == "__main__":
    main()
