"""Tells titles that surely name no job: missing values, dates, addresses, only a place or hours, calls to apply.

Whether a name of a person or an unknown word is a job is the model's to judge.
"""

import re

from schemas.job_words import JOB_WORDS, names_clinic, names_job, split_words
from schemas.missing import is_missing
from schemas.noise import FILLER_WORDS, HOUR_WORDS, NUMBERS
from schemas.places import PLACES, STATE_CODES, STATES, SURE_STATE_CODES
from schemas.text import clean_title

_LETTERS = re.compile(r"[^\W\d_]+")
_ADDRESS = re.compile(
    r"(?:https?://|www\.)\S+|\S+@\S+\.\S+|"
    r"(?<![\w.])[\w-]+(?:\.[\w-]+)*\.(?:com|org|net|io|co\.uk|de|jobs)(?:/\S*)?(?!\w)",
    re.IGNORECASE,
)
_STATE = "|".join(sorted((*STATE_CODES, *map(str.title, STATES))))
_TOWN_AND_STATE = re.compile(rf"([A-Z][\w.'-]*(?: [A-Z][\w.'-]*){{0,3}}?)(,?) ({_STATE})(?:,? (?:\d{{5}}|USA?))?")
_MONTHS = split_words(
    "jan feb mar apr may jun jul aug sep sept oct nov dec january february march april june july august september october "
    "november december mon tue tues wed thu thur thurs fri sat sun monday tuesday wednesday thursday friday saturday sunday st "
    "nd rd th am pm t z gmt utc"
)
_NEVER_JOBS = split_words(
    "a all an and any anytime applicant applicants application applications apply applying are as asap at available be by "
    "candidate candidates career careers click closed come company contact current currently date day days deleted dept "
    "department draft email employer employment event events expired expression fair for from full future general here hire "
    "hiring home hot id immediate immediately in initiative interest interested internal interview interviews is job jobs join "
    "link listing local location locations looking many more multiple n na name new no none not now null number of on open "
    "opening openings opportunities opportunity other our part pay pending people phone please pool position positions post "
    "posting postings ref remote req requisition role roles salary see seeking send shift shifts similar site soon speculative "
    "spontaneous start starting submit talent tba tbc tbd team the this time title titles to today unavailable undefined "
    "unknown unsolicited untitled upcoming urgent urgently us vacancies vacancy various via virtual visit walk walkin wanted we "
    "website week welcome why with work working xxx you your nan house community network resume resumes cv description document "
    "sheet column text string object header info information details summary found access denied login loading search read "
    "learn view thank thanks hello dear welcome summer winter spring fall autumn seasonal season campus class holiday holidays "
    "entry level experience experienced needed required necessary benefits bonus great excellent competitive provided misc "
    "miscellaneous others etc employee employees sign weekly usd initiativbewerbung x tel call ext fax mail"
)
"""Words that name no job, alone or together. "General" and "Manager" together name one, as "Manager" is not among them."""
_ONLY_ALONE = split_words("test testing demo sample example asdf qwerty lorem ipsum foo bar default blank empty error false true")
_MIN_RUN = 2
"""A longer run of one letter is no word."""
_HOURS = (HOUR_WORDS | FILLER_WORDS) - {"or", "and"}


def title_names_no_job(title: str) -> bool:
    """Return whether a title as posted surely names no job. Most titles hold a word that names one, which costs microseconds."""
    words = [word.casefold() for word in _LETTERS.findall(title)]
    return not names_job(words) and names_no_job(clean_title(title))


def names_no_job(clean: str) -> bool:
    """Return whether a cleaned title surely names no job. Where there is any doubt it is False."""
    if is_missing(clean):
        return True
    text = NUMBERS.sub(" ", _ADDRESS.sub(" ", clean))
    words = [word.casefold() for word in _LETTERS.findall(text)]
    if not words:
        return True
    if any(len(word) > 1 and not word.isascii() for word in words) or names_job(words):
        return False
    return _is_place(clean) or _is_alone(words) or all(word in _NEVER_JOBS or word in _HOURS or word in _MONTHS for word in words)


def _is_place(text: str) -> bool:
    """Return whether a text is a known place, or a town and its state. Without a comma between them, the code must be sure."""
    if text.casefold().strip(" .,") in PLACES:
        return True
    found = _TOWN_AND_STATE.fullmatch(text)
    if not found or (not found[2] and found[3] not in SURE_STATE_CODES):
        return False
    town = {word.casefold() for word in _LETTERS.findall(found[1])}
    return not town <= JOB_WORDS and not names_clinic(town)


def _is_alone(words: list[str]) -> bool:
    return len(set(words)) == 1 and (words[0] in _ONLY_ALONE or (len(words[0]) > _MIN_RUN and len(set(words[0])) == 1))
