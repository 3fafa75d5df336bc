"""The parts of a model, each fitted to labelled titles: category embeddings of title, line and body, and the known titles."""

from collections import Counter
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
"""Over all rows, for category embeddings that were fitted without some of them."""
VOTE_WEIGHT = 0.6
"""What a title of O*NET's counts as an exemplar, beside a labelled posting; see docs/accuracy.md."""


def fit_title_part(
    postings: EmbeddedRows, inputs: FitInputs, options: FitOptions, what: str, observe: Observe, begun: torch.Tensor | None = None
) -> torch.Tensor:
    """Return category embeddings `(categories, dim)` by the chosen method; softmax goes on from `begun`, where there is one."""
    with progress_bar() as bar:
        tuning: dict[str, Any] = {"seed": options.seed, "progress": add_progress_line(bar, what), "observe": observe}
        if options.epochs is not None:
            tuning["epochs"] = options.epochs
        match options.method:
            case "direct":
                return fit_direct(inputs.names)
            case "mean":
                return fit_mean(postings, inputs.prior)
            case "hinge":
                return fit_hinge(_add_stand_ins(postings, inputs), len(inputs.names), **tuning)
            case "softmax":
                start = fit_mean(postings, inputs.prior) if begun is None else begun
                more = {} if begun is None else {"epochs": EPOCHS_MORE}
                return fit_softmax(postings.concatenate(inputs.onet.rows), start, **tuning | more)


def _add_stand_ins(postings: EmbeddedRows, inputs: FitInputs) -> EmbeddedRows:
    """Give each category without rows its prior as one.

    Put in place afterwards, that prior would win everywhere: a hinge leaves the cosines of what it trained far below those of
    raw title embeddings.
    """
    unseen = torch.bincount(postings.labels, minlength=len(inputs.names)) == 0
    return postings.concatenate(EmbeddedRows(inputs.prior[unseen], unseen.nonzero().flatten(), torch.ones(int(unseen.sum()))))


def fit_line_part(
    postings: Titles, inputs: FitInputs, options: FitOptions, encoder: SentenceEncoder, begun: torch.Tensor | None = None
) -> torch.Tensor:
    """Return category embeddings `(categories, line dim)` of titles as posted, under token vectors."""
    texts, labels, weights = collect_title_texts(postings, inputs)
    rows = EmbeddedRows(encoder.encode(texts).cpu(), labels, weights)
    return _fit_texts(rows, 2 * len(postings.lines), len(inputs.categories), begun, seed=options.seed)


def fit_body_part(
    postings: Titles, inputs: FitInputs, options: FitOptions, encoder: SentenceEncoder, begun: torch.Tensor | None = None
) -> torch.Tensor:
    """Return category embeddings `(categories, body dim)` of bodies, under token vectors of their own."""
    texts, labels, weights = collect_body_texts(postings, inputs)
    rows = EmbeddedRows(encoder.encode(texts).cpu(), labels, weights)
    return _fit_texts(rows, len(texts) - len(inputs.descriptions.texts), len(inputs.categories), begun, seed=options.seed)


def _fit_texts(rows: EmbeddedRows, postings: int, categories: int, begun: torch.Tensor | None, *, seed: int) -> torch.Tensor:
    """Train category embeddings on rows, O*NET's from number `postings` on.

    They go on from `begun`, where there is one, else from class means shrunk to those of O*NET's.
    """
    if begun is not None:
        return fit_softmax(rows, begun, seed=seed, epochs=EPOCHS_MORE)
    onet = rows.select(torch.arange(len(rows)) >= postings)
    sums, _counts = weighted_sums(onet, categories)
    return fit_softmax(rows, fit_mean(rows, normalize(sums + 1e-6, dim=1)), seed=seed, epochs=4)


def choose_known_titles(postings: Titles, inputs: FitInputs, options: FitOptions) -> tuple[tuple[KnownTitle, ...], torch.Tensor]:
    """Return the titles that training met, the most useful first, and vectors `(n, dim)` float16 of as many as asked for.

    Postings' titles come first, by how often they were met; then O*NET's, in turn one of each category, so that a bound
    leaves every category its share.
    """
    if not options.parts & {"exemplars", "known"}:
        return (), torch.empty(0, inputs.encoder.ref.dim)
    met = Counter(zip(postings.clean, postings.rows.labels.tolist(), strict=True))
    place = {pair: row for row, pair in enumerate(zip(postings.clean, postings.rows.labels.tolist(), strict=True))}
    titles = [KnownTitle(title=text, category=label, weight=count) for (text, label), count in met.most_common()]
    rows = [place[title.title, title.category] for title in titles]
    turns: Counter[int] = Counter()
    ordered = []
    for row, (text, label) in enumerate(zip(inputs.onet.clean, inputs.onet.rows.labels.tolist(), strict=True)):
        ordered.append((turns[label], row, text, label))
        turns[label] += 1
    ordered.sort(key=lambda entry: entry[:2])
    titles += [KnownTitle(title=text, category=label, weight=VOTE_WEIGHT) for _turn, _row, text, label in ordered]
    vectors = torch.cat((postings.rows.embeddings[rows], inputs.onet.rows.embeddings[[row for _turn, row, *_ in ordered]]))
    bound = options.max_exemplars if "exemplars" in options.parts else 0
    return tuple(titles), vectors[:bound].half()
