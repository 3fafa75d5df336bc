"""Cleaned titles, remembered: a run meets the same title in several files and steps, a service at every refresh."""

from functools import lru_cache

from schemas.text import model_text

cleaned = lru_cache(maxsize=300_000)(model_text)
"""`model_text` of a title; what is remembered of O*NET and 50,000 postings takes some 20 MB."""


def normalised(title: str) -> str:
    """Return `normalise_title` of a title: it names rows, and keeps repeats on one side of a split."""
    return cleaned(title).casefold()
