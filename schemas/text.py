"""Turns titles and bodies into the text that a model reads. Training and serving both use it, so that they cannot disagree.

What counts as noise in a title is in `schemas/cleaning.py`. The rules here hold for every title, whatever the tables there say.
"""

import html
import re
import unicodedata

from schemas.cleaning import clean_once, drop_employer

TEMPLATE_ID = "title-v2"
"""The name of the rules of `clean_title`. Every artifact stores it; it is compared when one is loaded."""

MAX_CLEANED_CHARS = 300
"""Longer titles are not cleaned, so that the cost of the rules is bounded. Real titles are far shorter."""

MAX_BODY_CHARS = 20_000
"""How much of a body is read. Real bodies are shorter."""

_MAX_ROUNDS = 6
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060-\u2064\ufeff]")  # soft hyphens, zero-width and direction marks
_TAG = re.compile(r"<[a-zA-Z/!][^<>]{0,500}>")
_NO_CHARACTER = re.compile(r"&#[0-9]{20,}")  # Python refuses to read a number of thousands of digits
_FOREIGN = re.compile(r"[^\x00-\x7f]{17,}")
_MAX_MARKS = 16
_MARKS_TOO = frozenset("\u0f73\u0f75\u0f81\uff9e\uff9f")  # NFKC makes marks of them


def plain_text(title: str) -> str:
    """Return a title with all its words in one spelling: NFKC, no invisible marks, single spaces."""
    if not title.isascii():
        title = _INVISIBLE.sub("", unicodedata.normalize("NFKC", title))
    return " ".join(title.split())


def clean_title(title: str) -> str:
    """Return the part of a title that names the job: its plain text without place, pay, hours, advertising and employer.

    It is empty only if the plain text is empty. Cleaning a clean title changes nothing.
    """
    plain = plain_text(title)
    cleaned = plain
    for _ in range(_MAX_ROUNDS):
        if len(cleaned) > MAX_CLEANED_CHARS:
            return plain
        before, cleaned = cleaned, plain_text(drop_employer(clean_once(cleaned)))
        if cleaned == before:
            return cleaned or plain
    return plain  # the rules never come to an end here; the plain text is stable, since cleaning it ends here again


def title_key(clean: str) -> str:
    """Return the key under which two spellings of one cleaned title meet."""
    return clean.casefold()


def body_text(body: str) -> str:
    """Return the text of a body that the model reads: the first `MAX_BODY_CHARS` characters, no HTML tags, single spaces.

    It takes milliseconds and never raises, whatever the body holds.
    """
    whole = body[:MAX_BODY_CHARS].encode("utf-8", "ignore").decode()  # without lone surrogates, which a tokenizer refuses
    text = html.unescape(_NO_CHARACTER.sub(" ", _TAG.sub(" ", whole)))
    text = _FOREIGN.sub(lambda found: _cut_marks(found[0]), text)
    return plain_text(text)[:MAX_BODY_CHARS].rstrip()  # NFKC may turn one character into eighteen


def _cut_marks(text: str) -> str:
    """Cut long runs of combining marks: the time in which NFKC orders them grows with the square of a run's length."""
    kept, run = [], 0
    for char in text:
        run = run + 1 if unicodedata.combining(char) or char in _MARKS_TOO else 0
        if run <= _MAX_MARKS:
            kept.append(char)
    return "".join(kept)
