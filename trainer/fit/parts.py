"""The parts of a model, each fitted to labelled titles: category embeddings of title, line and body, and the known titles."""

from collections import Counter, defaultdict
from typing import Any

import torch
from torch.nn.functional import normalize

from consumer.model.encoder import SentenceEncoder
from schemas.artifact import KnownTitle
from trainer.fit.category_embeddings import EmbeddedRows, Observe, fit_direct, fit_hinge, fit_mean, fit_softmax, weighted_sums
from trainer.fit.inputs import FitInputs, Titles
from trainer.fit.title_embeddings import add_progress_line, progress_bar
from trainer.fit.training_texts import collect_body_texts, collect_title_texts
from trainer.options import FitOptions

EPOCHS_MORE = 2
"""Passes over all rows for category embeddings that were already fitted to most of them."""
VOTE_WEIGHT = 0.6
"""The weight of an O*NET title as an exemplar; a labelled posting weighs 1. See docs/accuracy.md."""


def fit_title_part(
    rows: EmbeddedRows,
    inputs: FitInputs,
    options: FitOptions,
    caption: str,
    observe: Observe,
    start: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return category embeddings `(categories, dim)` by the chosen method. Only softmax makes use of a `start`."""
    with progress_bar() as bar:
        tuning: dict[str, Any] = {"seed": options.seed, "progress": add_progress_line(bar, caption), "observe": observe}
        if options.epochs is not None:
            tuning["epochs"] = options.epochs
        match options.method:
            case "direct":
                return fit_direct(inputs.name_embeddings)
            case "mean":
                return fit_mean(rows, inputs.prior)
            case "hinge":
                return fit_hinge(_add_stand_ins(rows, inputs), len(inputs.categories), **tuning)
            case "softmax":
                more = {} if start is None else {"epochs": EPOCHS_MORE}
                start = fit_mean(rows, inputs.prior) if start is None else start
                return fit_softmax(rows.concatenate(inputs.onet.rows), start, **tuning | more)


def _add_stand_ins(rows: EmbeddedRows, inputs: FitInputs) -> EmbeddedRows:
    """Add to the rows the prior of each category that has none.

    An untrained prior in the place of an embedding would win everywhere: a hinge leaves the cosines of trained embeddings far
    below those of raw title embeddings.
    """
    is_unseen = torch.bincount(rows.labels, minlength=len(inputs.categories)) == 0
    unseen = is_unseen.nonzero().flatten()
    return rows.concatenate(EmbeddedRows(inputs.prior[is_unseen], unseen, torch.ones(len(unseen))))


def fit_line_part(
    titles: Titles, inputs: FitInputs, options: FitOptions, encoder: SentenceEncoder, start: torch.Tensor | None = None
) -> torch.Tensor:
    """Return category embeddings `(categories, line dim)` of titles as posted, under token vectors."""
    texts, labels, weights = collect_title_texts(titles, inputs)
    rows = EmbeddedRows(encoder.encode(texts).cpu(), labels, weights)
    return _fit_texts(rows, 2 * len(titles.lines), len(inputs.categories), start, seed=options.seed)


def fit_body_part(
    titles: Titles, inputs: FitInputs, options: FitOptions, encoder: SentenceEncoder, start: torch.Tensor | None = None
) -> torch.Tensor:
    """Return category embeddings `(categories, body dim)` of bodies, under token vectors of their own."""
    texts, labels, weights = collect_body_texts(titles, inputs)
    rows = EmbeddedRows(encoder.encode(texts).cpu(), labels, weights)
    return _fit_texts(rows, len(texts) - len(inputs.descriptions.texts), len(inputs.categories), start, seed=options.seed)


def _fit_texts(rows: EmbeddedRows, postings: int, categories: int, start: torch.Tensor | None, *, seed: int) -> torch.Tensor:
    """Return category embeddings trained on rows, of which the first `postings` are postings and the others O*NET's.

    Training goes on from `start`; without one it begins at class means, shrunk towards the class means of O*NET's rows.
    """
    if start is not None:
        return fit_softmax(rows, start, seed=seed, epochs=EPOCHS_MORE)
    onet = rows.select(torch.arange(len(rows)) >= postings)
    sums, _counts = weighted_sums(onet, categories)
    return fit_softmax(rows, fit_mean(rows, normalize(sums + 1e-6, dim=1)), seed=seed, epochs=4)


def choose_known_titles(titles: Titles, inputs: FitInputs, options: FitOptions) -> tuple[tuple[KnownTitle, ...], torch.Tensor]:
    """Return the titles of the training data, the most useful first, and the vectors `(n, dim)` float16 of the first n of them.

    The vectors serve as exemplars: n is `max_exemplars` at most, and 0 without that part. Titles of postings come first, by
    the weights of their rows. O*NET's follow, one of each category in turn, so that a bound leaves every category its share.
    """
    if not options.parts & {"exemplars", "known", "head"}:
        return (), torch.empty(0, inputs.encoder.ref.dim)
    pairs = list(zip(titles.clean, titles.rows.labels.tolist(), strict=True))
    row_of = {pair: row for row, pair in enumerate(pairs)}
    weights: defaultdict[tuple[str, int], float] = defaultdict(float)
    for pair, weight in zip(pairs, titles.rows.weights.tolist(), strict=True):
        weights[pair] += weight
    counted = sorted(weights.items(), key=lambda item: -item[1])
    onet_rows = _take_turns(inputs.onet.rows.labels.tolist())
    known = [
        KnownTitle(title=title, category=label, weight=VOTE_WEIGHT if inputs.unlabelled else count)
        for (title, label), count in counted
    ]
    onet_pairs = list(zip(inputs.onet.clean, inputs.onet.rows.labels.tolist(), strict=True))
    for title, label in (onet_pairs[row] for row in onet_rows):
        known.append(KnownTitle(title=title, category=label, weight=VOTE_WEIGHT))
    rows = [row_of[pair] for pair, _count in counted]
    vectors = torch.cat((titles.rows.embeddings[rows], inputs.onet.rows.embeddings[onet_rows]))
    bound = options.max_exemplars if "exemplars" in options.parts else 0
    return tuple(known), vectors[:bound].half()


def _take_turns(labels: list[int]) -> list[int]:
    """Return the row numbers in another order: the first row of each label, then the second of each, and so on."""
    turns: Counter[int] = Counter()
    order = []
    for row, label in enumerate(labels):
        order.append((turns[label], row))
        turns[label] += 1
    return [row for _turn, row in sorted(order)]
