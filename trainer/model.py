"""A fit: from labelled vectors to everything that a model version holds, by the method and with the parts that were chosen."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import Tokenizer
from torch.nn.functional import normalize

from consumer.encoder import Encoder, SentenceEncoder
from consumer.errors import EncoderError
from consumer.mixture import Mixture, Part, Tensors
from schemas.artifact import Calibration, Category, Decide, Exemplars, KnownTitle, Mix
from trainer import calibrate, methods
from trainer.calibrate import HeldOut
from trainer.distill import Static
from trainer.embed import progress_bar, shown
from trainer.encoders import Finetuning, body_vectors, described, embedded, finetuned, spellings, token_vectors
from trainer.methods import Observe, Rows
from trainer.onet import Descriptions

Method = Literal["softmax", "hinge", "mean", "direct"]
EncoderKind = Literal["given", "static", "finetuned"]
"""The encoder as it is; distilled into token vectors; fine-tuned."""

ONET_WEIGHT = 0.3
"""What a title of O*NET's counts beside a labelled posting, in training."""
VOTE_WEIGHT = 0.6
"""What it counts as an exemplar and in the table of exact titles; see docs/accuracy.md."""
NEIGHBOURS, TEMPERATURE = 50, 0.04
MIN_BODIES = 200
"""Labelled postings with a body that it takes to train the body's part."""
_FOR_REVIEW = Decide(accept_at=calibrate.NEVER, review_at=0.0)
UNCALIBRATED = Calibration(new=_FOR_REVIEW, known=_FOR_REVIEW)
"""Where no held-out row is left to calibrate on: every posting is for review."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOptions:
    """How a model is made of its data."""

    method: Method = "softmax"
    parts: frozenset[Part] = frozenset({"exemplars", "line", "known", "body"})
    seed: int = 0
    epochs: int | None = None
    kind: EncoderKind = "given"
    finetune: Finetuning | None = None
    max_exemplars: int = 50_000
    accept_precision: float = 0.9

    @property
    def needs_tokens(self) -> bool:
        """Whether a fit trains token vectors that start from the encoder as it was given."""
        return self.kind == "static" or (self.kind == "given" and bool(self.parts & {"line", "body"}))


@dataclass(frozen=True, slots=True)
class Titles:
    """Labelled titles: cleaned, as posted, and the cleaned ones embedded by the encoder with these weights.

    `bodies` are those of the same postings, "" where there is none; empty where nobody asks for them.
    """

    clean: Sequence[str]
    lines: Sequence[str]
    rows: Rows
    encoder_sha256: str
    bodies: Sequence[str] = ()

    def with_titles(self, more: "Titles") -> "Titles":
        """Return these titles followed by `more`, embedded by the same encoder."""
        clean, lines, bodies = (
            [*own, *theirs] for own, theirs in ((self.clean, more.clean), (self.lines, more.lines), (self.bodies, more.bodies))
        )
        return Titles(clean, lines, self.rows.with_rows(more.rows), self.encoder_sha256, bodies)

    def where(self, mask: torch.Tensor) -> "Titles":
        """Return the titles for which `mask` `(n,)` is true."""
        chosen = mask.nonzero().flatten().tolist()
        clean, lines, bodies = ([texts[i] for i in chosen] if texts else [] for texts in (self.clean, self.lines, self.bodies))
        return Titles(clean, lines, self.rows.where(mask), self.encoder_sha256, bodies)


@dataclass(frozen=True, slots=True)
class Source:
    """What every fit shares: the taxonomy, O*NET's titles (every category's name first), the encoder and its tokenizer."""

    taxonomy_version: str
    categories: tuple[Category, ...]
    onet: Titles
    encoder: Encoder
    encoder_name: str
    tokenizer: Tokenizer | None
    work: Path
    descriptions: Descriptions = field(default_factory=Descriptions)
    distilled: Static | None = None
    """The encoder as token vectors, which several fits share; see `trainer.encoders.distilled`."""

    @property
    def names(self) -> torch.Tensor:
        """Embeddings of the category names, `(categories, dim)`."""
        return self.onet.rows.embeddings[: len(self.categories)]

    @property
    def prior(self) -> torch.Tensor:
        """Unit means of each category's O*NET titles, `(categories, dim)`."""
        sums, _counts = methods.weighted_sums(self.onet.rows, len(self.categories))
        return normalize(sums, dim=1)


@dataclass(frozen=True, slots=True)
class Model:
    """Everything of a version but its name: what `publish` writes and a scorer is made of."""

    taxonomy_version: str
    tensors: Tensors
    encoder: Encoder
    line_encoder: SentenceEncoder | None
    own_encoders: tuple[Path, ...]
    mix: Mix
    exemplars: Exemplars | None
    calibration: Calibration = UNCALIBRATED
    body_encoder: SentenceEncoder | None = None

    def mixture(self) -> Mixture:
        """Return the serving mixture."""
        return Mixture(self.tensors, self.mix, self.exemplars, self.encoder.device)


def fit(
    postings: Titles,
    source: Source,
    options: FitOptions,
    what: str,
    *,
    observe: Observe = lambda *_: None,
) -> Model:
    """Make a model, uncalibrated, of labelled titles. `what` is shown beside the progress bar.

    `observe` sees the category embeddings of the title part after each epoch.
    """
    own: list[Path] = []
    if options.kind == "finetuned":
        encoder, folder = finetuned(postings, source, options.finetune, seed=options.seed, what=what)
        postings, source = _under(encoder, postings, source)
        own.append(folder)
    tokens: Static | None = None
    token_encoder: SentenceEncoder | None = None
    if source.tokenizer is not None and (options.needs_tokens or options.parts & {"line", "body"}):
        tokens, token_encoder, folder = token_vectors(postings, source, seed=options.seed, what=what)
        own.append(folder)
    if options.kind == "static":
        postings, source = _under(_required(token_encoder), postings, source)
    embeddings = _embeddings(postings.rows, source, options, what, observe)
    line = None
    if token_encoder is not None and "line" in options.parts:
        line = _line(postings, source, options, token_encoder)
    body_encoder, body = None, None
    if tokens is not None and "body" in options.parts and sum(map(bool, postings.bodies)) >= MIN_BODIES:
        body_encoder, folder = body_vectors(postings, source, tokens, seed=options.seed, what=what)
        body = _body(postings, source, options, body_encoder)
        own.append(folder)
    known, exemplars = _known_titles(postings, source, options)
    counts = torch.bincount(postings.rows.labels, minlength=len(source.categories)).tolist()
    categories = tuple(c.model_copy(update={"postings": n}) for c, n in zip(source.categories, counts, strict=True))
    vote = Exemplars(count=len(exemplars), neighbours=NEIGHBOURS, temperature=TEMPERATURE) if len(exemplars) else None
    return Model(
        source.taxonomy_version,
        Tensors(categories, embeddings, line, exemplars if vote else None, known, body),
        source.encoder,
        token_encoder if line is not None else None,
        tuple(own),
        # Until it is calibrated: what the splits of docs/accuracy.md chose most often.
        Mix(
            title_weight=0.4,
            exemplar_weight=0.3 if vote else 0.0,
            line_weight=0.3 if line is not None else 0.0,
            known_prior=calibrate.DEFAULT_KNOWN_PRIOR if "known" in options.parts else None,
        ),
        vote,
        body_encoder=body_encoder,
    )


def _under(encoder: SentenceEncoder, postings: Titles, source: Source) -> tuple[Titles, Source]:
    """Return everything as another encoder sees it."""
    return embedded(postings, encoder), replace(source, encoder=encoder, onet=embedded(source.onet, encoder), distilled=None)


def calibrated(model: Model, held: HeldOut, options: FitOptions) -> Model:
    """Return the model with weights, sharpness and thresholds fitted to held-out postings."""
    mix = model.mix
    if options.method != "softmax":  # trained at a scale of its own, or at none
        mix = mix.model_copy(update={"scale": calibrate.best_scale(held)})
    mix = calibrate.best_mix(mix, held)
    if mix.known_prior is not None:
        mix = mix.model_copy(update={"known_prior": calibrate.best_known_prior(mix, held)})
    mix = mix.model_copy(update={"body_weight": calibrate.best_body_weight(mix, held)})
    return replace(model, mix=mix, calibration=calibrate.calibrate(mix, held, precision=options.accept_precision))


def _embeddings(postings: Rows, source: Source, options: FitOptions, what: str, observe: Observe) -> torch.Tensor:
    """Return category embeddings `(categories, dim)` by the chosen method."""
    with progress_bar() as bar:
        tuning: dict[str, Any] = {"seed": options.seed, "progress": shown(bar, what), "observe": observe}
        if options.epochs is not None:
            tuning["epochs"] = options.epochs
        match options.method:
            case "direct":
                return methods.direct(source.names)
            case "mean":
                return methods.mean(postings, source.prior)
            case "hinge":
                return methods.hinge(_with_stand_ins(postings, source), len(source.names), **tuning)
            case "softmax":
                start = methods.mean(postings, source.prior)
                return methods.softmax(postings.with_rows(source.onet.rows), start, **tuning)


def _with_stand_ins(postings: Rows, source: Source) -> Rows:
    """Give each category without rows its prior as one.

    Put in place afterwards, that prior would win everywhere: a hinge leaves the cosines of what it trained far below those of
    raw title embeddings.
    """
    unseen = torch.bincount(postings.labels, minlength=len(source.names)) == 0
    return postings.with_rows(Rows(source.prior[unseen], unseen.nonzero().flatten(), torch.ones(int(unseen.sum()))))


def _line(postings: Titles, source: Source, options: FitOptions, encoder: SentenceEncoder, begin: Model | None) -> torch.Tensor:
    """Return category embeddings `(categories, line dim)` of titles as posted, under token vectors."""
    texts, labels, weights = spellings(postings, source)
    rows = Rows(encoder.encode(texts).cpu(), labels, weights)
    return _trained_from_means(rows, 2 * len(postings.lines), len(source.categories), seed=options.seed)


def _body(postings: Titles, source: Source, options: FitOptions, encoder: SentenceEncoder) -> torch.Tensor:
    """Return category embeddings `(categories, body dim)` of bodies, under token vectors of their own."""
    texts, labels, weights = described(postings, source)
    rows = Rows(encoder.encode(texts).cpu(), labels, weights)
    return _trained_from_means(rows, len(texts) - len(source.descriptions.texts), len(source.categories), seed=options.seed)


def _trained_from_means(rows: Rows, postings: int, categories: int, *, seed: int) -> torch.Tensor:
    """Train category embeddings on rows, O*NET's from number `postings` on, from class means shrunk to those of O*NET's."""
    onet = rows.where(torch.arange(len(rows)) >= postings)
    sums, _counts = methods.weighted_sums(onet, categories)
    return methods.softmax(rows, methods.mean(rows, normalize(sums + 1e-6, dim=1)), seed=seed, epochs=4)


def _known_titles(postings: Titles, source: Source, options: FitOptions) -> tuple[tuple[KnownTitle, ...], torch.Tensor]:
    """Return the titles that training met, the most useful first, and vectors `(n, dim)` float16 of as many as asked for.

    Postings' titles come first, by how often they were met; then O*NET's, in turn one of each category, so that a bound
    leaves every category its share.
    """
    if not options.parts & {"exemplars", "known"}:
        return (), torch.empty(0, source.encoder.ref.dim)
    met = Counter(zip(postings.clean, postings.rows.labels.tolist(), strict=True))
    place = {pair: row for row, pair in enumerate(zip(postings.clean, postings.rows.labels.tolist(), strict=True))}
    titles = [KnownTitle(title=text, category=label, weight=count) for (text, label), count in met.most_common()]
    rows = [place[title.title, title.category] for title in titles]
    turns: Counter[int] = Counter()
    ordered = []
    for row, (text, label) in enumerate(zip(source.onet.clean, source.onet.rows.labels.tolist(), strict=True)):
        ordered.append((turns[label], row, text, label))
        turns[label] += 1
    ordered.sort(key=lambda entry: entry[:2])
    titles += [KnownTitle(title=text, category=label, weight=VOTE_WEIGHT) for _turn, _row, text, label in ordered]
    vectors = torch.cat((postings.rows.embeddings[rows], source.onet.rows.embeddings[[row for _turn, row, *_ in ordered]]))
    bound = options.max_exemplars if "exemplars" in options.parts else 0
    return tuple(titles), vectors[:bound].half()


def _required(encoder: SentenceEncoder | None) -> SentenceEncoder:
    if encoder is None:
        raise EncoderError("a static encoder is distilled from one with a tokenizer.json; this one has none")
    return encoder
