"""Tells languages by their script: text that is not in Latin letters is surely not in a language that is written in them."""

import re

_SCRIPTS: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = (
    (re.compile("[\u3040-\u30ff\uff66-\uff9d]"), ("ja",)),
    (re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"), ("zh", "ja")),
    (re.compile("[\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]"), ("ko",)),
    (re.compile("[\u0400-\u052f]"), ("ru", "uk", "bg", "sr")),
    (re.compile("[\u0600-\u06ff\u0750-\u077f\ufb50-\ufdff\ufe70-\ufefc]"), ("ar", "fa", "ur")),
    (re.compile("[\u0590-\u05ff]"), ("he",)),
    (re.compile("[\u0370-\u03ff]"), ("el",)),
    (re.compile("[\u0e00-\u0e7f]"), ("th",)),
    (re.compile("[\u0900-\u097f]"), ("hi",)),
)
"""The letters of each script, and the languages that are written in it, the most usual one first."""
_LATIN = re.compile("[A-Za-z\u00c0-\u024f\u1e00-\u1eff]")


def find_languages_of_script(text: str) -> tuple[str, ...]:
    """Return the languages that a text may be in by its script, if most of its letters are not Latin; else none.

    Japanese is known by its kana, though most of its letters may be Chinese ones.
    """
    if text.isascii():
        return ()
    counts = [len(letters.findall(text)) for letters, _ in _SCRIPTS]
    if sum(counts) <= len(_LATIN.findall(text)):
        return ()
    kana, han, *_ = counts
    best = 0 if kana and kana + han == sum(counts) else counts.index(max(counts))
    return _SCRIPTS[best][1]
