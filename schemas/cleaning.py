"""Cleans a title in one pass with the tables of `schemas/noise.py`. How many passes there are is decided in `schemas/text.py`.

There are three kinds of rules, from the surest to those that need most context: phrases that are noise wherever they stand,
parts of a title (between commas, dashes, brackets) that are noise as a whole, and abbreviations that have one meaning.
"""

import re

from schemas import noise

_ZIP = re.compile(r" \d{5}$")
_LEVEL = re.compile(r"(?:[ivx]+|\d)$", re.IGNORECASE)
_LETTERS = re.compile(r"[a-z]+")
_DIGIT = re.compile(r"\d")
JOB_SHARE = 0.75
"""The share of job words from which on a part is a specialty rather than an employer. It was chosen on held-out postings."""
_TOWN_WORDS = 4
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
_EDGES = " -\u2013\u2014|,;:/&*!"


def clean_once(text: str) -> str:
    """Return plain text after one pass of every rule. What one rule uncovers is left to the next pass."""
    folded = text.casefold()
    pieces = noise.SEPARATOR.split(_drop_phrases(text, folded))
    parts = [part.strip() for part in pieces[::2]]
    separators = pieces[1::2]
    before = ["", *separators]
    kept = _drop_places(parts, before)
    kept = [_clean_part(part, before=sep, whole=folded) if part else "" for part, sep in zip(kept, before, strict=True)]
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
    end = next((i for i, part in enumerate(parts[1:], start=1) if not _has_job_words(part)), len(parts))
    return ", ".join(parts[:end])


def _has_job_words(text: str) -> bool:
    """Return whether enough of the words are job words. Small words do not count."""
    words = [word for word in _LETTERS.findall(text.casefold()) if word not in noise.SMALL_WORDS]
    return sum(word in noise.JOB_WORDS for word in words) >= JOB_SHARE * len(words)


def _drop_phrases(text: str, folded: str) -> str:
    left = noise.NUMBERS.sub(" ", text) if _DIGIT.search(text) else text
    if not noise.PHRASE_WORDS.isdisjoint(_LETTERS.findall(folded)):
        left = noise.PHRASES.sub(" ", left)
    return text if left is text else " ".join(left.split())


def _tidy(text: str) -> str:
    """Remove the punctuation that is left over around removed text."""
    if not _BRACKET.isdisjoint(text):
        text = _EMPTY_BRACKETS.sub(" ", _BEFORE_CLOSING.sub(r"\1", _AFTER_OPENING.sub(r"\1", text)))
    text = _LOOSE.sub("", _DOUBLED.sub(r"\1", " ".join(text.split())))
    text = _DANGLING.sub("", text.strip(_EDGES)).strip(_EDGES)
    return _ALL_IN_BRACKETS.sub(r"\1", text)


def _drop_places(parts: list[str], before: list[str]) -> list[str]:
    """Return the parts, "" for each that is a place. `before` holds the separator in front of each part."""
    kept = list(parts)
    for at, part in enumerate(parts[1:], 1):
        place = _ZIP.sub("", part)
        is_code = place in noise.STATE_CODES
        if is_code or place.casefold() in noise.STATES:
            town = at > 1 and before[at].strip() == "," and "/" not in before[at - 1] and _may_be_town(parts[at - 1])
            if town:
                kept[at - 1] = ""
            if town or not is_code or place in noise.SURE_STATE_CODES:
                kept[at] = ""
        elif place.casefold() in noise.PLACES or (place[-3:].strip() in noise.SURE_STATE_CODES and _may_be_town(place[:-3])):
            kept[at] = ""
    return kept


def _may_be_town(part: str) -> bool:
    words = part.split()
    return 0 < len(words) <= _TOWN_WORDS and all(word[0].isupper() for word in words) and not noise.FIELD_OF_WORK.search(part)


def _clean_part(part: str, *, before: str, whole: str) -> str:
    """Return a part without noise, "" if it is nothing else. `before` is the separator in front, `whole` the folded title."""
    words, folded = part.split(" "), part.casefold().split(" ")
    if "." in part:
        folded = [word.rstrip(".") for word in folded]
    if part in noise.STANDALONE_FORMS and (not before or noise.STANDALONE_FORMS[part] in whole):
        return "" if noise.STANDALONE_FORMS[part] in whole else noise.STANDALONE_FORMS[part]
    if not noise.HOUR_WORDS.isdisjoint(folded) and _NO_NEWS.issuperset(folded):
        return ""
    if before and noise.EMPLOYER_FOLLOWS.search(before) and _is_employer(folded):
        return ""
    start, end = _find_job_words(folded, therapy="physical therap" in whole)
    return _expand_abbreviations(words[start:end], folded[start:end], first=not before, whole=whole)


def _is_employer(folded: list[str]) -> bool:
    if len(folded) == 1 or (folded[-1] == "bank" and folded[-2] in noise.WORKING_BANKS):
        return False
    return folded[-1] in noise.EMPLOYER_ENDS or " ".join(folded[:2]) in noise.EMPLOYER_STARTS


def _find_job_words(folded: list[str], *, therapy: bool) -> tuple[int, int]:
    """Return where the words of a part begin and end without the hours and the place of work around them."""
    start, end = 0, len(folded)
    while end > 1 and folded[end - 1] in noise.TRAILING_NOISE:
        if folded[end - 1] == "pt" and (therapy or folded[end - 2] in noise.CLINICAL_WORDS):
            break
        end -= 1
    while end - start > 1 and folded[start] in noise.LEADING_NOISE:
        if folded[start + 1] in noise.KEPT_BEFORE.get(folded[start], ()) or (therapy and folded[start] == "pt"):
            break
        start += 1
    return start, end


def _expand_abbreviations(words: list[str], folded: list[str], *, first: bool, whole: str) -> str:
    if noise.SHORT_FORMS.isdisjoint(folded):
        return " ".join(words)
    full = [_find_full_form(words, folded, at, whole) or word for at, word in enumerate(words)]
    if len(words) > 1:
        return " ".join(word if long.casefold() in whole else long for word, long in zip(words, full, strict=True))
    if full[0] is words[0]:
        return words[0]
    if full[0] in whole or (not first and _is_spelled_out(folded[0], whole)):
        return ""
    return words[0] if words[0].islower() and not first else full[0]  # ", cna" names the insurer CNA


def _is_spelled_out(abbreviation: str, whole: str) -> bool:
    """Return whether the first letters of the title's other words contain the abbreviation."""
    return abbreviation in "".join(word[0] for word in _LETTERS.findall(whole) if word != abbreviation)


def _find_full_form(words: list[str], folded: list[str], at: int, whole: str) -> str | None:
    """Return what the word at a place stands for; None where it is not an abbreviation, or may stand for something else."""
    word, key, before = words[at], folded[at], folded[at - 1] if at else ""
    after = folded[at + 1] if at + 1 < len(folded) else ""
    if key in noise.ABBREVIATIONS:
        return None if before.isdecimal() else noise.ABBREVIATIONS[key]  # "24 hr"
    if word in noise.CAPITAL_FORMS:
        return noise.CAPITAL_FORMS[word]
    if word in noise.STANDALONE_FORMS:
        is_clinical = before in noise.CLINICAL_WORDS or (word in {"PT", "OT"} and after in noise.HELPER_WORDS)
        return noise.STANDALONE_FORMS[word] if is_clinical else None
    if key == "admin" and after == "assistant":
        return "administrative"
    last = not after or (at + 2 == len(words) and _LEVEL.match(after))
    # If the title holds a longer form too, as "Surgical Technologist (Surgical Tech)", that form says what "tech" stands for.
    is_clear = last and before and before not in noise.NOT_BEFORE_LAST_WORD and whole.count(key) == 1
    return noise.LAST_WORD_FORMS.get(key) if is_clear else None
