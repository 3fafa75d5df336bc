"""Takes apart what is glued to a word, before a title is split into its parts: dots, slashes, underscores, hyphens, endings.

`h/w` and `p/t` are words; gender tags are dropped in `noise.py`, except endings of German nouns such as `:in`.
"""

import re

from schemas.abbreviations import ABBREVIATIONS
from schemas.job_words import is_role, split_words
from schemas.places import STATE_CODES
from schemas.short_forms import FORMS

_DOTTED = re.compile(r"(?<![\w.])(?:[^\W\d_]\.){1,6}[^\W\d_](?!\w)\.?")  # "R.N.", "L.P.N"; "St." is no such word
_SHORT_DOT = re.compile(r"(?<![\w.])([^\W\d_]{2,6})\.(?=[^\W\d_]{2})")  # "Sr.Clerk", but "ASP.NET"
_GLUED_BRACKET = re.compile(r"(?<=[^\W\d_]{3})\((?!(?:es|ren|in|men|er|or)\))(?=[^\W\d_]{2})")  # "Nurse(RN)", but "Clerk(s)"
_ENDING = re.compile(r"(?<=[^\W\d_]{3})(?:[:*_/]-?in(?:nen)?|\(in(?:nen)?\)|(?<=te)(?:/-?r|\(r\)|[*:_]r))(?!\w)(?! training)")
_GLUES = frozenset(":*_/(")
_UNDERSCORE = re.compile(r"(?<=\S)_+(?=\S)")
_SLASHED = {
    "h/w": "hardware",
    "f/w": "firmware",
    "s/w": "software",
    "w/h": "warehouse",
    "h/d": "heavy duty",
    "m/w": "microwave",
    "a/p": "accounts payable",
    "a/r": "accounts receivable",
    "p/t": "part time",
    "f/t": "full time",
    "o/o": "owner operator",
    "w/o": "without",
}
_RADIO = r"(?= (?:engineer|technician|tech|radio|link|transmission|rf|design|antenna|circuit|backhaul|installer)\b)"
_SLASH = re.compile(
    rf"(?<![\w/])(?:(?:[hfs]/w|w/h|h/d|m/w{_RADIO}|a/[pr]|[pf]/t|o/o|w/o)(?![\w/])|w/(?: +(?=\S)|(?=[\w$]{{2}})))", re.IGNORECASE
)
_HYPHENED = re.compile(r"(?<![\w-])[^\W\d_]{2,}(?:-[^\W\d_]{2,})+(?![\w-])")
_LOOSE_WORDS = split_words("senior sr junior jr nights days evenings weekends overnight remote hybrid onsite ft pt prn")


def unglue(text: str) -> str:
    """Return plain text in which words that were glued together are apart. Doing it again changes nothing."""
    if not _GLUES.isdisjoint(text):
        text = _UNDERSCORE.sub(" ", _ENDING.sub("", text))
    if "/" in text:
        text = _SLASH.sub(_write_out, text)
    if "(" in text:
        text = _GLUED_BRACKET.sub(" (", text)
    if "." in text:
        text = _SHORT_DOT.sub(_part_words, _DOTTED.sub(_drop_dots, text))
    return _HYPHENED.sub(_split_hyphens, text) if "-" in text else text


def _drop_dots(found: re.Match[str]) -> str:
    """Return the letters alone if they are an abbreviation of a job or a state. "S.A." and "U.S." stay."""
    letters = found[0].replace(".", "")
    is_known = (
        letters.casefold() in ABBREVIATIONS or letters in STATE_CODES or (letters.isupper() and letters.casefold() in FORMS)
    )
    return letters if is_known else found[0]


def _part_words(found: re.Match[str]) -> str:
    return f"{found[1]}. " if found[1].casefold() in ABBREVIATIONS or found[1].casefold() in FORMS else found[0]


def _write_out(found: re.Match[str]) -> str:
    return _SLASHED.get(found[0].casefold(), "with ")


def _split_hyphens(found: re.Match[str]) -> str:
    """Return the words apart if one names a job and another is no part of its name: "ICU-RN-Nights", "Clerk-Senior"."""
    words = found[0].casefold().split("-")
    is_sure = [word in ABBREVIATIONS for word in words]
    is_loose = any(word in _LOOSE_WORDS for word in words) or (any(is_sure) and found[0].isupper())
    return found[0].replace("-", " - ") if is_loose and (any(is_sure) or any(map(is_role, words))) else found[0]
