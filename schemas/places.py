"""Finds the places in a title: states, their codes, large towns, towns before a state. Some codes mean something else, too."""

import re

from schemas.job_words import JOB_WORDS, is_role, names_job, split_words
from schemas.short_forms import FORMS, Title

STATES = split_words(
    "alabama alaska arizona arkansas california colorado connecticut delaware florida georgia hawaii idaho illinois indiana "
    "iowa kansas kentucky louisiana maine maryland massachusetts michigan minnesota mississippi missouri montana nebraska "
    "nevada ohio oklahoma oregon pennsylvania tennessee texas utah vermont virginia washington wisconsin wyoming"
)
SURE_STATE_CODES = split_words("AK AZ CA FL GA IA IL KS KY MI MN MO NC NH NJ NM NV NY OH RI SC SD TN TX UT WA WI WV WY")
"""State codes that mean nothing else in a title."""
STATE_CODES = SURE_STATE_CODES | split_words("AL AR CO CT DC DE HI ID IN LA MA MD ME MS MT ND NE OK OR PA VA VT")
"""All state codes. The others also stand for something else, as in CT scans and OR (operating room) nurses."""
PLACES = STATES | frozenset(
    place.strip()
    for line in """
new hampshire|new jersey|new mexico|new york|north carolina|north dakota|rhode island|south carolina|south dakota|west virginia
us|usa|u.s.|u.s.a.|united states|uk|united kingdom|canada|india|singapore
london|paris|berlin|munich|dublin|toronto|sydney|melbourne|new york city|nyc
los angeles|san francisco|san diego|san antonio|san jose|philadelphia|washington dc|chicago|houston
dallas|austin|boston|seattle|denver|atlanta|miami|phoenix|bangalore|bengaluru|hyderabad|mumbai
""".strip().splitlines()
    for place in line.split("|")
)
FIELD_OF_WORK = re.compile(  # "Manager, Marketing, CA": here the part before a state is not a town
    r"(?:(?<!unct)(?<!stat)ions?|ance|ogy|ics|ment|keting|eering|sing|ting|(?:^|\W)(?:sales|surgery|pharmacy|emergency|care|services?|health|medicine|"
    r"family|adult|support|therapy|security|it|hr|er|icu|legal|tax|audit|data|lab|rn|lpn|room|cardio|nurse|radiology))$",
    re.IGNORECASE,
)
_OTHER_MEANINGS = {
    "CT": split_words("scan technologist tech technician"),
    "AR": split_words("accountant accounting clerk billing collections collector specialist ap developer"),
    "ID": split_words("design designer"),
    "DC": split_words("chiropractor chiropractic"),
    "ME": split_words("engineer"),
    "MT": split_words("technologist"),
}
"""Words beside which a code may be no state: computed tomography, accounts receivable, instructional design."""
_CLINIC_CODES = split_words("AL CT DC ID MD MT OR")
"""Codes that mean something else in a clinic: assisted living, doctors, operating rooms."""
_LEADING_CODES = SURE_STATE_CODES - split_words("CA GA MI NC SC UT")
"""Codes that are a state in front of a job, without anything between: "NC Machinist" is no such title."""
_TRADE_CODES = split_words("OR CT")
"""Codes that are a state only beside a job that no clinic has."""
_LETTERS = re.compile(r"[a-z]+")
PLACE_WORDS = frozenset(_LETTERS.findall(" ".join((*PLACES, *STATE_CODES)).casefold()))
"""Every word of a place, folded. A title without any of them is not searched for places."""
_ZIP = re.compile(r" \d{5}$")
_TOWN_WORDS = 4


def drop_places(parts: list[str], before: list[str], title: Title) -> list[str]:
    """Return the parts of a title without places, "" for a part that is one. `before` holds the separator in front of each."""
    if PLACE_WORDS.isdisjoint(title.words):
        return parts
    kept = list(parts)
    for at, part in enumerate(parts):
        if at:
            _drop_later_place(kept, before, at, title)
        elif part and _is_place(_drop_zip(part), title) and len(parts) > 1 and "/" not in before[1]:
            kept[0] = "" if title.has_job else part
        if kept[at] and title.has_job:
            kept[at] = _drop_inner_place(kept[at], title, first=not at)
    return kept


def _drop_zip(part: str) -> str:
    return _ZIP.sub("", part) if part[-1:].isdigit() else part


def _drop_later_place(parts: list[str], before: list[str], at: int, title: Title) -> None:
    part = parts[at]
    place = _drop_zip(part)
    is_code = place in STATE_CODES
    if is_code or place.casefold() in STATES:
        is_town = before[at].strip() == "," and "/" not in before[at - 1] and _may_be_town(parts[at - 1])
        is_town = is_town and (at > 1 or _begins_with_town(parts, title))
        if is_town:
            parts[at - 1] = ""
        is_choice = "/" in before[at] or "/" in "".join(before[at + 1 : at + 2])
        if is_town or not is_code or place in SURE_STATE_CODES or (_is_place(place, title) and title.has_job and not is_choice):
            parts[at] = ""
        if is_code and not parts[at] and not is_town and before[at].strip() == "," and title.has_job:
            parts[at - 1] = _drop_last_town(parts[at - 1])
    elif _is_place(place, title):
        parts[at] = ""


def _is_place(part: str, title: Title) -> bool:
    """Return whether a whole part is a place: a code that stands for nothing else in this title, or a name."""
    if part not in STATE_CODES:
        return part.casefold() in PLACES or _is_town_and_state(part, title)
    if part in _TRADE_CODES and not title.has_trade:
        return False
    return not (part in _CLINIC_CODES and title.has_clinic) and _OTHER_MEANINGS.get(part, frozenset()).isdisjoint(title.words)


def _is_town_and_state(part: str, title: Title) -> bool:
    town, _, code = part.rpartition(" ")
    if code in SURE_STATE_CODES:
        return _may_be_town(town)
    return (
        code in STATE_CODES
        and title.has_job
        and _is_place(code, title)
        and _may_be_town(town)
        and JOB_WORDS.isdisjoint(_fold_words(town.split()))
    )


def _drop_last_town(part: str) -> str:
    """Return a part that names a job without a town at its end. A state follows the part."""
    words = part.split()
    end = _find_job_end(words)
    return " ".join(words[:end]) if end and _is_town_name(words[end:]) else part


def _begins_with_town(parts: list[str], title: Title) -> bool:
    """Return whether the first part may be a town, since what names the job comes later."""
    return title.has_job and names_job(_LETTERS.findall(" ".join(parts[2:]).casefold()))


def _may_be_town(part: str) -> bool:
    words = part.split()
    if not 0 < len(words) <= _TOWN_WORDS or not all(word[0].isupper() for word in words) or FIELD_OF_WORK.search(part):
        return False
    return not is_role(words[-1].casefold())


def _drop_inner_place(part: str, title: Title, *, first: bool) -> str:
    """Return a part that names a job without the state around its words, and without the town in front of a state."""
    words = part.split(" ")
    if len(words) == 1:
        return part
    if first and words[0] in _LEADING_CODES and names_job(_fold_words(words[1:])):
        words = words[1:]
    last = words[-1]
    is_code = last in STATE_CODES
    if not is_code and (last.islower() or last.casefold() not in STATES):
        return " ".join(words)
    end = _find_job_end(words[:-1])
    town = words[end:-1]
    if is_code and (not _is_place(last, title) or (last.casefold() in FORMS and not _is_town_name(town))):
        return " ".join(words)  # what "PA" stands for beside a job is told in `short_forms.txt`
    if not end or (town and not _is_town_name(town)):
        return " ".join(words[:-1] if end and last in SURE_STATE_CODES else words)
    return " ".join(words[:end])


def _fold_words(words: list[str]) -> list[str]:
    """Return the words as tables hold them: folded, without a last dot."""
    return [word.casefold().rstrip(".") for word in words]


def _find_job_end(words: list[str]) -> int:
    """Return where the words that name a job end, 0 where none does."""
    return next((at for at in range(len(words), 0, -1) if is_role(words[at - 1].casefold().rstrip("."))), 0)


def _is_town_name(words: list[str]) -> bool:
    return _may_be_town(" ".join(words)) and any(word.casefold() not in JOB_WORDS for word in words)
