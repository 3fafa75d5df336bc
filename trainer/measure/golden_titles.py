"""Golden titles: those that a version is most certain of. They are stored with it, and whoever loads it asks them first."""

from collections import Counter

import torch

from schemas.artifact import GoldenTitle
from schemas.soc import soc_major
from trainer.fit.inputs import Titles
from trainer.fit.model import Model
from trainer.measure.predict import embed_titles, predict

MAX_TRIED = 20
"""How many titles of a SOC major group the whole model is asked at most, those with the widest margins first."""


def golden_titles(model: Model, titles: Titles) -> tuple[GoldenTitle, ...]:
    """Return, for each SOC major group, the title that the model gets right by the widest margin of cosines.

    A title counts as right when both the category embeddings alone and all parts together answer its code. Raises ValueError
    if no title of any group does.
    """
    labels, codes = titles.rows.labels.tolist(), [category.onet_code for category in model.tensors.categories]
    values, ids = (embed_titles(model, titles).cpu() @ model.tensors.title.T).topk(2, dim=1)  # (n, 2)
    margins = values[:, 0] - values[:, 1]
    order = margins.argsort(descending=True, stable=True)
    order = order[(ids[order, 0] == titles.rows.labels[order]) & (margins[order] > 0)]
    tried: Counter[str] = Counter()
    shortlist = []
    for row in order.tolist():
        tried[soc_major(codes[labels[row]])] += 1
        if tried[soc_major(codes[labels[row]])] <= MAX_TRIED:
            shortlist.append(row)
    answers = predict(model, titles.take(torch.tensor(shortlist))).probabilities.argmax(dim=1).tolist() if shortlist else []
    golden: dict[str, GoldenTitle] = {}
    for row, answer in zip(shortlist, answers, strict=True):
        if answer == labels[row]:
            chosen = GoldenTitle(title=titles.lines[row], onet_code=codes[answer], score=float(values[row, 0]))
            golden.setdefault(soc_major(codes[answer]), chosen)
    if not golden:
        raise ValueError("the model gets none of its own training titles right; it is not fit to publish")
    return tuple(one for _group, one in sorted(golden.items()))
