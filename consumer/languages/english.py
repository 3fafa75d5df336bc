"""Tells plain English at a glance, by words alone. Most postings need no more, and a detector takes a hundred times as long."""

from schemas.job_words import JOB_WORDS

MIN_SHARE = 0.5
"""A title is plain English if at least so many of its words are words of English job titles."""
MIN_BODY_SHARE = 0.07
"""A body is English if at least so many of its words are WORDS."""
MIN_BODY_WORDS = 3
"""So many of them must be there."""
WORDS = frozenset(
    {"the", "and", "with", "you", "your", "our", "are", "this", "that", "from", "has", "must", "who", "their", "other", "would"}
    | {"experience", "required", "including", "should", "ability", "which", "what", "they", "while", "been", "about", "through"}
)
"""Frequent English words that are no words of other languages."""
_LETTERS = {code: chr(code).lower() if chr(code).isalpha() else " " for code in range(128)}
"""Makes small letters of letters, and spaces of all other signs of ASCII."""
_MIN_CHARS = 3
"""Shorter words say nothing: most are abbreviations."""


def is_plain_title(title: str) -> bool:
    """Return whether a title is in plain English."""
    return title.isascii() and _has_job_words(title)


def _has_job_words(text: str) -> bool:
    words = [word for word in text.translate(_LETTERS).split() if len(word) >= _MIN_CHARS]
    return bool(words) and sum(map(JOB_WORDS.__contains__, words)) >= MIN_SHARE * len(words)


def is_english_text(text: str) -> bool:
    """Return whether running text is in English: by its frequent words, else as titles are, since some texts are mere lists."""
    words = text.lower().split()
    found = sum(map(WORDS.__contains__, words))
    return (found >= MIN_BODY_WORDS and found >= MIN_BODY_SHARE * len(words)) or _has_job_words(text)
