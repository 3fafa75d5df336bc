"""Cleaned titles, remembered: a run meets the same title in several files and steps, a service at every refresh."""

from functools import lru_cache

from schemas.text import clean_title, title_key

cached_clean_title = lru_cache(maxsize=300_000)(clean_title)
"""`clean_title` of a title; what is remembered of O*NET and 50,000 postings takes some 20 MB."""


def cached_title_key(title: str) -> str:
    """Return the `title_key` of a title: it names rows, and keeps repeats on one side of a split."""
    return title_key(cached_clean_title(title))
