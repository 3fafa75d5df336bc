"""Predictions for titles whose vectors are already computed, made by the scorer that serves."""

from collections.abc import Iterator, Sequence

import torch

from consumer.model.queries import Queries, QueryEncoders, make_queries
from schemas.events import Decision
from trainer.fit.inputs import Titles
from trainer.fit.model import Model
from trainer.measure.predictions import Predictions
from trainer.publish import make_scorer

CHUNK = 1_024
"""Titles that are scored at a time."""


def predict(model: Model, titles: Titles) -> Predictions:
    """Return the serving scorer's predictions for titles, and for their bodies if the model looks at bodies."""
    return make_predictions(model, titles, *answer(model, titles))


def answer(model: Model, titles: Titles) -> tuple[torch.Tensor, list[Decision]]:
    """Return the serving scorer's probabilities `(n, categories)` for n titles, which need not have a category, and decisions."""
    scorer = make_scorer(model)
    judged = [scorer.judge(some) for some in _chunks(make_title_queries(model, titles))]
    probabilities = [torch.empty(0, len(model.tensors.categories)), *(some for some, _ in judged)]
    return torch.cat([some.cpu() for some in probabilities]), [decision for _, decisions in judged for decision in decisions]


def predict_from_body(model: Model, titles: Titles) -> Predictions:
    """Return the predictions of the body part alone, uncalibrated and all for review. Raises ValueError if there is none."""
    mixture = model.mixture()
    parts = [
        mixture.score_parts(some, mixture.find_nearest(some.title)).body for some in _chunks(make_title_queries(model, titles))
    ]
    if any(part is None for part in parts):
        raise ValueError("the model has no part that looks at bodies")
    cosines = torch.cat([part for part in parts if part is not None])
    return make_predictions(model, titles, torch.softmax(model.mix.body_scale * cosines, dim=1), ["review"] * len(cosines))


def make_predictions(model: Model, titles: Titles, probabilities: torch.Tensor, decisions: Sequence[Decision]) -> Predictions:
    """Return the predictions that have these probabilities `(n, categories)` and decisions."""
    categories = model.tensors.categories
    return Predictions(
        probabilities=probabilities.cpu(),
        labels=titles.rows.labels,
        decisions=decisions,
        codes=tuple(category.onet_code for category in categories),
        names=tuple(category.onet_title for category in categories),
        titles=list(titles.lines),
        train_counts=torch.tensor([category.postings for category in categories]),
    )


def make_title_queries(model: Model, titles: Titles) -> Queries:
    """Return the scorer's queries for titles, made with the vectors that are already computed."""
    encoders = QueryEncoders(model.encoders.title, model.encoders.line, model.encoders.body)
    return make_queries(encoders, titles.clean, titles.lines, titles.bodies, title=embed_titles(model, titles))


def embed_titles(model: Model, titles: Titles) -> torch.Tensor:
    """Return `(n, dim)` unit rows of the cleaned titles under the model's encoder, on its device."""
    encoder = model.encoders.title
    if encoder.ref.sha256 != titles.encoder_sha256:
        return encoder.encode(titles.clean)
    return titles.rows.embeddings.to(encoder.device)


def _chunks(asked: Queries) -> Iterator[Queries]:
    for start in range(0, len(asked.keys), CHUNK):
        rows = slice(start, start + CHUNK)
        line, body = (None if vectors is None else vectors[rows] for vectors in (asked.line, asked.body))
        yield Queries(asked.title[rows], line, asked.keys[rows], body, asked.heads[rows])
