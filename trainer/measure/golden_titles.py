"""Golden titles: those that a version is surest of, stored with it and asked of it wherever it is loaded."""

from collections import Counter

import torch

from schemas.artifact import GoldenTitle
from schemas.soc import soc_major
from trainer.fit.inputs import Titles
from trainer.fit.model import Model
from trainer.measure.predict import predictions, title_vectors

TRIED = 20
"""Titles of a SOC major group of which the whole model is asked, the widest margins first; the first that it knows will do."""


def golden_titles(model: Model, titles: Titles) -> tuple[GoldenTitle, ...]:
    """Return, per SOC major group, the title that the model gets right by the widest margin of cosines.

    A title is right when both the category embeddings alone and all parts together say so. Raises ValueError if none is.
    """
    labels, codes = titles.rows.labels.tolist(), [category.onet_code for category in model.tensors.categories]
    values, ids = (title_vectors(model, titles).cpu() @ model.tensors.title.T).topk(2, dim=1)  # (n, 2)
    margins = values[:, 0] - values[:, 1]
    order = margins.argsort(descending=True, stable=True)
    order = order[(ids[order, 0] == titles.rows.labels[order]) & (margins[order] > 0)]
    tried: Counter[str] = Counter()
    shortlist = []
    for row in order.tolist():
        tried[soc_major(codes[labels[row]])] += 1
        if tried[soc_major(codes[labels[row]])] <= TRIED:
            shortlist.append(row)
    answers = predictions(model, titles.take(torch.tensor(shortlist))).probabilities.argmax(dim=1).tolist() if shortlist else []
    golden: dict[str, GoldenTitle] = {}
    for row, answer in zip(shortlist, answers, strict=True):
        if answer == labels[row]:
            chosen = GoldenTitle(title=titles.lines[row], onet_code=codes[answer], score=float(values[row, 0]))
            golden.setdefault(soc_major(codes[answer]), chosen)
    if not golden:
        raise ValueError("the model gets none of its own training titles right; it is not fit to publish")
    return tuple(one for _group, one in sorted(golden.items()))
