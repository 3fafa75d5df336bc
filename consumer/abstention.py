"""Finds postings for which a model's answer does not count, whatever its probability. It is published all the same."""

from collections.abc import Sequence
from dataclasses import dataclass

from consumer.languages.codes import read_languages
from consumer.languages.postings import find_foreign_language
from consumer.languages.scripts import find_languages_of_script
from consumer.languages.understood import AUTO, Understood, find_understood
from consumer.model.scorer import Scorer
from schemas.events import JobPosting, Reason
from schemas.no_job import title_names_no_job


@dataclass(frozen=True, slots=True)
class Abstention:
    """Why a posting is `unclassified`. `language` is the code of the language that was found, if that is the reason."""

    reason: Reason
    language: str | None = None


class Abstainer:
    """Judges postings before their answers. `languages` is the setting, as `parse_languages` returns it."""

    def __init__(self, languages: tuple[str, ...] = (AUTO,)) -> None:
        self._languages = languages

    def judge(self, postings: Sequence[JobPosting], scorer: Scorer) -> list[Abstention | None]:
        """Return for each posting, in order, why the scorer's answer for it does not count; None where it does."""
        manifest = scorer.manifest
        understood = find_understood(self._languages, manifest.languages, manifest.encoder.id)
        reads_body = scorer.mixture.uses_body
        return [_judge(posting, understood, reads_body=reads_body) for posting in postings]


def _judge(posting: JobPosting, understood: Understood, *, reads_body: bool) -> Abstention | None:
    """Return why the answer for a posting does not count."""
    if understood is not None and (language := _find_foreign(posting, understood, reads_body=reads_body)) is not None:
        return Abstention("language", language)
    decided_by_body = reads_body and bool(posting.body)
    return Abstention("no_job") if not decided_by_body and title_names_no_job(posting.title) else None


def _find_foreign(posting: JobPosting, understood: frozenset[str], *, reads_body: bool) -> str | None:
    """Return the language of a posting if it is none of those understood. What the posting says counts before its text."""
    stated = read_languages(posting.language) if posting.language is not None else frozenset()
    if stated and stated.isdisjoint(understood):
        return min(stated)
    if stated and stated <= understood:  # feeds have one language by default; still, no such title is written in another script
        by_script = find_languages_of_script(posting.title)
        return by_script[0] if by_script and understood.isdisjoint(by_script) else None
    return find_foreign_language(posting.title, posting.body, understood, reads_body=reads_body)
