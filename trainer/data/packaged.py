"""The data that come with this package: starter postings, the O*NET-SOC 2019 codes, and what became of older codes."""

import csv
from collections.abc import Iterator
from contextlib import AbstractContextManager
from importlib import resources
from pathlib import Path

from schemas.artifact import Category

STARTER = "starter"
"""The name that stands for the starter postings where a file of postings is expected."""


def starter_file() -> AbstractContextManager[Path]:
    """Return a context in which the starter postings are a CSV file."""
    return resources.as_file(resources.files("trainer").joinpath("starter/postings.csv"))


def packaged_categories() -> tuple[Category, ...]:
    """Return all occupations of O*NET-SOC 2019, in code order."""
    return tuple(Category(onet_code=row["code"], onet_title=row["title"]) for row in _read_table("onet_soc_2019.csv"))


def older_codes() -> dict[str, tuple[str, ...]]:
    """Return each code of O*NET-SOC 2010 that is no longer valid, with its successor, or several where it was split."""
    valid = {category.onet_code for category in packaged_categories()}
    successors: dict[str, tuple[str, ...]] = {}
    for row in _read_table("onet_soc_2010_to_2019.csv"):
        if row["old"] not in valid:
            successors[row["old"]] = (*successors.get(row["old"], ()), row["new"])
    return successors


def _read_table(name: str) -> Iterator[dict[str, str]]:
    text = resources.files("trainer").joinpath(f"starter/{name}").read_text(encoding="utf-8")
    return csv.DictReader(text.splitlines())
