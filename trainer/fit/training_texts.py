"""The texts that a fit trains encoders on: titles and bodies of postings, titles and descriptions of O*NET's."""

from collections import Counter

import torch

from trainer.fit.category_embeddings import EmbeddedRows
from trainer.fit.inputs import FitInputs, Titles

DESCRIPTION_WEIGHT = 0.3
"""The weight in training of an O*NET definition or task; a posting's body weighs 1, unless its source has another weight."""
FINETUNE_ONET_TITLES = 20
"""O*NET titles per category in fine-tuning: the encoder is to learn from the postings first of all."""


def collect_title_texts(titles: Titles, inputs: FitInputs) -> tuple[list[str], torch.Tensor, torch.Tensor]:
    """Return texts, labels and weights, both `(texts,)`, of titles as posted and as cleaned; O*NET's titles come last.

    Each posting counts half as posted and half as cleaned.
    """
    half, onet = titles.rows.weights / 2, inputs.onet.rows
    return (
        [*titles.lines, *titles.clean, *inputs.onet.lines],
        torch.cat((titles.rows.labels, titles.rows.labels, onet.labels)),
        torch.cat((half, half, onet.weights)),
    )


def collect_body_texts(titles: Titles, inputs: FitInputs) -> tuple[list[str], torch.Tensor, torch.Tensor]:
    """Return texts, labels and weights, both `(texts,)`, of all bodies that are not empty; O*NET's descriptions come last."""
    rows = [row for row, body in enumerate(titles.bodies) if body]
    descriptions = inputs.descriptions
    return (
        [*(titles.bodies[row] for row in rows), *descriptions.texts],
        torch.cat((titles.rows.labels[rows], torch.tensor(descriptions.labels, dtype=torch.long))),
        torch.cat((titles.rows.weights[rows], torch.full((len(descriptions.texts),), DESCRIPTION_WEIGHT))),
    )


def collect_finetuning_texts(titles: Titles, inputs: FitInputs) -> tuple[list[str], EmbeddedRows]:
    """Return cleaned titles with their rows; the first O*NET titles of each category come last."""
    onet = inputs.onet.select(_mark_first_of_each(inputs.onet.rows.labels, FINETUNE_ONET_TITLES))
    return [*titles.clean, *onet.clean], titles.rows.concatenate(onet.rows)


def _mark_first_of_each(labels: torch.Tensor, count: int) -> torch.Tensor:
    """Return for each row whether it is among the first `count` of its label, `(n,)`."""
    seen: Counter[int] = Counter()
    is_first = []
    for label in labels.tolist():
        is_first.append(seen[label] < count)
        seen[label] += 1
    return torch.tensor(is_first)
