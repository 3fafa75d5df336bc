"""Finds postings in a foreign language by their text. What a posting states of its language is read in `codes.py`."""

from functools import lru_cache
from typing import NamedTuple

from consumer.languages.detector import guess_language
from consumer.languages.english import is_english_text, is_plain_title
from consumer.languages.scripts import find_languages_of_script
from schemas.text import clean_title

BODY_CHARS = 600
"""How much of a body is read."""
GUESSED_CHARS = 300
"""How much of it the statistics read where it is not plain English."""
MAX_KEPT = 8_192
"""How many postings are kept with what was found."""


class _Finding(NamedTuple):
    """The language of a text if it is surely `foreign`, and whether it is surely one that is `understood`."""

    foreign: str | None
    understood: bool


_UNSURE = _Finding(None, understood=False)
_UNDERSTOOD = _Finding(None, understood=True)


def find_foreign_language(title: str, body: str | None, understood: frozenset[str], *, reads_body: bool) -> str | None:
    """Return the language of a posting if its text is surely in none of those understood; else None.

    The title decides, since a model reads it above all. The body counts where it does not tell, or where the model reads
    bodies (`reads_body`).
    """
    return _find(title, body[:BODY_CHARS] if body else "", understood, reads_body)


@lru_cache(MAX_KEPT)
def _find(title: str, body: str, understood: frozenset[str], reads_body: bool) -> str | None:  # noqa: FBT001 - a cache's key
    of_title = _judge_title(title, understood)
    if of_title.foreign or not body or (of_title.understood and not reads_body):
        return of_title.foreign
    return _judge_text(body, understood, is_english=is_english_text(body)).foreign


def _judge_title(title: str, understood: frozenset[str]) -> _Finding:
    if is_plain_title(title):
        return _judge_english(understood)
    return _judge_text(clean_title(title), understood)


def _judge_text(text: str, understood: frozenset[str], *, is_english: bool = False) -> _Finding:
    if is_english:
        return _judge_english(understood)
    if by_script := find_languages_of_script(text):
        return _Finding(by_script[0], understood=False) if understood.isdisjoint(by_script) else _UNSURE
    guess = guess_language(text[:GUESSED_CHARS], understood)
    if guess is None:
        return _UNSURE
    return _Finding(guess.language, understood=False) if guess.is_foreign else _Finding(None, guess.is_understood)


def _judge_english(understood: frozenset[str]) -> _Finding:
    return _UNDERSTOOD if "en" in understood else _Finding("en", understood=False)
