"""A cache of cleaned titles: a run meets the same title in several files and steps, a service at every refresh."""

from functools import lru_cache

from schemas.text import clean_title, title_key

cached_clean_title = lru_cache(maxsize=300_000)(clean_title)
"""`clean_title` with a cache. The titles of O*NET and of 50,000 postings take some 20 MB in it."""


def cached_title_key(title: str) -> str:
    """Return the `title_key` of a title as posted. It identifies rows, and keeps repeats of a title on one side of a split."""
    return title_key(cached_clean_title(title))
