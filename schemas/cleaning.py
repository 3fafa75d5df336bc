"""Cleans a title in one pass with the tables of `schemas/noise.py`. How many passes there are is decided in `schemas/text.py`.

There are three kinds of rules, from the surest to those that need most context: phrases that are noise wherever they stand,
parts of a title (between commas, dashes, brackets) that are noise as a whole, and abbreviations that have one meaning.
"""

import re

from schemas import noise
from schemas.abbreviations import ABBREVIATIONS
from schemas.glue import unglue
from schemas.job_words import JOB_WORDS, SMALL_WORDS
from schemas.places import PLACE_WORDS, drop_places
from schemas.short_forms import DROPPED, FORMS, Part, Title, find_meaning

_LETTERS = re.compile(r"[a-z]+")
_DIGIT = re.compile(r"\d")
JOB_SHARE = 0.75
"""The share of job words from which on a part is a specialty rather than an employer. It was chosen on held-out postings."""
_MAX_SPECIALTY_WORDS = 2
_SHORT = 2
_NO_NEWS = noise.HOUR_WORDS | noise.FILLER_WORDS

_DASHES = r"\u2013\u2014-"
_EMPTY_BRACKETS = re.compile(rf"[(\[][ ,;:|/*!{_DASHES}]*[)\]]")
_AFTER_OPENING = re.compile(rf"([(\[])[ ,;:|/{_DASHES}]+")
_BEFORE_CLOSING = re.compile(rf"(?: [,;:|/&+{_DASHES}]+|[,;:|/]| )+([)\]])")
_DOUBLED = re.compile(rf"( ?[|,;:/!{_DASHES}])(?: +[|,;:/!{_DASHES}]+)+")
_LOOSE = re.compile(r" +(?=[,;:](?: |$))|(?: \.)+(?= |$)")
_DANGLING = re.compile(r"(?: (?:and|or|with|in|at|for|to|plus|from|while|[+&]))+$|^[+&] |^as an? ")  # OR is an operating room
_ALL_IN_BRACKETS = re.compile(r"^\(([^()]*)\)$")
_BRACKET = frozenset("()[]")
_BARE_TEXT = re.compile(r"[A-Za-z]++(?:,? [A-Za-z]++)*+")
_TRIGGERS = (
    noise.PHRASE_WORDS | noise.LEAD_WORDS | noise.HOUR_WORDS | noise.LEADING_NOISE | noise.TRAILING_NOISE | noise.EMPLOYER_ENDS
) | {*PLACE_WORDS, *FORMS, *ABBREVIATIONS, "university", "city", "county", "state", "united", "us", "at", "in"}
"""Words that a text of letters, spaces and commas must hold for any rule to change it."""
_EDGES = " -\u2013\u2014|,;:/&*!"


def clean_once(text: str) -> str:
    """Return plain text after one pass of every rule. What one rule uncovers is left to the next pass."""
    title = read_title(text)
    return text if is_bare(text, title) else apply_rules(text, title)


def read_title(text: str) -> Title:
    """Return a text as the rules look at it."""
    folded = text.casefold()
    return Title(folded, _LETTERS.findall(folded))


def is_bare(text: str, title: Title) -> bool:
    """Return whether no rule would change a text, told in a tenth of the time: it has neither signs nor telling words."""
    return _TRIGGERS.isdisjoint(title.words) and _BARE_TEXT.fullmatch(text) is not None


def apply_rules(text: str, title: Title) -> str:
    """Return plain text after one pass of every rule, also where `is_bare` tells that none would change it."""
    apart = unglue(text)
    if apart != text:
        title = read_title(apart)
    pieces = noise.SEPARATOR.split(_drop_phrases(apart, title))
    parts = [part.strip() for part in pieces[::2]]
    separators = pieces[1::2]
    before = ["", *separators]
    kept = drop_places(parts, before, title)
    kept = [
        _clean_part(part, title, before=sep, after=end) if part else ""
        for part, sep, end in zip(kept, before, [*separators, ""], strict=True)
    ]
    joined = kept[0]
    for separator, part, was in zip(separators, kept[1:], parts[1:], strict=True):
        joined += separator + part if part or not was or not _BRACKET.isdisjoint(separator) else ""
    return joined.strip(_EDGES) if joined == text else _tidy(joined)


def drop_employer(text: str) -> str:
    """Return "job title" for "job title, employer": the text up to the first part after a comma without enough job words.

    The text stays whole unless its first part has enough job words itself: in another language, every part would look like an
    employer.
    """
    parts = text.split(", ")
    if len(parts) == 1 or not _has_job_words(parts[0]):
        return text
    end = next((at for at, part in enumerate(parts) if at and _is_unknown(part, parts[0])), len(parts))
    return ", ".join(parts[:end])


def _is_unknown(part: str, head: str) -> bool:
    """Return whether a part is no job and no specialty of the head, so that it must be the employer."""
    return not _has_job_words(part) and not (_may_be_specialty(part) and _is_role_only(head))


def _is_role_only(text: str) -> bool:
    """Return whether a text says nothing but a role and its rank, as "Senior Architect" does."""
    return noise.BARE_WORDS.issuperset(_LETTERS.findall(text.casefold()))


def _may_be_specialty(part: str) -> bool:
    words = part.split()
    return len(words) <= _MAX_SPECIALTY_WORDS and not any(word[0].islower() for word in words)


def _has_job_words(text: str) -> bool:
    """Return whether enough of the words are job words. Small words do not count."""
    words = [word for word in _LETTERS.findall(text.casefold()) if word not in SMALL_WORDS]
    return sum(word in JOB_WORDS for word in words) >= JOB_SHARE * len(words)


def _drop_phrases(text: str, title: Title) -> str:
    left = noise.NUMBERS.sub(" ", text) if _DIGIT.search(text) else text
    if title.words and title.words[0] in noise.LEAD_WORDS:
        left = noise.LEAD_IN.sub("", left, count=1)
    if not noise.PHRASE_WORDS.isdisjoint(title.words):
        left = noise.PHRASES.sub(" ", left)
    return text if left is text else " ".join(left.split())


def _tidy(text: str) -> str:
    """Remove the punctuation that is left over around removed text."""
    if not _BRACKET.isdisjoint(text):
        text = _EMPTY_BRACKETS.sub(" ", _BEFORE_CLOSING.sub(r"\1", _AFTER_OPENING.sub(r"\1", text)))
    text = _LOOSE.sub("", _DOUBLED.sub(r"\1", " ".join(text.split())))
    text = _DANGLING.sub("", text.strip(_EDGES)).strip(_EDGES)
    return _ALL_IN_BRACKETS.sub(r"\1", text)


def _clean_part(part: str, title: Title, *, before: str, after: str) -> str:
    """Return a part without noise, "" if it is nothing else. `before` and `after` are the separators around it."""
    words, folded = part.split(" "), part.casefold().split(" ")
    if "." in part:
        folded = [word.rstrip(".") for word in folded]
    if not FORMS.isdisjoint(folded):
        written = _write_out(words, Part(title, folded, before, after))
        if written != words:
            return " ".join(word for word in written if word)
    if not noise.HOUR_WORDS.isdisjoint(folded) and _NO_NEWS.issuperset(folded):
        return ""
    if before and noise.EMPLOYER_FOLLOWS.search(before) and _is_employer(folded):
        return ""
    start, end = _find_job_words(folded, therapy="pt" in folded and "physical therap" in title.folded)
    return _expand_abbreviations(words[start:end], folded[start:end], first=not before, whole=title.folded)


def _write_out(words: list[str], part: Part) -> list[str]:
    """Return the words with each abbreviation whose meaning is clear here written out, DROPPED where it is noise."""
    written = []
    for at, word in enumerate(words):
        meaning = find_meaning(word.rstrip("."), part, at) if part.words[at] in FORMS else None
        if meaning and meaning in part.title.folded:  # the title says it already
            meaning = DROPPED if len(words) == 1 else None
        written.append(word if meaning is None else meaning)
    return written


def _is_employer(folded: list[str]) -> bool:
    if len(folded) == 1 or (folded[-1] == "bank" and folded[-2] in noise.WORKING_BANKS):
        return False
    return folded[-1] in noise.EMPLOYER_ENDS or " ".join(folded[:2]) in noise.EMPLOYER_STARTS


def _find_job_words(folded: list[str], *, therapy: bool) -> tuple[int, int]:
    """Return where the words of a part begin and end without the hours and the place of work around them."""
    start, end = 0, len(folded)
    while end > 1 and folded[end - 1] in noise.TRAILING_NOISE and not (therapy and folded[end - 1] == "pt"):
        end -= 1
    while end - start > 1 and folded[start] in noise.LEADING_NOISE:
        if folded[start + 1] in noise.KEPT_BEFORE.get(folded[start], ()) or (therapy and folded[start] == "pt"):
            break
        start += 1
    return start, end


def _expand_abbreviations(words: list[str], folded: list[str], *, first: bool, whole: str) -> str:
    if ABBREVIATIONS.keys().isdisjoint(folded) and "'s" not in whole:
        return " ".join(words)
    full = [_find_full_form(folded, at) or word for at, word in enumerate(words)]
    if full == words:
        return " ".join(words)
    if len(words) > 1:
        return " ".join(word if long.casefold() in whole else long for word, long in zip(words, full, strict=True))
    if full[0] in whole or ((not first or len(folded[0]) > _SHORT) and _is_spelled_out(folded[0], whole)):
        return ""
    return words[0] if words[0].islower() and not first else full[0]  # ", cna" names the insurer CNA


def _is_spelled_out(abbreviation: str, whole: str) -> bool:
    """Return whether the first letters of the title's other words contain the abbreviation."""
    return abbreviation in "".join(word[0] for word in _LETTERS.findall(whole) if word != abbreviation)


def _find_full_form(folded: list[str], at: int) -> str | None:
    """Return what the word at a place always stands for; None where it is no such abbreviation, or follows a number ("24 hr")."""
    word = folded[at]
    long = ABBREVIATIONS.get(word)
    if long is None and word.endswith("'s"):
        singular = ABBREVIATIONS.get(word[:-2])
        long = f"{singular}s" if singular else None
    return None if at and folded[at - 1].isdecimal() else long
