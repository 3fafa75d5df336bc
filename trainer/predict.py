"""What a model says of titles whose vectors are there already, through the serving scorer."""

import torch

from consumer.mixture import Queries
from trainer.model import Model, Titles
from trainer.predictions import Predictions
from trainer.publish import make_scorer

CHUNK = 1_024


def predictions(model: Model, titles: Titles) -> Predictions:
    """Return what the serving scorer says of titles, from their vectors on."""
    scorer = make_scorer(model)
    asked = queries(model, titles)
    probabilities = torch.cat(
        [scorer.probabilities(some) for some in _chunks(asked)]  # (titles, categories)
    ).cpu()
    categories = model.tensors.categories
    return Predictions(
        probabilities=probabilities,
        labels=titles.rows.labels,
        decisions=scorer.decisions(probabilities, asked.keys),
        codes=tuple(category.onet_code for category in categories),
        names=tuple(category.onet_title for category in categories),
        titles=list(titles.lines),
        train_counts=torch.tensor([category.postings for category in categories]),
    )


def decisions(model: Model, titles: Titles) -> list[str]:
    """Return what the serving scorer decides of titles, whatever they are labelled."""
    if not titles.clean:
        return []
    scorer = make_scorer(model)
    asked = queries(model, titles)
    return [said for some in _chunks(asked) for said in scorer.decisions(scorer.probabilities(some).cpu(), some.keys)]


def queries(model: Model, titles: Titles) -> Queries:
    """Return titles as the scorer would ask about them, with the vectors that are there already."""
    vectors = titles.rows.embeddings.to(model.encoder.device)
    if model.encoder.ref.sha256 != titles.encoder_sha256:
        vectors = model.encoder.encode(titles.clean)
    line = model.line_encoder.encode(titles.lines) if model.line_encoder else None
    return Queries(vectors, line, [text.casefold() for text in titles.clean])


def _chunks(asked: Queries) -> list[Queries]:
    starts, size = range(0, len(asked.keys), CHUNK), CHUNK
    line = asked.line
    return [
        Queries(asked.title[i : i + size], None if line is None else line[i : i + size], asked.keys[i : i + size]) for i in starts
    ]
