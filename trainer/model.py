"""A fit: from labelled vectors to everything that a model version holds, by the method and with the parts that were chosen."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from consumer.encoder import Encoder, SentenceEncoder
from consumer.errors import EncoderError
from consumer.mixture import Mixture, Tensors
from schemas.artifact import Calibration, Decide, Exemplars, Mix
from trainer import calibrate
from trainer.calibrate import HeldOut
from trainer.distill import Static
from trainer.encoders import body_vectors, finetuned, token_vectors, under
from trainer.methods import Observe
from trainer.options import FitOptions
from trainer.parts import body_embeddings, known_titles, line_embeddings, title_embeddings
from trainer.source import Source, Titles

NEIGHBOURS, TEMPERATURE = 50, 0.04
MIN_BODIES = 200
"""Labelled postings with a body that it takes to train the body's part."""
_FOR_REVIEW = Decide(accept_at=calibrate.NEVER, review_at=0.0)
UNCALIBRATED = Calibration(new=_FOR_REVIEW, known=_FOR_REVIEW)
"""Where no held-out row is left to calibrate on: every posting is for review."""


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
        postings, source = under(encoder, postings, source)
        own.append(folder)
    tokens: Static | None = None
    token_encoder: SentenceEncoder | None = None
    with_body = "body" in options.parts and sum(map(bool, postings.bodies)) >= MIN_BODIES
    if source.tokenizer is not None and (options.kind == "static" or "line" in options.parts or with_body):
        tokens, token_encoder, folder = token_vectors(postings, source, seed=options.seed, what=what)
        own += [folder] if options.kind == "static" or "line" in options.parts else []
    if options.kind == "static":
        postings, source = under(_required(token_encoder), postings, source)
    embeddings = title_embeddings(postings.rows, source, options, what, observe)
    line = None
    if token_encoder is not None and "line" in options.parts:
        line = line_embeddings(postings, source, options, token_encoder)
    body_encoder, body = None, None
    if tokens is not None and with_body:
        body_encoder, folder = body_vectors(postings, source, tokens, seed=options.seed, what=what)
        body = body_embeddings(postings, source, options, body_encoder)
        own.append(folder)
    known, exemplars = known_titles(postings, source, options)
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


def calibrated(model: Model, held: HeldOut, options: FitOptions) -> Model:
    """Return the model with weights, sharpness and thresholds fitted to held-out postings."""
    mix = model.mix
    if options.method != "softmax":  # trained at a scale of its own, or at none
        mix = mix.model_copy(update={"scale": calibrate.best_scale(held.parts.title, held)})
    mix = calibrate.best_mix(mix, held)
    if mix.known_prior is not None:
        mix = mix.model_copy(update={"known_prior": calibrate.best_known_prior(mix, held)})
    mix = calibrate.with_best_body(mix, held)
    return replace(model, mix=mix, calibration=calibrate.calibrate(mix, held, precision=options.accept_precision))


def _required(encoder: SentenceEncoder | None) -> SentenceEncoder:
    if encoder is None:
        raise EncoderError("a static encoder is distilled from one with a tokenizer.json; this one has none")
    return encoder
