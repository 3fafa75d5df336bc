"""The texts that an encoder of a fit's own is trained on: titles as posted and cleaned, bodies, and what O*NET has of both."""

from collections import Counter

import torch

from trainer.fit.category_embeddings import EmbeddedRows
from trainer.fit.inputs import FitInputs, Titles

DESCRIPTION_WEIGHT = 0.3
"""What a description or task of O*NET's counts beside a posting's body."""
FINETUNE_ONET_TITLES = 20
"""Per category: the encoder learns from the postings first of all."""


def collect_title_texts(postings: Titles, inputs: FitInputs) -> tuple[list[str], torch.Tensor, torch.Tensor]:
    """Return the texts that token vectors learn from, O*NET's last, with labels and weights `(texts,)`."""
    half, onet = postings.rows.weights / 2, inputs.onet.rows
    return (
        [*postings.lines, *postings.clean, *inputs.onet.lines],
        torch.cat((postings.rows.labels, postings.rows.labels, onet.labels)),
        torch.cat((half, half, onet.weights)),
    )


def collect_body_texts(postings: Titles, inputs: FitInputs) -> tuple[list[str], torch.Tensor, torch.Tensor]:
    """Return the bodies that there are and O*NET's descriptions, those last, with labels and weights `(texts,)`."""
    rows = [row for row, body in enumerate(postings.bodies) if body]
    more = inputs.descriptions
    return (
        [*(postings.bodies[row] for row in rows), *more.texts],
        torch.cat((postings.rows.labels[rows], torch.tensor(more.labels, dtype=torch.long))),
        torch.cat((torch.ones(len(rows)), torch.full((len(more.texts),), DESCRIPTION_WEIGHT))),
    )


def collect_finetuning_texts(postings: Titles, inputs: FitInputs) -> tuple[list[str], EmbeddedRows]:
    """Return the cleaned titles that fine-tuning learns from, those of O*NET last, with their vectors, labels and weights."""
    some = inputs.onet.select(_mark_first_of_each(inputs.onet.rows.labels, FINETUNE_ONET_TITLES))
    return [*postings.clean, *some.clean], postings.rows.concatenate(some.rows)


def _mark_first_of_each(labels: torch.Tensor, count: int) -> torch.Tensor:
    """Return where a row is among the first `count` of its category, `(n,)`."""
    seen: Counter[int] = Counter()
    kept = []
    for label in labels.tolist():
        kept.append(seen[label] < count)
        seen[label] += 1
    return torch.tensor(kept)
