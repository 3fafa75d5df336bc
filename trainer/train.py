"""The training run, read from top to bottom: data -> embeddings -> figures on held-out rows -> final fit -> publish."""

import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from consumer.encoder import DEFAULT_ENCODER, Encoder, Precision, load_encoder
from consumer.registry import FolderRegistry
from schemas.artifact import Calibration, GoldenTitle
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
    """Everything a fit needs, embedded: `rows` are the postings, `onet` O*NET's titles; `names`, `prior` `(categories, dim)`."""

    taxonomy: Taxonomy
    postings: Sequence[LabelledPosting]
    encoder: Encoder
    rows: Rows
    onet: Rows
    names: torch.Tensor
    prior: torch.Tensor
    distinct_titles: int


def train(options: TrainOptions, report: Report) -> dict[str, Any]:
    """Train, evaluate and publish a version; returns what the command prints.

    Raises TableError for data, EncoderError, RegistryError and ArtifactError for the rest, all before anything is published.
    """
    started = time.monotonic()
    registry = FolderRegistry(options.registry)
    registry.check_writable()
    data = prepare(options, report)
    calibration, figures = measure(data, options)
    report("held-out figures: " + (", ".join(f"{k} {v:.3f}" for k, v in figures.items()) or "none, too few rows to hold any out"))

    fitted = _fit(data.rows, data, options, "fitting on all rows")
    model = Model(data.taxonomy.categories, fitted, calibration, data.taxonomy.version)
    manifest = make_manifest(
        model, data.encoder, golden=_golden(model, data), training=_described(options, data), metrics=figures
    )
    published = publish(registry, model, data.encoder, manifest, promote=options.promote)
    report(f"published version {published.version} to {options.registry}" + (", now in service" if options.promote else ""))
    return {
        "version": published.version,
        "method": options.method,
        "categories": len(data.names),
        "rows": len(data.rows),
        "metrics": figures,
        "seconds": round(time.monotonic() - started, 1),
    }


def prepare(options: TrainOptions, report: Report) -> Data:
    """Read and embed everything that `options` name."""
    taxonomy = read_taxonomy(options.onet)
    labelled = read_postings(options.postings, taxonomy.numbers)
    _report_data(labelled, taxonomy, report)
    encoder = load_encoder(
        options.encoder, device=options.device, max_seq_length=options.max_seq_length, precision=options.precision
    )
    onet_titles, onet_labels = _onet_titles(taxonomy, options)
    titles = [posting.title for posting in labelled.postings]
    embeddings = TitleEmbeddings(encoder, [*titles, *onet_titles])
    labels = torch.tensor([taxonomy.numbers[posting.onet_code] for posting in labelled.postings])
    onet = Rows(embeddings.of(onet_titles), torch.tensor(onet_labels), torch.full((len(onet_labels),), ONET_WEIGHT))
    sums, _counts = methods.weighted_sums(onet, len(taxonomy.categories))
    return Data(
        taxonomy=taxonomy,
        postings=labelled.postings,
        encoder=encoder,
        rows=Rows(embeddings.of(titles), labels, torch.ones(len(labels))),
        onet=onet,
        names=onet.embeddings[: len(taxonomy.categories)],
        prior=torch.nn.functional.normalize(sums, dim=1),
        distinct_titles=len(embeddings),
    )


def measure(data: Data, options: TrainOptions) -> tuple[Calibration, dict[str, float]]:
    """Fit without the held-out rows, calibrate on one part of them, measure on the other through the serving scorer."""
    codes = [posting.onet_code for posting in data.postings]
    keys = [normalise_title(posting.title) for posting in data.postings]
    tested = torch.tensor(held_out(codes, keys, share=options.holdout, seed=options.seed, kind=options.split))
    rest = (~tested).nonzero().flatten().tolist()
    chosen = held_out(
        [codes[i] for i in rest], [keys[i] for i in rest], share=options.calibration, seed=options.seed + 1, kind=options.split
    )
    calibrating = torch.zeros_like(tested)
    calibrating[[row for row, held in zip(rest, chosen, strict=True) if held]] = True
    if not bool(tested.any()) or not bool(calibrating.any()):
        return UNCALIBRATED, {}
    fitted = _fit(data.rows.where(~tested & ~calibrating), data, options, "fitting without held-out rows")
    part = data.rows.where(calibrating)
    calibration = calibrate(part.embeddings @ fitted.T, part.labels, precision=options.accept_precision)
    scorer = make_scorer(Model(data.taxonomy.categories, fitted, calibration, data.taxonomy.version), data.encoder)
    test_rows = tested.nonzero().flatten().tolist()
    figures = accuracy(scorer, [data.postings[i].title for i in test_rows], [codes[i] for i in test_rows])
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
                # A category without rows is given its prior as one. Put in place afterwards, that prior would win everywhere:
                # a hinge leaves the cosines of what it trained far below those of raw title embeddings.
                unseen = torch.bincount(postings.labels, minlength=len(data.names)) == 0
                stand_ins = Rows(data.prior[unseen], unseen.nonzero().flatten(), torch.ones(int(unseen.sum())))
                fitted = methods.hinge(postings.with_rows(stand_ins), len(data.names), **tuning)
            case "softmax":
                fitted = methods.softmax(postings.with_rows(data.onet), methods.mean(postings, data.prior), **tuning)
        bar.update(task, completed=bar.tasks[task].total)
    return fitted


def _onet_titles(taxonomy: Taxonomy, options: TrainOptions) -> tuple[list[str], list[int]]:
    """Return O*NET's titles with their category numbers: first every category's name, then a seeded sample of its job titles."""
    rng = random.Random(options.seed)  # noqa: S311 - a sample, not a secret
    titles = [category.onet_title for category in taxonomy.categories]
    labels = list(range(len(titles)))
    for number, category in enumerate(taxonomy.categories):
        known = taxonomy.titles.get(category.onet_code, ())
        chosen = rng.sample(known, min(len(known), options.onet_titles))
        titles += chosen
        labels += [number] * len(chosen)
    return titles, labels


def _golden(model: Model, data: Data) -> tuple[GoldenTitle, ...]:
    """Choose golden titles among the postings and the category names."""
    titles = [*(posting.title for posting in data.postings), *(category.onet_title for category in model.categories)]
    labels = torch.cat((data.rows.labels, torch.arange(len(data.names))))
    return golden_titles(model, titles, torch.cat((data.rows.embeddings, data.names)), labels)


def _report_data(labelled: Labelled, taxonomy: Taxonomy, report: Report) -> None:
    codes = {posting.onet_code for posting in labelled.postings}
    titles = sum(map(len, taxonomy.titles.values()))
    report(
        f"{len(labelled.postings):,} labelled postings in {len(codes):,} of {len(taxonomy.categories):,} categories; "
        f"{titles:,} O*NET titles"
    )
    for reason, (count, where) in labelled.left_out.items():
        report(f"left out: {count:,} rows with {reason}, first at {where}")


def _described(options: TrainOptions, data: Data) -> dict[str, Any]:
    """Return what the manifest says of the training: enough to repeat it."""
    plain = {name: _plain(value) for name, value in asdict(options).items()}
    return {**plain, "rows": len(data.rows), "onet_rows": len(data.onet), "distinct_titles": data.distinct_titles}


def _plain(value: Any) -> Any:  # noqa: ANN401 - any option
    """Return an option as JSON can hold it; a file name need not be UTF-8."""
    if isinstance(value, list | tuple):
        return [_plain(name) for name in value]
    return os.fsencode(value).decode("utf-8", "replace") if isinstance(value, str | Path) else value
