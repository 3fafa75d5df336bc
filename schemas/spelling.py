"""Corrects misspelt job words: unknown words one slip away from exactly one frequent job word. Real words and names stay.

`frequent_words.txt` holds the words that are looked for, `similar_words.txt` the real words that resemble one of them.
"""

import re
from functools import lru_cache

from schemas.job_words import JOB_WORDS, SMALL_WORDS, read_words

_WORD = re.compile(r"[^\W\d_]+")
_MIN_CHARS, _MAX_CHARS = 5, 20
_MAX_LEVEL_CHARS = 3
_TELLING_WORDS = JOB_WORDS - SMALL_WORDS
_LONG, _VERY_LONG = 6, 8
"""The lengths from which on a letter may be missing or too many, or be another. Below, only neighbours may change places."""


def correct_spelling(text: str) -> str:
    """Return clean text in which misspelt job words are right up to the first comma: names follow it.

    Other words are needed to know that the text is English.
    """
    first, comma, rest = text.partition(",")
    if JOB_WORDS.issuperset(_WORD.findall(first.casefold())):
        return text
    words = _WORD.findall(first)
    right = {word: right for word in words if word.casefold() not in JOB_WORDS and (right := _correct_word(word))}
    if not right or not (sum(len(word) > _MAX_LEVEL_CHARS for word in words) == len(right) or any(map(_tells_english, words))):
        return text
    return _WORD.sub(lambda found: right.get(found[0], found[0]), first) + comma + rest


def _tells_english(word: str) -> bool:
    return word.casefold() in _TELLING_WORDS


def _correct_word(word: str) -> str | None:
    """Return a word as it should be written, in its case; None if it is no slip."""
    if not (word.islower() or word.isupper() or word.istitle()):
        return None
    right = find_right_word(word.casefold())
    if right is None or word.islower():
        return right
    return right.upper() if word.isupper() else right.capitalize()


@lru_cache(maxsize=4096)
def find_right_word(word: str) -> str | None:
    """Return the one frequent job word that a folded word is a slip away from; None for a real word, or if there are several."""
    if word in JOB_WORDS or (word.endswith("s") and word[:-1] in JOB_WORDS):
        return None
    if not _MIN_CHARS <= len(word) <= _MAX_CHARS or not word.isascii() or word in _similar_words():
        return None
    found = {right for short in (word, *_deletions(word)) for right in _index().get(short, ()) if _is_slip(word, right)}
    return found.pop() if len(found) == 1 else None


def _is_slip(word: str, right: str) -> bool:
    """Return whether one letter is missing, doubled or wrong, or two neighbours have changed places. The first letter counts."""
    if word[0] != right[0] or word == right:
        return False
    start = next(
        (at for at, (one, other) in enumerate(zip(word, right, strict=False)) if one != other), min(len(word), len(right))
    )
    rest, wanted = word[start:], right[start:]
    if rest[:2] == wanted[1::-1] and rest[2:] == wanted[2:] and len(rest) > 1:
        return True
    if rest[1:] == wanted[1:]:
        return len(right) >= _VERY_LONG
    return len(right) >= _LONG and (rest[1:] == wanted or rest == wanted[1:])


def _deletions(word: str) -> list[str]:
    return [word[:at] + word[at + 1 :] for at in range(len(word))]


@lru_cache(maxsize=1)
def _index() -> dict[str, tuple[str, ...]]:
    """Return the frequent words under each word that they become when no letter or one is left out."""
    index: dict[str, tuple[str, ...]] = {}
    for right in sorted(read_words("frequent_words.txt")):
        for short in {right, *_deletions(right)}:
            index[short] = (*index.get(short, ()), right)
    return index


@lru_cache(maxsize=1)
def _similar_words() -> frozenset[str]:
    return read_words("similar_words.txt")
