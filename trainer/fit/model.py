"""A fit: from labelled titles to everything that a model version holds, by the method and with the parts that were chosen."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from consumer.errors import EncoderError
from consumer.model.mixture import Mixture, Tensors
from schemas.artifact import Calibration, Exemplars, Mix, Thresholds
from trainer.fit.calibration import (
    DEFAULT_KNOWN_PRIOR,
    DEFAULT_LISTED_WEIGHT,
    NEVER,
    HeldOutParts,
    calibrate,
    choose_body_weight,
    choose_known_prior,
    choose_listed_weight,
    choose_mix_weights,
    choose_scale,
)
from trainer.fit.category_embeddings import Observe
from trainer.fit.encoders import Encoders, apply_encoder, finetune_encoder, train_body_encoder, train_token_encoder
from trainer.fit.inputs import FitInputs, Titles
from trainer.fit.parts import choose_known_titles, fit_body_part, fit_line_part, fit_title_part
from trainer.options import FitOptions

NEIGHBOURS, TEMPERATURE = 50, 0.04
HEAD_WEIGHT = 0.25
"""The weight of the role words that a title ends in: the best on left-out sources, see docs/accuracy.md. It is not fitted, since
postings of the sources that a model is trained on need it least."""
MIN_BODIES = 200
"""Labelled postings with a body that the part for bodies needs to be trained on."""
_REVIEW_ALL = Thresholds(accept_at=NEVER, review_at=0.0)
UNCALIBRATED = Calibration(new=_REVIEW_ALL, known=_REVIEW_ALL)
"""The calibration of a model for which no rows were held out: every posting is for review."""


@dataclass(frozen=True, slots=True)
class Model:
    """Everything that a version holds except its name: a scorer is made from it, and `publish` writes it."""

    taxonomy_version: str
    tensors: Tensors
    encoders: Encoders
    mix: Mix
    exemplars: Exemplars | None
    calibration: Calibration = UNCALIBRATED

    def mixture(self) -> Mixture:
        """Return the mixture that serving uses."""
        return Mixture(self.tensors, self.mix, self.exemplars, self.encoders.title.device)

    def drop_body(self) -> "Model":
        """Return this model without its part for bodies."""
        return replace(self, encoders=replace(self.encoders, body=None), tensors=replace(self.tensors, body=None))


def fit_model(
    titles: Titles,
    inputs: FitInputs,
    options: FitOptions,
    caption: str,
    *,
    start: Model | None = None,
    observe: Observe = lambda *_: None,
) -> Model:
    """Fit a model, not yet calibrated, to labelled titles. `caption` is shown beside the progress bar.

    With `start`, a model fitted to some of the same titles, its encoders are kept and its category embeddings trained further,
    which takes a third of the time. `observe` gets the category embeddings of the title part after each epoch. Titles of weight
    0 are left out.
    """
    titles = titles.select(titles.rows.weights > 0)
    encoders = start.encoders if start else _make_encoders(titles, inputs, options, caption)
    titles, inputs = apply_encoder(encoders.title, titles, inputs)
    old = start.tensors if start else None
    title = fit_title_part(titles.rows, inputs, options, caption, observe, old.title if old else None)
    line = fit_line_part(titles, inputs, options, encoders.line, old.line if old else None) if encoders.line else None
    body = fit_body_part(titles, inputs, options, encoders.body, old.body if old else None) if encoders.body else None
    known, vectors = choose_known_titles(titles, inputs, options)
    rows = torch.bincount(titles.rows.labels, minlength=len(inputs.categories))
    counts = (torch.zeros_like(rows) if inputs.unlabelled else rows).tolist()
    categories = tuple(c.model_copy(update={"postings": n}) for c, n in zip(inputs.categories, counts, strict=True))
    exemplars = Exemplars(count=len(vectors), neighbours=NEIGHBOURS, temperature=TEMPERATURE) if len(vectors) else None
    tensors = Tensors(categories, title, line, vectors if exemplars else None, known, body)
    # Until the model is calibrated: the weights that the splits of docs/accuracy.md chose most often.
    mix = Mix(
        title_weight=0.4,
        exemplar_weight=0.3 if exemplars else 0.0,
        line_weight=0.3 if line is not None else 0.0,
        known_prior=DEFAULT_KNOWN_PRIOR if "known" in options.parts else None,
        listed_weight=DEFAULT_LISTED_WEIGHT if "known" in options.parts else 0.0,
        head_weight=HEAD_WEIGHT if "head" in options.parts else 0.0,
    )
    return Model(inputs.taxonomy_version, tensors, encoders, mix, exemplars)


def _make_encoders(titles: Titles, inputs: FitInputs, options: FitOptions, caption: str) -> Encoders:
    """Return the encoders of a model. Those that are made for it are trained on its own rows."""
    title, folders = inputs.encoder, list[Path]()
    if options.kind == "finetuned":
        title, folder = finetune_encoder(titles, inputs, options.finetune, seed=options.seed, caption=caption)
        titles, inputs = apply_encoder(title, titles, inputs)
        folders.append(folder)
    with_line = "line" in options.parts
    with_body = "body" in options.parts and sum(map(bool, titles.bodies)) >= MIN_BODIES
    if inputs.tokenizer is None and options.kind == "static":
        raise EncoderError("a static encoder is distilled from one with a tokenizer.json; this one has none")
    if inputs.tokenizer is None or not (options.kind == "static" or with_line or with_body):
        return Encoders(title, folders=tuple(folders))
    token_vectors, token_encoder, folder = train_token_encoder(titles, inputs, seed=options.seed, caption=caption)
    if options.kind == "static" or with_line:
        folders.append(folder)
    body = None
    if with_body:
        body, folder = train_body_encoder(titles, inputs, token_vectors, seed=options.seed, caption=caption)
        folders.append(folder)
    title = token_encoder if options.kind == "static" else title
    return Encoders(title, token_encoder if with_line else None, body, tuple(folders))


def calibrate_model(model: Model, held_out: HeldOutParts, options: FitOptions) -> Model:
    """Return the model with weights, sharpness and thresholds fitted to held-out postings."""
    mix = model.mix
    if options.method != "softmax":  # the other methods train at a scale of their own, or at none
        mix = mix.model_copy(update={"scale": choose_scale(held_out.parts.title, held_out)})
    mix = choose_mix_weights(mix, held_out)
    if mix.known_prior is not None:
        mix = mix.model_copy(update={"known_prior": choose_known_prior(mix, held_out)})
        mix = mix.model_copy(update={"listed_weight": choose_listed_weight(mix, held_out)})
    mix = choose_body_weight(mix, held_out)
    return replace(model, mix=mix, calibration=calibrate(mix, held_out, precision=options.accept_precision))
