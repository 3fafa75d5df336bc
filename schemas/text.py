"""How a posting becomes model text. Training and serving both call this, so that they can never disagree.

What counts as noise in a title is in `schemas/cleaning.py`; the laws that hold whatever those tables say are here.
"""

import html
import re
import unicodedata

from schemas.cleaning import clean_once, without_employer

TEMPLATE_ID = "title-v2"
"""Names the rule of `clean_title`; stored in every artifact and compared when one is loaded."""

MAX_CLEANED_CHARS = 300
"""A longer title is left as it is: real ones end far below, and the rules' cost stays bounded whatever is sent."""

MAX_BODY_CHARS = 20_000
"""Of a body, what is looked at; real ones end before."""

_MAX_ROUNDS = 6
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060-\u2064\ufeff]")  # soft hyphens, zero-width and direction marks
_TAG = re.compile(r"<[a-zA-Z/!][^<>]{0,500}>")
_NO_CHARACTER = re.compile(r"&#[0-9]{20,}")  # Python refuses to read a number of thousands of digits
_FOREIGN = re.compile(r"[^\x00-\x7f]{17,}")
_MAX_MARKS = 16
_MARKS_TOO = frozenset("\u0f73\u0f75\u0f81\uff9e\uff9f")  # become combining marks, and `unicodedata.combining` does not say so


def plain_text(title: str) -> str:
    """Return a title with nothing taken from it but its spelling: NFKC, no invisible marks, single spaces."""
    if not title.isascii():
        title = _INVISIBLE.sub("", unicodedata.normalize("NFKC", title))
    return " ".join(title.split())


def clean_title(title: str) -> str:
    """Return what names the job in a title: its plain text without place, pay, hours, advertising and employer.

    Never empty where the plain text is not, and cleaning a clean title changes nothing.
    """
    plain = plain_text(title)
    cleaned = plain
    for _ in range(_MAX_ROUNDS):
        if len(cleaned) > MAX_CLEANED_CHARS:
            return plain
        before, cleaned = cleaned, plain_text(without_employer(clean_once(cleaned)))
        if cleaned == before:
            return cleaned or plain
    return plain  # no rest was found: the plain text is one by definition


def title_key(clean: str) -> str:
    """Return the key under which two spellings of one cleaned title meet."""
    return clean.casefold()


def body_text(body: str) -> str:
    """Return the text of a body that the model sees: the first `MAX_BODY_CHARS` characters, no HTML tags, single spaces.

    Never raises, and takes milliseconds, whatever is sent.
    """
    whole = body[:MAX_BODY_CHARS].encode("utf-8", "ignore").decode()  # no lone surrogates: a tokenizer takes none
    text = html.unescape(_NO_CHARACTER.sub(" ", _TAG.sub(" ", whole)))
    text = _FOREIGN.sub(lambda found: _with_few_marks(found[0]), text)
    return plain_text(text)[:MAX_BODY_CHARS].rstrip()  # NFKC may make eighteen characters of one


def _with_few_marks(text: str) -> str:
    """Cut runs of combining marks: NFKC puts them in order in a time that grows with the square of a run's length."""
    kept, run = [], 0
    for char in text:
        run = run + 1 if unicodedata.combining(char) or char in _MARKS_TOO else 0
        if run <= _MAX_MARKS:
            kept.append(char)
    return "".join(kept)
