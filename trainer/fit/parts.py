"""The parts of a model, each fitted to labelled titles: category embeddings of title, line and body, and the known titles."""

from collections import Counter
from typing import Any

import torch
from torch.nn.functional import normalize

from consumer.model.encoder import SentenceEncoder
from schemas.artifact import KnownTitle
from trainer.fit.category_embeddings import Observe, Rows, fit_direct, fit_hinge, fit_mean, fit_softmax, weighted_sums
from trainer.fit.inputs import Source, Titles
from trainer.fit.title_embeddings import progress_bar, shown
from trainer.fit.training_texts import described, spellings
from trainer.options import FitOptions

EPOCHS_MORE = 2
"""Over all rows, for category embeddings that were fitted without some of them."""
VOTE_WEIGHT = 0.6
"""What a title of O*NET's counts as an exemplar, beside a labelled posting; see docs/accuracy.md."""


def title_embeddings(
    postings: Rows, source: Source, options: FitOptions, what: str, observe: Observe, begun: torch.Tensor | None = None
) -> torch.Tensor:
    """Return category embeddings `(categories, dim)` by the chosen method; softmax goes on from `begun`, where there is one."""
    with progress_bar() as bar:
        tuning: dict[str, Any] = {"seed": options.seed, "progress": shown(bar, what), "observe": observe}
        if options.epochs is not None:
            tuning["epochs"] = options.epochs
        match options.method:
            case "direct":
                return fit_direct(source.names)
            case "mean":
                return fit_mean(postings, source.prior)
            case "hinge":
                return fit_hinge(_with_stand_ins(postings, source), len(source.names), **tuning)
            case "softmax":
                start = fit_mean(postings, source.prior) if begun is None else begun
                more = {} if begun is None else {"epochs": EPOCHS_MORE}
                return fit_softmax(postings.with_rows(source.onet.rows), start, **tuning | more)


def _with_stand_ins(postings: Rows, source: Source) -> Rows:
    """Give each category without rows its prior as one.

    Put in place afterwards, that prior would win everywhere: a hinge leaves the cosines of what it trained far below those of
    raw title embeddings.
    """
    unseen = torch.bincount(postings.labels, minlength=len(source.names)) == 0
    return postings.with_rows(Rows(source.prior[unseen], unseen.nonzero().flatten(), torch.ones(int(unseen.sum()))))


def line_embeddings(
    postings: Titles, source: Source, options: FitOptions, encoder: SentenceEncoder, begun: torch.Tensor | None = None
) -> torch.Tensor:
    """Return category embeddings `(categories, line dim)` of titles as posted, under token vectors."""
    texts, labels, weights = spellings(postings, source)
    rows = Rows(encoder.encode(texts).cpu(), labels, weights)
    return _trained(rows, 2 * len(postings.lines), len(source.categories), begun, seed=options.seed)


def body_embeddings(
    postings: Titles, source: Source, options: FitOptions, encoder: SentenceEncoder, begun: torch.Tensor | None = None
) -> torch.Tensor:
    """Return category embeddings `(categories, body dim)` of bodies, under token vectors of their own."""
    texts, labels, weights = described(postings, source)
    rows = Rows(encoder.encode(texts).cpu(), labels, weights)
    return _trained(rows, len(texts) - len(source.descriptions.texts), len(source.categories), begun, seed=options.seed)


def _trained(rows: Rows, postings: int, categories: int, begun: torch.Tensor | None, *, seed: int) -> torch.Tensor:
    """Train category embeddings on rows, O*NET's from number `postings` on.

    They go on from `begun`, where there is one, else from class means shrunk to those of O*NET's.
    """
    if begun is not None:
        return fit_softmax(rows, begun, seed=seed, epochs=EPOCHS_MORE)
    onet = rows.where(torch.arange(len(rows)) >= postings)
    sums, _counts = weighted_sums(onet, categories)
    return fit_softmax(rows, fit_mean(rows, normalize(sums + 1e-6, dim=1)), seed=seed, epochs=4)


def known_titles(postings: Titles, source: Source, options: FitOptions) -> tuple[tuple[KnownTitle, ...], torch.Tensor]:
    """Return the titles that training met, the most useful first, and vectors `(n, dim)` float16 of as many as asked for.

    Postings' titles come first, by how often they were met; then O*NET's, in turn one of each category, so that a bound
    leaves every category its share.
    """
    if not options.parts & {"exemplars", "known"}:
        return (), torch.empty(0, source.encoder.ref.dim)
    met = Counter(zip(postings.clean, postings.rows.labels.tolist(), strict=True))
    place = {pair: row for row, pair in enumerate(zip(postings.clean, postings.rows.labels.tolist(), strict=True))}
    titles = [KnownTitle(title=text, category=label, weight=count) for (text, label), count in met.most_common()]
    rows = [place[title.title, title.category] for title in titles]
    turns: Counter[int] = Counter()
    ordered = []
    for row, (text, label) in enumerate(zip(source.onet.clean, source.onet.rows.labels.tolist(), strict=True)):
        ordered.append((turns[label], row, text, label))
        turns[label] += 1
    ordered.sort(key=lambda entry: entry[:2])
    titles += [KnownTitle(title=text, category=label, weight=VOTE_WEIGHT) for _turn, _row, text, label in ordered]
    vectors = torch.cat((postings.rows.embeddings[rows], source.onet.rows.embeddings[[row for _turn, row, *_ in ordered]]))
    bound = options.max_exemplars if "exemplars" in options.parts else 0
    return tuple(titles), vectors[:bound].half()
