"""What a model says of titles whose vectors are there already, through the serving scorer."""

from collections.abc import Iterator, Sequence

import torch

from consumer.model.queries import Queries, QueryEncoders, make_queries
from schemas.events import Decision
from trainer.fit.inputs import Titles
from trainer.fit.model import Model
from trainer.measure.predictions import Predictions
from trainer.publish import make_scorer

CHUNK = 1_024


def predictions(model: Model, titles: Titles) -> Predictions:
    """Return what the serving scorer says of titles, from their vectors on, and of their bodies if it looks at them."""
    scorer = make_scorer(model)
    judged = [scorer.judge(some) for some in _chunks(queries(model, titles))]
    return described(
        model, titles, torch.cat([probabilities for probabilities, _ in judged]), [d for _, ds in judged for d in ds]
    )


def decisions(model: Model, titles: Titles) -> list[Decision]:
    """Return what the serving scorer decides of titles, which need not have a category."""
    scorer = make_scorer(model)
    return [decision for some in _chunks(queries(model, titles)) for decision in scorer.judge(some)[1]]


def body_alone(model: Model, titles: Titles) -> Predictions:
    """Return what the body's part says by itself, uncalibrated, all for review. Raises ValueError where there is none."""
    mixture = model.mixture()
    parts = [mixture.score_parts(some, mixture.find_nearest(some.title)).body for some in _chunks(queries(model, titles))]
    if any(part is None for part in parts):
        raise ValueError("the model has no part that looks at bodies")
    cosines = torch.cat([part for part in parts if part is not None])
    return described(model, titles, torch.softmax(model.mix.body_scale * cosines, dim=1), ["review"] * len(cosines))


def described(model: Model, titles: Titles, probabilities: torch.Tensor, decisions: Sequence[Decision]) -> Predictions:
    """Return probabilities `(n, categories)` of titles with all that figures need."""
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


def queries(model: Model, titles: Titles) -> Queries:
    """Return titles as the scorer would ask about them, with the vectors that are there already."""
    encoders = QueryEncoders(model.encoders.title, model.encoders.line, model.encoders.body)
    return make_queries(encoders, titles.clean, titles.lines, titles.bodies, title=title_vectors(model, titles))


def title_vectors(model: Model, titles: Titles) -> torch.Tensor:
    """Return `(n, dim)` unit rows of the cleaned titles under the model's encoder, on its device."""
    encoder = model.encoders.title
    if encoder.ref.sha256 != titles.encoder_sha256:
        return encoder.encode(titles.clean)
    return titles.rows.embeddings.to(encoder.device)


def _chunks(asked: Queries) -> Iterator[Queries]:
    for start in range(0, len(asked.keys), CHUNK):
        rows = slice(start, start + CHUNK)
        line, body = (None if vectors is None else vectors[rows] for vectors in (asked.line, asked.body))
        yield Queries(asked.title[rows], line, asked.keys[rows], body)
