"""The role words that a title ends in: an office manager of dentists is no dentist.

What the titles of the training that end in the same words were is counted in `head_table.py`.
"""

import re
from typing import NamedTuple

from schemas.job_words import split_words

MAX_WORDS = 2
"""The words of a head at most: "office manager"."""
_NEXT_PART = re.compile(r"\s+(?:of|for|to|in|at|with|on|from|by|under)\s+|\s*[,;:(|]\s*|\s+[-/]\s+", re.IGNORECASE)
"""What follows the head of a title: "Director of Nursing", "Office Manager - Dentist", "Nurse, Registered"."""
_WORD = re.compile(r"[a-z0-9'&+#.]+")
_LEVELS = split_words("i ii iii iv v 1 2 3 4 5")
_SHORT_WORD = 4
"""The length up to which a final s is no plural: "news", "bus"."""


class Head(NamedTuple):
    """The last words of a title's first part, MAX_WORDS at most, folded and singular; none where it has no word.

    `is_whole` says whether the title has no other words.
    """

    words: tuple[str, ...]
    is_whole: bool

    @property
    def keys(self) -> list[str]:
        """The last word, then the last two."""
        return [" ".join(self.words[-count:]) for count in range(1, len(self.words) + 1)]


def find_head(title: str) -> Head:
    """Return the head of a cleaned title."""
    words = _split_words(title)
    first = next(filter(None, map(_split_words, _NEXT_PART.split(title))), words)
    return Head(tuple(map(_make_singular, first[-MAX_WORDS:])), is_whole=len(words) <= MAX_WORDS and len(first) == len(words))


def _split_words(text: str) -> list[str]:
    return [word for word in _WORD.findall(text.casefold()) if word not in _LEVELS]


def _make_singular(word: str) -> str:
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > _SHORT_WORD else word
