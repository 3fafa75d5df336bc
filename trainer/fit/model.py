"""A fit: from labelled vectors to everything that a model version holds, by the method and with the parts that were chosen."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from consumer.errors import EncoderError
from consumer.model.mixture import Mixture, Tensors
from schemas.artifact import Calibration, Decide, Exemplars, Mix
from trainer.fit.calibration import (
    DEFAULT_KNOWN_PRIOR,
    NEVER,
    HeldOutParts,
    calibrate,
    choose_body_weight,
    choose_known_prior,
    choose_mix_weights,
    choose_scale,
)
from trainer.fit.category_embeddings import Observe
from trainer.fit.encoders import Encoders, apply_encoder, finetune_encoder, train_body_encoder, train_token_encoder
from trainer.fit.inputs import FitInputs, Titles
from trainer.fit.parts import choose_known_titles, fit_body_part, fit_line_part, fit_title_part
from trainer.options import FitOptions

NEIGHBOURS, TEMPERATURE = 50, 0.04
MIN_BODIES = 200
"""Labelled postings with a body that it takes to train the body's part."""
_FOR_REVIEW = Decide(accept_at=NEVER, review_at=0.0)
UNCALIBRATED = Calibration(new=_FOR_REVIEW, known=_FOR_REVIEW)
"""Where no held-out row is left to calibrate on: every posting is for review."""


@dataclass(frozen=True, slots=True)
class Model:
    """Everything of a version but its name: what `publish` writes and a scorer is made of."""

    taxonomy_version: str
    tensors: Tensors
    encoders: Encoders
    mix: Mix
    exemplars: Exemplars | None
    calibration: Calibration = UNCALIBRATED

    def mixture(self) -> Mixture:
        """Return the serving mixture."""
        return Mixture(self.tensors, self.mix, self.exemplars, self.encoders.title.device)

    def drop_body(self) -> "Model":
        """Return this model without its part for bodies."""
        return replace(self, encoders=replace(self.encoders, body=None), tensors=replace(self.tensors, body=None))


def fit_model(
    postings: Titles,
    inputs: FitInputs,
    options: FitOptions,
    what: str,
    *,
    start: Model | None = None,
    observe: Observe = lambda *_: None,
) -> Model:
    """Make a model, uncalibrated, of labelled titles. `what` is shown beside the progress bar.

    From `start`, fitted to some of the same titles, its encoders are kept and its category embeddings trained on, which takes
    a third of the time. `observe` sees the category embeddings of the title part after each epoch.
    """
    encoders = start.encoders if start else _make_encoders(postings, inputs, options, what)
    postings, inputs = apply_encoder(encoders.title, postings, inputs)
    begun = start.tensors if start else None
    embeddings = fit_title_part(postings.rows, inputs, options, what, observe, begun.title if begun else None)
    line = fit_line_part(postings, inputs, options, encoders.line, begun.line if begun else None) if encoders.line else None
    body = fit_body_part(postings, inputs, options, encoders.body, begun.body if begun else None) if encoders.body else None
    known, exemplars = choose_known_titles(postings, inputs, options)
    counts = torch.bincount(postings.rows.labels, minlength=len(inputs.categories)).tolist()
    categories = tuple(c.model_copy(update={"postings": n}) for c, n in zip(inputs.categories, counts, strict=True))
    vote = Exemplars(count=len(exemplars), neighbours=NEIGHBOURS, temperature=TEMPERATURE) if len(exemplars) else None
    return Model(
        inputs.taxonomy_version,
        Tensors(categories, embeddings, line, exemplars if vote else None, known, body),
        encoders,
        # Until it is calibrated: what the splits of docs/accuracy.md chose most often.
        Mix(
            title_weight=0.4,
            exemplar_weight=0.3 if vote else 0.0,
            line_weight=0.3 if line is not None else 0.0,
            known_prior=DEFAULT_KNOWN_PRIOR if "known" in options.parts else None,
        ),
        vote,
    )


def _make_encoders(postings: Titles, inputs: FitInputs, options: FitOptions, what: str) -> Encoders:
    """Return the encoders of a model, those made for it trained on its own rows."""
    title, own = inputs.encoder, list[Path]()
    if options.kind == "finetuned":
        title, folder = finetune_encoder(postings, inputs, options.finetune, seed=options.seed, what=what)
        postings, inputs = apply_encoder(title, postings, inputs)
        own.append(folder)
    with_line = "line" in options.parts
    with_body = "body" in options.parts and sum(map(bool, postings.bodies)) >= MIN_BODIES
    if inputs.tokenizer is None:
        if options.kind == "static":
            raise EncoderError("a static encoder is distilled from one with a tokenizer.json; this one has none")
        return Encoders(title, folders=tuple(own))
    if not (options.kind == "static" or with_line or with_body):
        return Encoders(title, folders=tuple(own))
    tokens, token_encoder, folder = train_token_encoder(postings, inputs, seed=options.seed, what=what)
    if options.kind == "static" or with_line:
        own.append(folder)
    body = None
    if with_body:
        body, folder = train_body_encoder(postings, inputs, tokens, seed=options.seed, what=what)
        own.append(folder)
    title = token_encoder if options.kind == "static" else title
    return Encoders(title, token_encoder if with_line else None, body, tuple(own))


def calibrate_model(model: Model, held: HeldOutParts, options: FitOptions) -> Model:
    """Return the model with weights, sharpness and thresholds fitted to held-out postings."""
    mix = model.mix
    if options.method != "softmax":  # trained at a scale of its own, or at none
        mix = mix.model_copy(update={"scale": choose_scale(held.parts.title, held)})
    mix = choose_mix_weights(mix, held)
    if mix.known_prior is not None:
        mix = mix.model_copy(update={"known_prior": choose_known_prior(mix, held)})
    mix = choose_body_weight(mix, held)
    return replace(model, mix=mix, calibration=calibrate(mix, held, precision=options.accept_precision))
