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
from schemas.text import model_text, plain_text
from trainer import distill
from trainer.calibrate import REJECT, HeldOut
from trainer.datasets import Labelled, read_postings
from trainer.embed import EmbeddingCache, TitleEmbeddings
from trainer.figures import summary
from trainer.labels import LabelRules, Unclassified
from trainer.methods import Rows
from trainer.model import ONET_WEIGHT, FitOptions, Model, Source, Titles, calibrated, fit
from trainer.onet import Taxonomy, read_taxonomy
from trainer.predict import decisions, predictions, queries
from trainer.predictions import Predictions
from trainer.publish import golden_titles, make_manifest, publish
from trainer.rejects import RejectFigures, reject_figures
from trainer.repeats import disagreement
from trainer.split import SplitKind, three_ways

SHOWN = ("top_1", "top_3", "top_5", "macro_top_1", "ece", "accept_share", "accept_precision", "reject_accept_share")

Report = Callable[[str], None]
Parts = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """What to train on and how. `holdout` and `calibration` are shares of the labelled rows."""

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
    new_categories: bool = False
    unclassified: Unclassified = "reject"
    split: SplitKind = "random"
    holdout: float = 0.2
    calibration: float = 0.15
    promote: bool = True
    cache: Path | None = None

    @property
    def rules(self) -> LabelRules:
        """How labels are read."""
        return LabelRules(new_categories=self.new_categories, unclassified=self.unclassified)


@dataclass(frozen=True, slots=True)
class Data:
    """Everything that fits share, and the labelled postings and reject examples with their titles embedded."""

    taxonomy: Taxonomy
    labelled: Labelled
    titles: Titles
    """Of the postings that have a category."""
    reject_titles: Titles
    source: Source
    distinct_titles: int
    embedded_titles: int = 0
    """Those of them that no cache had."""

    @property
    def postings(self) -> Sequence[LabelledPosting]:
        """The postings that have a category."""
        return self.labelled.postings

    @property
    def rejects(self) -> Sequence[LabelledPosting]:
        """The reject examples."""
        return self.labelled.rejects

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
        figures = measured.summary(options.fit.accept_precision) if measured else {}
        shown = ", ".join(f"{name} {figures[name]:.3f}" for name in SHOWN if name in figures)
        report(f"held-out figures: {shown or 'none, too few rows to hold any out'}")
        model, golden = final_fit(data, options, measured.model if measured else None)
        manifest = make_manifest(model, golden=golden, training=described(options, data), metrics=figures)
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
    taxonomy, labelled = _read(options, report)
    codes = [posting.onet_code for posting in labelled.postings]
    encoder = load_encoder(
        options.encoder, device=options.device, max_seq_length=options.max_seq_length, precision=options.precision
    )
    onet_titles, onet_labels = _onet_titles(taxonomy, options)
    lines = [plain_text(posting.title) for posting in (*labelled.postings, *labelled.rejects)]
    clean = [clean_text(line) for line in lines]
    if disagreed := disagreement([text.casefold() for text in clean[: len(codes)]], codes):
        report(disagreed)
    onet_clean = [clean_text(title) for title in onet_titles]
    embeddings = TitleEmbeddings(
        encoder, [*clean, *onet_clean], EmbeddingCache(options.cache, encoder) if options.cache else None
    )
    onet = Rows(embeddings.of(onet_clean), torch.tensor(onet_labels), torch.full((len(onet_labels),), ONET_WEIGHT))
    source = Source(
        taxonomy_version=taxonomy.version,
        categories=taxonomy.categories,
        onet=Titles(onet_clean, [plain_text(title) for title in onet_titles], onet, encoder.ref.sha256),
        encoder=encoder,
        encoder_name=options.encoder,
        tokenizer=_tokenizer(options.encoder, report),
        work=work,
    )
    numbers = taxonomy.numbers
    labels = torch.tensor([*(numbers[code] for code in codes), *(REJECT for _ in labelled.rejects)])
    titles = Titles(clean, lines, Rows(embeddings.of(clean), labels, torch.ones(len(labels))), encoder.ref.sha256)
    return Data(taxonomy, labelled, *_apart(titles), source, len(embeddings), embeddings.computed)


def _read(options: TrainOptions, report: Report) -> tuple[Taxonomy, Labelled]:
    """Return the labelled rows and the taxonomy with what they add to it."""
    taxonomy = read_taxonomy(options.onet)
    labelled = read_postings(options.postings, taxonomy.names, rules=options.rules)
    taxonomy = taxonomy.with_categories(labelled.categories)
    _report_data(labelled, taxonomy, report)
    return taxonomy, labelled


def _apart(titles: Titles) -> tuple[Titles, Titles]:
    """Return the titles of categories, and those of reject examples."""
    fits = titles.rows.labels != REJECT
    return titles.where(fits), titles.where(~fits)


@dataclass(frozen=True, slots=True)
class Trial:
    """A calibrated model that never saw the rows it is measured on, what it says of them, and their normalised titles.

    `curve` holds (epoch, loss, held-out top-1) of the title part.
    """

    model: Model
    predictions: Predictions
    keys: list[str]
    curve: list[tuple[int, float, float]]
    rejected: RejectFigures
    """What was decided of the reject examples held out."""
    fit_seconds: float
    score_seconds: float

    def summary(self, precision: float = 0.9) -> dict[str, Any]:
        """Return the main figures, those of the reject examples beside them where there are any."""
        return summary(self.predictions, precision) | self.rejected


def measure(data: Data, options: TrainOptions, *, refit: bool = False) -> Trial | None:
    """Fit without the held-out rows, calibrate on one part of them, measure on the other through the serving scorer.

    With `refit` the calibrating rows, too, are trained on before measuring, as they are in what is published.
    None where there are too few rows to hold any out.
    """
    (tested, calibrating), (reject_tested, reject_calibrating) = _parts_of(data, options)
    if not bool(tested.any()) or not bool(calibrating.any()):
        return None
    held, curve = data.titles.where(tested), list[tuple[int, float, float]]()

    def observe(epoch: int, loss: float, embeddings: torch.Tensor) -> None:
        if options.fit.kind == "given":  # the cached vectors are of no other encoder
            hits = (held.rows.embeddings @ embeddings.T).argmax(dim=1) == held.rows.labels
            curve.append((epoch, round(loss, 4), round(float(hits.double().mean()), 4)))

    started = time.monotonic()
    model = fit(
        data.titles.where(~tested & ~calibrating), data.source, options.fit, "fitting without held-out rows", observe=observe
    )
    part = data.titles.where(calibrating).with_titles(data.reject_titles.where(reject_calibrating))
    model = calibrated(model, HeldOut(queries(model, part), part.rows.labels), options.fit)
    if refit:
        again = fit(data.titles.where(~tested), data.source, options.fit, "fitting without the rows to measure on")
        model = replace(again, mix=model.mix, calibration=model.calibration)
    fitted = time.monotonic()
    said = predictions(model, held)
    keys = [key for key, is_held in zip(data.keys, tested.tolist(), strict=True) if is_held]
    seconds = fitted - started, time.monotonic() - fitted
    return Trial(model, said, keys, curve, reject_figures(decisions(model, data.reject_titles.where(reject_tested))), *seconds)


def final_fit(data: Data, options: TrainOptions, measured: Model | None) -> tuple[Model, tuple[GoldenTitle, ...]]:
    """Fit on all rows, calibrated as `measured` was; returns the model and its golden titles, together a version to publish."""
    model = fit(data.titles, data.source, options.fit, "fitting on all rows")
    if measured is not None:
        model = replace(model, mix=measured.mix, calibration=measured.calibration)
    candidates = _golden_candidates(data)
    answers = predictions(model, candidates).probabilities.argmax(dim=1)
    return model, golden_titles(model, candidates, queries(model, candidates).title.cpu(), answers)


def _parts_of(data: Data, options: TrainOptions) -> tuple[Parts, Parts]:
    """Return which rows to measure and which to calibrate on, both `(rows,)`: of the postings, and of the reject examples.

    They are drawn together, so that a title which both have is held out of both.
    """
    rows = (*data.postings, *data.rejects)
    tested, calibrating = three_ways(
        [posting.onet_code for posting in rows],
        [*data.keys, *(text.casefold() for text in data.reject_titles.clean)],
        [posting.posted_at for posting in rows],
        holdout=options.holdout,
        calibration=options.calibration,
        seed=options.seed,
        kind=options.split,
    )
    count = len(data.postings)
    masks = torch.tensor(tested), torch.tensor(calibrating)
    return (masks[0][:count], masks[1][:count]), (masks[0][count:], masks[1][count:])


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
    for line in labelled.told():
        report(line)


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
