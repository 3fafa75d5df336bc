"""The training run, read from top to bottom: data -> embeddings -> figures on held-out rows -> final fit -> publish."""

import os
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from consumer.encoder import DEFAULT_ENCODER, Precision, load_encoder
from consumer.errors import EncoderError
from consumer.registry import FolderRegistry
from schemas.artifact import GoldenTitle
from schemas.events import LabelledPosting
from schemas.text import body_text, model_text, plain_text
from trainer import calibrate, distill
from trainer.datasets import Labelled, read_postings
from trainer.embed import EmbeddingCache, TitleEmbeddings
from trainer.encoders import distilled
from trainer.figures import curves, summary
from trainer.methods import Rows
from trainer.model import ONET_WEIGHT, FitOptions, Model, Source, Titles, calibrated, fit
from trainer.onet import Taxonomy, read_taxonomy
from trainer.predict import predictions, queries
from trainer.predictions import Predictions
from trainer.publish import golden_titles, make_manifest, publish
from trainer.split import SplitKind, held_out

SHOWN = ("top_1", "top_3", "top_5", "macro_top_1", "ece", "accept_share", "accept_precision")

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """What to train on and how. `holdout` and `calibration` are shares of the labelled rows.

    Weights and thresholds stand on `rounds` times `calibration` of the rows, each part of them judged by a fit without it.
    """

    postings: Sequence[str]
    onet: Path | None
    registry: Path
    fit: FitOptions = field(default_factory=FitOptions)
    seed: int = 0
    encoder: str = DEFAULT_ENCODER
    device: str = "auto"
    precision: Precision = "auto"
    max_seq_length: int = 128
    onet_titles: int = 60
    split: SplitKind = "random"
    holdout: float = 0.2
    calibration: float = 0.15
    rounds: int = 2
    promote: bool = True
    cache: Path | None = None


@dataclass(frozen=True, slots=True)
class Data:
    """Everything that fits share, and the labelled postings with their titles embedded."""

    taxonomy: Taxonomy
    postings: Sequence[LabelledPosting]
    titles: Titles
    source: Source
    distinct_titles: int
    embedded_titles: int = 0
    """Those of them that no cache had."""

    @property
    def codes(self) -> list[str]:
        """The postings' codes."""
        return [posting.onet_code for posting in self.postings]

    @property
    def keys(self) -> list[str]:
        """The postings' normalised titles."""
        return [text.casefold() for text in self.titles.clean]


def train(options: TrainOptions, report: Report) -> dict[str, Any]:
    """Train, evaluate and publish a version; returns what the command prints.

    Raises TableError for data, EncoderError, RegistryError and ArtifactError for the rest, all before anything is published.
    """
    started = time.monotonic()
    registry = FolderRegistry(options.registry)
    registry.check_writable()
    with tempfile.TemporaryDirectory() as work:
        data = prepare(options, Path(work), report)
        measured = measure(data, options)
        figures = summary(measured.predictions, options.fit.accept_precision) if measured else {}
        shown = ", ".join(f"{name} {figures[name]:.3f}" for name in SHOWN if name in figures)
        report(f"held-out figures: {shown or 'none, too few rows to hold any out'}")
        model, golden = final_fit(data, options, measured.model if measured else None)
        shapes = curves(measured.predictions) if measured else {}
        manifest = make_manifest(model, golden=golden, training=described(options, data), metrics=figures, curves=shapes)
        published = publish(registry, model, manifest, promote=options.promote)
    report(f"published version {published.version} to {options.registry}" + (", now in service" if options.promote else ""))
    return {
        "version": published.version,
        "method": options.fit.method,
        "categories": len(data.source.categories),
        "rows": len(data.postings),
        "metrics": figures,
        "seconds": round(time.monotonic() - started, 1),
    }


def prepare(options: TrainOptions, work: Path, report: Report, *, clean_text: Callable[[str], str] = model_text) -> Data:
    """Read and embed everything that `options` name; `work` is a folder for encoders in the making.

    `clean_text` is what serving does to a title, or, to measure what that is worth, something else.
    """
    taxonomy = read_taxonomy(options.onet)
    labelled = read_postings(options.postings, taxonomy.numbers)
    _report_data(labelled, taxonomy, report)
    encoder = load_encoder(
        options.encoder, device=options.device, max_seq_length=options.max_seq_length, precision=options.precision
    )
    onet_titles, onet_labels = _onet_titles(taxonomy, options)
    lines = [plain_text(posting.title) for posting in labelled.postings]
    clean = [clean_text(line) for line in lines]
    onet_clean = [clean_text(title) for title in onet_titles]
    embeddings = TitleEmbeddings(
        encoder, [*clean, *onet_clean], EmbeddingCache(options.cache, encoder) if options.cache else None
    )
    labels = torch.tensor([taxonomy.numbers[posting.onet_code] for posting in labelled.postings])
    onet = Rows(embeddings.of(onet_clean), torch.tensor(onet_labels), torch.full((len(onet_labels),), ONET_WEIGHT))
    source = Source(
        taxonomy_version=taxonomy.version,
        categories=taxonomy.categories,
        onet=Titles(onet_clean, [plain_text(title) for title in onet_titles], onet, encoder.ref.sha256),
        encoder=encoder,
        encoder_name=options.encoder,
        tokenizer=_tokenizer(options.encoder, report),
        work=work,
        descriptions=taxonomy.descriptions,
    )
    bodies = [body_text(posting.body or "") for posting in labelled.postings]
    rows = Rows(embeddings.of(clean), labels, torch.ones(len(labels)))
    titles = Titles(clean, lines, rows, encoder.ref.sha256, bodies)
    return Data(taxonomy, labelled.postings, titles, source, len(embeddings), embeddings.computed)


@dataclass(frozen=True, slots=True)
class Trial:
    """A calibrated model that never saw the rows it is measured on, what it says of them, and their normalised titles.

    `curve` holds (epoch, loss, held-out top-1) of the title part.
    """

    model: Model
    predictions: Predictions
    keys: list[str]
    tested: Titles
    curve: list[tuple[int, float, float]]
    fit_seconds: float
    score_seconds: float


def measure(data: Data, options: TrainOptions, *, refit: bool = False) -> Trial | None:
    """Fit without the held-out rows, calibrate on one part of them, measure on the other through the serving scorer.

    With `refit` the calibrating rows, too, are trained on before measuring, as they are in what is published.
    None where there are too few rows to hold any out.
    """
    tested, calibrating = _parts_of(data, options)
    if not bool(tested.any()) or not calibrating or not bool(calibrating[0].any()):
        return None
    held, curve = data.titles.where(tested), list[tuple[int, float, float]]()

    def observe(epoch: int, loss: float, embeddings: torch.Tensor) -> None:
        if options.fit.kind == "given":  # the cached vectors are of no other encoder
            hits = (held.rows.embeddings @ embeddings.T).argmax(dim=1) == held.rows.labels
            curve.append((epoch, round(loss, 4), round(float(hits.double().mean()), 4)))

    started = time.monotonic()
    source = _sharing_tokens(data.source, data.titles.where(~tested), options.fit)
    said, models = [], []
    for number, part in enumerate(calibrating, start=1):
        what = f"fitting without held-out rows, {number} of {len(calibrating)}"
        seen = observe if number == 1 else lambda *_: None
        models.append(fit(data.titles.where(~tested & ~part), source, options.fit, what, observe=seen))
        asked = data.titles.where(part)
        said.append(calibrate.held_out(models[-1].mixture(), queries(models[-1], asked), asked.rows.labels))
    model = calibrated(models[0], calibrate.together(said), options.fit)
    if refit:
        rest = data.titles.where(~tested)
        again = fit(rest, source, options.fit, "fitting without the rows to measure on", start=models[0])
        model = replace(again, mix=model.mix, calibration=model.calibration)
    fitted = time.monotonic()
    judged = predictions(model, held)
    keys = [key for key, is_held in zip(data.keys, tested.tolist(), strict=True) if is_held]
    return Trial(model, judged, keys, held, curve, fitted - started, time.monotonic() - fitted)


def _sharing_tokens(source: Source, titles: Titles, options: FitOptions) -> Source:
    """Return the source with the encoder distilled once for all fits of a trial, if they need that."""
    if (
        options.kind == "finetuned"
        or source.tokenizer is None
        or not (options.parts & {"line", "body"} or options.kind == "static")
    ):
        return source
    return replace(source, distilled=distilled(titles, source, seed=options.seed, what="fitting without held-out rows"))


def final_fit(data: Data, options: TrainOptions, measured: Model | None) -> tuple[Model, tuple[GoldenTitle, ...]]:
    """Fit on all rows, calibrated as `measured` was; returns the model and its golden titles, together a version to publish."""
    model = fit(data.titles, data.source, options.fit, "fitting on all rows", start=measured)
    if measured is not None:
        model = replace(model, mix=measured.mix, calibration=measured.calibration)
    candidates = _golden_candidates(data)
    answers = predictions(model, candidates).probabilities.argmax(dim=1)
    return model, golden_titles(model, candidates, queries(model, candidates).title.cpu(), answers)


def _parts_of(data: Data, options: TrainOptions) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return which rows to measure on, and for each round which to calibrate on: masks `(rows,)`, none shared.

    Half of the calibrating rows are drawn as rows and half as whole titles: titles that training met and new ones are
    calibrated apart, and there must be enough of both.
    """
    codes, keys = data.codes, data.keys
    dates = [posting.posted_at for posting in data.postings]
    tested = torch.tensor(held_out(codes, keys, share=options.holdout, seed=options.seed, kind=options.split, dates=dates))
    rounds = 1 if options.fit.kind == "finetuned" else options.rounds  # an encoder takes minutes to hours to fine-tune
    taken, parts = tested.clone(), []
    for number in range(rounds):
        part = torch.zeros_like(tested)
        for kind in ("random", "title"):
            rest = (~taken).nonzero().flatten().tolist()
            seed = options.seed + 1 + 2 * number + (kind == "title")
            share = options.calibration / 2
            chosen = held_out([codes[i] for i in rest], [keys[i] for i in rest], share=share, seed=seed, kind=kind)
            rows = [row for row, held in zip(rest, chosen, strict=True) if held]
            part[rows] = taken[rows] = True
        parts.append(part)
    return tested, parts


def _tokenizer(encoder: str, report: Report) -> Any:  # noqa: ANN401 - tokenizers.Tokenizer
    try:
        return distill.teacher_tokenizer(encoder)
    except EncoderError as error:
        report(f"no token vectors, titles as posted are not used: {error}")
        return None


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


def _golden_candidates(data: Data) -> Titles:
    """Return postings and category names: golden titles are chosen among them."""
    names, source = len(data.source.categories), data.source
    rows = data.titles.rows.with_rows(source.onet.rows.where(torch.arange(len(source.onet.rows)) < names))
    clean = [*data.titles.clean, *source.onet.clean[:names]]
    return Titles(clean, [*data.titles.lines, *source.onet.lines[:names]], rows, source.encoder.ref.sha256)


def _report_data(labelled: Labelled, taxonomy: Taxonomy, report: Report) -> None:
    codes = {posting.onet_code for posting in labelled.postings}
    titles = sum(map(len, taxonomy.titles.values()))
    report(
        f"{len(labelled.postings):,} labelled postings in {len(codes):,} of {len(taxonomy.categories):,} categories; "
        f"{titles:,} O*NET titles"
    )
    for reason, (count, where) in labelled.left_out.items():
        report(f"left out: {count:,} rows with {reason}, first at {where}")


def described(options: TrainOptions, data: Data) -> dict[str, Any]:
    """Return what the manifest says of the training: enough to repeat it."""
    flat = asdict(options)
    plain = {name: _plain(value) for name, value in {**flat, **flat.pop("fit")}.items()}
    return {**plain, "rows": len(data.postings), "onet_rows": len(data.source.onet.rows), "distinct_titles": data.distinct_titles}


def _plain(value: Any) -> Any:  # noqa: ANN401 - any option
    """Return an option as JSON can hold it; a file name need not be UTF-8."""
    if isinstance(value, list | tuple | frozenset):
        return [_plain(name) for name in (sorted(value) if isinstance(value, frozenset) else value)]
    return os.fsencode(value).decode("utf-8", "replace") if isinstance(value, str | Path) else value
