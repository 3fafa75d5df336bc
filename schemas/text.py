"""Turns titles and bodies into the text that a model reads. Training and serving both use it, so that they cannot disagree.

What counts as noise in a title is in `schemas/cleaning.py`. The rules here hold for every title, whatever the tables there say.
HTML, Markdown and symbols are read in `markup.py`, `markdown.py` and `symbols.py`.
"""

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache

from schemas.cleaning import clean_once, drop_employer
from schemas.markdown import LINE_MARKS, MARKS, break_markdown, drop_markdown, squeeze_lines
from schemas.markup import break_markup, decode_markup, is_free_of_markup
from schemas.spelling import correct_spelling
from schemas.symbols import SOFT_MARKS, drop_symbols

TEMPLATE_ID = "title-v4"
"""The name of the rules of `clean_title`. Every artifact stores it; it is compared when one is loaded."""

MAX_TITLE_CHARS = 20_000
"""A longer title stays as posted, so that the cost of the rules is bounded. No consumer takes one."""

MAX_CLEANED_CHARS = 300
"""Longer titles are not cleaned, so that the cost of the rules is bounded. Real titles are far shorter."""

MAX_BODY_CHARS = 20_000
"""How much of a body's plain text is read. Real bodies are shorter."""

_MAX_ROUNDS = 6
_MAX_MARKS = 16
_SIGNS = f"<&{MARKS}"
"""A text of ASCII without these holds no HTML, and no Markdown but at the beginning of a line."""
_HYPHENS = {0x2010: "-", 0x2011: "-"}
_RARE = "\U00010000"
_FOREIGN = re.compile(r"[^\x00-\x7f]{17,}")
_MARKS_TOO = "\u0f73\u0f75\u0f81\uff9e\uff9f"  # NFKC makes marks of them
_NOT_COMPOSED = re.compile("([\u2122\u2120\u00b4])")  # NFKC would make "Acme™" to "AcmeTM"


def plain_title(title: str) -> str:
    """Return a title as it reads: entities decoded and tags removed until nothing changes, NFKC, single spaces.

    It goes out with the enriched posting. It takes milliseconds and never raises. Decoding it again changes nothing.
    """
    return _repeat(_decode_title, title, finish=break_markup)


def plain_body(body: str) -> str:
    """Return a whole body as plain text: entities decoded, tags and Markdown removed until nothing changes, lines kept.

    It goes out with the enriched posting. It takes milliseconds and never raises. Decoding it again changes nothing.
    """
    return _repeat(_decode_body, body, finish=lambda text: break_markdown(break_markup(text)), is_done=is_free_of_markup)


def plain_text(title: str) -> str:
    """Return a title with all its words in one spelling: its plain title without symbols and invisible marks."""
    return _repeat(_read_title, title, finish=break_markup)


def clean_title(title: str) -> str:
    """Return the part of a title that names the job: its plain text without place, pay, hours, advertising and employer.

    It is empty only if the plain text is empty. Cleaning a clean title changes nothing.
    """
    plain = plain_text(title)
    cleaned = plain
    for _ in range(_MAX_ROUNDS):
        if len(cleaned) > MAX_CLEANED_CHARS:
            return plain
        after = correct_spelling(drop_employer(clean_once(cleaned)))
        if after == cleaned or (after := plain_text(after)) == cleaned:
            return cleaned or plain
        cleaned = after
    return plain  # the rules never come to an end here; the plain text is stable, since cleaning it ends here again


def title_key(clean: str) -> str:
    """Return the key under which two spellings of one cleaned title meet."""
    return clean.casefold()


def body_text(body: str) -> str:
    """Return the text of a body that the model reads: `MAX_BODY_CHARS` characters of its plain text, NFKC, single spaces.

    It takes milliseconds and never raises, whatever the body holds. A plain body has the same text as the body it was made of.
    """
    return model_body(plain_body(body))


def model_body(plain: str) -> str:
    """Return the text that the model reads of a body that is plain already: see `body_text`."""
    start = plain[:MAX_BODY_CHARS]
    if start.isascii():  # its only white space are single spaces and ends of lines; splitting it takes five times as long
        return start.replace("\n\n", " ").replace("\n", " ").rstrip()
    whole = start.encode("utf-8", "ignore").decode()  # without lone surrogates, which a tokenizer refuses
    return " ".join(_compose(whole).split())[:MAX_BODY_CHARS].rstrip()  # NFKC may turn one character into eighteen


def _repeat(
    step: Callable[[str], str], text: str, *, finish: Callable[[str], str], is_done: Callable[[str], bool] = lambda _: False
) -> str:
    """Return what a step makes of a text that it no longer changes. `finish` ends it where the rounds do not.

    `is_done` tells that the step would change nothing more, which saves the work of the last round.
    """
    for _ in range(_MAX_ROUNDS):
        before, text = text, step(text)
        if text == before or is_done(text):
            return text
    text = finish(text)
    for _ in range(_MAX_ROUNDS):
        text = step(text)
    return text


def _read_title(title: str) -> str:
    text = _decode_title(title)
    if len(text) > MAX_TITLE_CHARS or (text.isascii() and "$" not in text):
        return text
    return _decode_title(drop_symbols(text))


def _decode_title(title: str) -> str:
    if len(title) > MAX_TITLE_CHARS:
        return title.strip()
    text = " ".join(title.split())
    if text.isascii() and is_free_of_markup(text):
        return text
    text = decode_markup(text, between=" ")
    return " ".join((text if text.isascii() else _compose(text)).split())


def _decode_body(body: str) -> str:
    if body.isascii() and not any(sign in body for sign in _SIGNS):  # many bodies: the rules below would take ten times as long
        plain = squeeze_lines(body)
        if not plain.startswith(LINE_MARKS) and not ("\n" in plain and any(f"\n{mark}" in plain for mark in LINE_MARKS)):
            return plain
    return drop_markdown(squeeze_lines(decode_markup(body, between="\n")))


def _compose(text: str) -> str:
    """Return a text in one spelling: NFKC without soft marks. Signs that NFKC would join to a word stay."""
    if text.isascii():
        return text
    text = SOFT_MARKS.sub("", text).translate(_HYPHENS)
    if _FOREIGN.search(text):
        text = _find_long_runs().sub(lambda found: found[0][:_MAX_MARKS], text)
    return "".join(part if at % 2 else unicodedata.normalize("NFKC", part) for at, part in enumerate(_NOT_COMPOSED.split(text)))


@lru_cache(maxsize=1)
def _find_long_runs() -> re.Pattern[str]:
    """Return the pattern of long runs of combining marks: the time in which NFKC orders them grows with the square of a run."""
    marks = [chr(code) for code in range(0x300, 0x1F000) if unicodedata.combining(chr(code)) or chr(code) in _MARKS_TOO]
    common, rare = (
        "".join(char for char in marks if (char < _RARE) is is_common) for is_common in (True, False)
    )  # apart, since a set without rare ones is searched ten times faster
    return re.compile(f"(?:[{common}]|(?=[{_RARE}-\U0010ffff])[{rare}]){{{_MAX_MARKS + 1},}}")
