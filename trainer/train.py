"""The training run, read from top to bottom: data -> embeddings -> figures on held-out rows -> final fit -> publish."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from consumer.encoder import DEFAULT_ENCODER, Encoder, Precision, load_encoder
from consumer.registry import FolderRegistry
from schemas.artifact import Calibration, Manifest
from schemas.events import LabelledPosting
from schemas.text import normalise_title
from trainer import methods
from trainer.datasets import Labelled, read_postings
from trainer.embed import TitleEmbeddings, progress_bar
from trainer.evaluate import accuracy, calibrate
from trainer.methods import Rows
from trainer.onet import Taxonomy, read_taxonomy
from trainer.publish import Model, golden_titles, make_manifest, make_scorer, publish
from trainer.split import SplitKind, held_out

Method = Literal["softmax", "hinge", "mean", "direct"]
Report = Callable[[str], None]

ONET_WEIGHT = 0.3
"""What a title of O*NET's counts beside a labelled posting; see docs/accuracy.md."""
UNCALIBRATED = Calibration(scale=20.0, accept_at=1.01, review_at=0.0)
"""Where no held-out row is left to calibrate on: every posting is for review."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """What to train on and how. `holdout` and `calibration` are shares of the labelled rows."""

    postings: Sequence[str]
    onet: Path | None
    registry: Path
    method: Method = "softmax"
    seed: int = 0
    encoder: str = DEFAULT_ENCODER
    device: str = "auto"
    precision: Precision = "auto"
    max_seq_length: int = 128
    onet_titles: int = 60
    epochs: int | None = None
    split: SplitKind = "random"
    holdout: float = 0.2
    calibration: float = 0.15
    accept_precision: float = 0.9
    promote: bool = True


@dataclass(frozen=True, slots=True)
class Data:
    """Everything a fit needs, embedded: `prior` and `names` are `(categories, dim)`, the rest rows of titles."""

    taxonomy: Taxonomy
    names: torch.Tensor
    prior: torch.Tensor
    onet: Rows


def train(options: TrainOptions, report: Report) -> dict[str, Any]:
    """Train, evaluate and publish a version; returns what the command prints.

    Raises TableError for data, EncoderError, RegistryError and ArtifactError for the rest, all before anything is published.
    """
    started = time.monotonic()
    taxonomy = read_taxonomy(options.onet)
    labelled = read_postings(options.postings, taxonomy.numbers)
    _report_data(labelled, taxonomy, report)
    registry = FolderRegistry(options.registry)
    registry.check_writable()

    encoder = load_encoder(
        options.encoder, device=options.device, max_seq_length=options.max_seq_length, precision=options.precision
    )
    onet_titles = _onet_titles(taxonomy, options)
    titles = [posting.title for posting in labelled.postings]
    names = [category.onet_title for category in taxonomy.categories]
    embeddings = TitleEmbeddings(encoder, [*titles, *names, *(title for title, _ in onet_titles)])
    labels = torch.tensor([taxonomy.numbers[posting.onet_code] for posting in labelled.postings])
    rows = Rows(embeddings.of(titles), labels, torch.ones(len(labels)))
    data = _data(taxonomy, embeddings, names, onet_titles)

    calibration, figures = _measure(rows, labelled.postings, data, encoder, options)
    report("held-out figures: " + (", ".join(f"{k} {v:.3f}" for k, v in figures.items()) or "none, too few rows to hold any out"))

    fitted = _fit(rows, data, options, "fitting on all rows")
    model = Model(taxonomy.categories, fitted, calibration, taxonomy.version)
    golden_labels = torch.cat((labels, torch.arange(len(names))))
    golden = golden_titles(model, [*titles, *names], torch.cat((rows.embeddings, data.names)), golden_labels)
    training = {**asdict(options), "rows": len(rows), "titles_embedded": len(embeddings), "onet_rows": len(data.onet)}
    manifest = make_manifest(model, encoder, golden=golden, training=_plain(training), metrics=figures)
    published = publish(registry, model, encoder, manifest, promote=options.promote)
    report(f"published version {published.version} to {options.registry}" + (", now in service" if options.promote else ""))
    return _summary(published, len(taxonomy.categories), len(rows), time.monotonic() - started)


def _measure(
    rows: Rows, postings: Sequence[LabelledPosting], data: Data, encoder: Encoder, options: TrainOptions
) -> tuple[Calibration, dict[str, float]]:
    """Fit without the held-out rows, calibrate on one part of them, measure on the other through the serving scorer."""
    codes = [posting.onet_code for posting in postings]
    keys = [normalise_title(posting.title) for posting in postings]
    tested = torch.tensor(held_out(codes, keys, share=options.holdout, seed=options.seed, kind=options.split))
    rest = (~tested).nonzero().flatten().tolist()
    chosen = held_out(
        [codes[i] for i in rest], [keys[i] for i in rest], share=options.calibration, seed=options.seed + 1, kind=options.split
    )
    calibrating = torch.zeros_like(tested)
    calibrating[[row for row, held in zip(rest, chosen, strict=True) if held]] = True
    if not bool(tested.any()) or not bool(calibrating.any()):
        return UNCALIBRATED, {}
    fitted = _fit(rows.where(~tested & ~calibrating), data, options, "fitting without held-out rows")
    part = rows.where(calibrating)
    calibration = calibrate(part.embeddings @ fitted.T, part.labels, precision=options.accept_precision)
    scorer = make_scorer(Model(data.taxonomy.categories, fitted, calibration, data.taxonomy.version), encoder)
    test_rows = tested.nonzero().flatten().tolist()
    figures = accuracy(scorer, [postings[i].title for i in test_rows], [codes[i] for i in test_rows])
    return calibration, {**figures, "held_out_rows": float(len(test_rows))}


def _fit(postings: Rows, data: Data, options: TrainOptions, what: str) -> torch.Tensor:
    """Return category embeddings `(categories, dim)` by the chosen method."""
    with progress_bar() as bar:
        task = bar.add_task(what, total=options.epochs or 1)

        def progress(epoch: int, epochs: int, loss: float) -> None:
            bar.update(task, completed=epoch, total=epochs, description=f"{what}, loss {loss:.3f}")

        tuning: dict[str, Any] = {"seed": options.seed, "progress": progress}
        if options.epochs is not None:
            tuning["epochs"] = options.epochs
        match options.method:
            case "direct":
                fitted = methods.direct(data.names)
            case "mean":
                fitted = methods.mean(postings, data.prior)
            case "hinge":
                fitted = methods.hinge(postings, len(data.names), **tuning)
                unseen = torch.bincount(postings.labels, minlength=len(data.names)) == 0
                fitted[unseen] = data.prior[unseen]  # its random start says nothing; its names do
            case "softmax":
                fitted = methods.softmax(postings.with_rows(data.onet), methods.mean(postings, data.prior), **tuning)
        bar.update(task, completed=bar.tasks[task].total)
    return fitted


def _data(taxonomy: Taxonomy, embeddings: TitleEmbeddings, names: Sequence[str], onet_titles: Sequence[tuple[str, int]]) -> Data:
    name_rows = embeddings.of(names)
    every = torch.cat((name_rows, embeddings.of([title for title, _ in onet_titles])))
    labels = torch.cat((torch.arange(len(names)), torch.tensor([number for _, number in onet_titles], dtype=torch.int64)))
    onet = Rows(every, labels, torch.full((len(labels),), ONET_WEIGHT))
    sums, _counts = methods.weighted_sums(onet, len(names))
    return Data(taxonomy, name_rows, torch.nn.functional.normalize(sums, dim=1), onet)


def _onet_titles(taxonomy: Taxonomy, options: TrainOptions) -> list[tuple[str, int]]:
    """Return O*NET's job titles with their category numbers: all reported and a seeded sample of the alternate ones."""
    rng = random.Random(options.seed)  # noqa: S311 - a sample, not a secret
    chosen = []
    for number, category in enumerate(taxonomy.categories):
        titles = taxonomy.titles.get(category.onet_code, ())
        if len(titles) > options.onet_titles:
            titles = tuple(rng.sample(titles, options.onet_titles))
        chosen += [(title, number) for title in titles]
    return chosen


def _report_data(labelled: Labelled, taxonomy: Taxonomy, report: Report) -> None:
    codes = {posting.onet_code for posting in labelled.postings}
    titles = sum(map(len, taxonomy.titles.values()))
    report(
        f"{len(labelled.postings):,} labelled postings in {len(codes):,} of {len(taxonomy.categories):,} categories; "
        f"{titles:,} O*NET titles"
    )
    for reason, (count, where) in labelled.left_out.items():
        report(f"left out: {count:,} rows with {reason}, first at {where}")


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}


def _summary(manifest: Manifest, categories: int, rows: int, seconds: float) -> dict[str, Any]:
    return {
        "version": manifest.version,
        "method": manifest.training["method"],
        "categories": categories,
        "rows": rows,
        "metrics": manifest.metrics,
        "seconds": round(seconds, 1),
    }
