"""Tells foreign languages that are written in Latin letters, by the statistics of py3langid. Scripts are in `scripts.py`."""

from functools import lru_cache
from typing import NamedTuple

from py3langid.langid import MODEL_FILE, LanguageIdentifier

USUAL = frozenset({"cs", "da", "de", "en", "es", "fi", "fr", "hu", "it", "nl", "no", "pl", "pt", "ro", "sv", "tr"})
"""The languages that a text may be in, besides those that the model understands. More of them would find more by chance."""
MAX_UNDERSTOOD = 0.02
"""A text is surely foreign if the languages that are understood have no more of the probability together."""
MIN_LETTERS = 8
"""A text of fewer letters is never sure."""


class Guess(NamedTuple):
    """The likeliest language of a text, and the probability that it is one that is understood."""

    language: str
    understood: float

    @property
    def is_foreign(self) -> bool:
        """Whether the text is surely in a language that is not understood."""
        return self.understood <= MAX_UNDERSTOOD

    @property
    def is_understood(self) -> bool:
        """Whether the text is surely in a language that is understood."""
        return self.understood >= 1 - MAX_UNDERSTOOD


def guess_language(text: str, understood: frozenset[str]) -> Guess | None:
    """Return what a text is likely written in; None where it is too short to say."""
    if sum(map(str.isalpha, text)) < MIN_LETTERS:
        return None
    shares = dict(_load(understood).rank(text))
    best = max(shares, key=shares.__getitem__)
    return Guess(best, float(sum(share for language, share in shares.items() if language in understood)))


@lru_cache(maxsize=2)
def _load(understood: frozenset[str]) -> LanguageIdentifier:
    """Return the statistics for the usual languages and those that are understood. It takes tens of milliseconds, once."""
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(sorted(USUAL | understood & set(identifier.labels)))
    return identifier
