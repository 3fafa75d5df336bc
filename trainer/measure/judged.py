"""Measuring a model on judged postings, through the serving scorer. The figures are made in `judgements.py`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from consumer.abstention import Abstainer
from schemas.events import JobPosting
from schemas.missing import is_missing
from schemas.tables import TableError
from schemas.text import body_text, plain_text
from trainer.data.cleaned_titles import cached_clean_title
from trainer.data.judged import JudgedFile, JudgedPosting
from trainer.fit.calibration import REJECT
from trainer.fit.category_embeddings import EmbeddedRows
from trainer.fit.inputs import FitInputs, Titles
from trainer.fit.model import Model
from trainer.fit.title_embeddings import EmbeddingCache, TitleEmbeddings
from trainer.measure.figures import Figures
from trainer.measure.judgements import Judgements, judge_answers, judged_figures
from trainer.measure.predict import answer
from trainer.options import Say
from trainer.publish import make_scorer

EVERY_SET, EVERY_FILE = "all", "all files"
"""The names of a file's rows of all sets, and of the rows of all files."""


@dataclass(frozen=True, slots=True)
class JudgedTitles:
    """A file of n judged postings with their titles embedded. `acceptable` `(n, categories)` marks what may be answered."""

    file: JudgedFile
    titles: Titles
    acceptable: torch.Tensor


def embed_judged(
    files: Sequence[JudgedFile],
    inputs: FitInputs,
    cache: Path | None,
    say: Say,
    *,
    clean_text: Callable[[str], str] = cached_clean_title,
) -> list[JudgedTitles]:
    """Embed the titles of judged postings as `prepare` does those of labelled ones.

    Codes that begin no code of the taxonomy are told. Raises TableError, naming file, row and column, for a posting with no
    other codes.
    """
    codes = [category.onet_code for category in inputs.categories]
    marked = [_mark_acceptable(file.postings, codes) for file in files]
    for line in filter(None, (_describe_unknown(file.postings, codes) for file in files)):
        say(line)
    kept = EmbeddingCache(cache, inputs.encoder) if cache else None
    lines = [[plain_text(posting.title) for posting in file.postings] for file in files]
    clean = [[clean_text(line) for line in some] for some in lines]
    embeddings = TitleEmbeddings(inputs.encoder, [title for some in clean for title in some], kept)
    found = []
    for file, acceptable, posted, cleaned in zip(files, marked, lines, clean, strict=True):
        count = len(posted)
        rows = EmbeddedRows(embeddings.look_up(cleaned), torch.full((count,), REJECT), torch.ones(count))
        bodies = [body_text(posting.body) for posting in file.postings]
        found.append(JudgedTitles(file, Titles(cleaned, posted, rows, inputs.encoder.ref.sha256, bodies), acceptable))
    return found


def measure_judged(model: Model, judged: Sequence[JudgedTitles], *, seed: int) -> list[Figures]:
    """Return rows of figures: for each file those of all its postings and of each set, and if there are several those of all.

    Each row has `file` and `set` beside what `judged_figures` returns.
    """
    found = [(one.file, _judge(model, one)) for one in judged]
    rows = [row for file, judgements in found for row in _make_rows(file, judgements, seed)]
    if len(found) > 1:
        every = [judgements for _file, judgements in found]
        rows.append({"file": EVERY_FILE, "set": EVERY_SET, **judged_figures(_join(every), seed=seed)})
    return rows


def _make_rows(file: JudgedFile, judgements: Judgements, seed: int) -> Iterator[Figures]:
    yield {"file": file.name, "set": EVERY_SET, **judged_figures(judgements, seed=seed)}
    kinds = [posting.kind for posting in file.postings]
    for kind in filter(None, dict.fromkeys(kinds)):
        chosen = judgements.select(torch.tensor([own == kind for own in kinds]))
        yield {"file": file.name, "set": kind, **judged_figures(chosen, seed=seed)}


def _judge(model: Model, judged: JudgedTitles) -> Judgements:
    probabilities, decisions = answer(model, judged.titles)
    ruled_out = _rule_out(model, judged.file.postings)
    decisions = ["unclassified" if never else decision for never, decision in zip(ruled_out, decisions, strict=True)]
    codes = [category.onet_code for category in model.tensors.categories]
    return judge_answers(probabilities.cpu(), decisions, judged.acceptable, codes)


def _rule_out(model: Model, postings: Sequence[JudgedPosting]) -> list[bool]:
    """Return for each posting whether the consumer makes a dead letter of it or abstains, so that it is never accepted."""
    refused = [_is_refused(posting.title) for posting in postings]
    asked = [
        JobPosting(posting_id="judged", title="x" if never else posting.title, body=posting.body or None)
        for never, posting in zip(refused, postings, strict=True)
    ]
    abstentions = Abstainer().judge(asked, make_scorer(model))
    return [never or abstention is not None for never, abstention in zip(refused, abstentions, strict=True)]


def _is_refused(title: str) -> bool:
    """Return whether the consumer makes a dead letter of a posting with this title, so that it is never accepted."""
    return is_missing(title) or not plain_text(title)


def _mark_acceptable(postings: Sequence[JudgedPosting], codes: Sequence[str]) -> torch.Tensor:
    """Return which categories may be answered to each posting, `(n, categories)`."""
    marked = torch.zeros(len(postings), len(codes), dtype=torch.bool)
    for row, posting in enumerate(postings):
        if not posting.accept:
            continue
        marked[row] = torch.tensor([code.startswith(posting.accept) for code in codes])
        if not bool(marked[row].any()):
            raise TableError(
                f"{posting.place}: no code of the taxonomy begins with {' or '.join(posting.accept)}; a group is named by the "
                "characters that its codes share, such as 29-"
            )
    return marked


def _describe_unknown(postings: Sequence[JudgedPosting], codes: Sequence[str]) -> str | None:
    """Return a sentence on accepted codes that begin no code of the taxonomy; None without any."""
    given = {code: posting.place for posting in reversed(postings) for code in posting.accept}
    unknown = {code: place for code, place in given.items() if not any(known.startswith(code) for known in codes)}
    if not unknown:
        return None
    code, place = list(unknown.items())[-1]
    return f"{len(unknown):,} accepted codes that begin no code of the taxonomy do not count, first {code} at {place}"


def _join(judgements: Sequence[Judgements]) -> Judgements:
    masks = ([getattr(one, name) for one in judgements] for name in ("right", "right_group", "accepted", "names_job"))
    return Judgements(*(torch.cat(some) for some in masks))
