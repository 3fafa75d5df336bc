"""The data that come with this package: starter postings, the O*NET-SOC 2019 codes, and the successors of older codes."""

import csv
from collections.abc import Iterator
from contextlib import AbstractContextManager
from importlib import resources
from pathlib import Path

from schemas.artifact import Category

STARTER = "starter"
"""The name that stands for the starter postings where a file of postings is expected."""


def open_starter_file() -> AbstractContextManager[Path]:
    """Return a context in which the starter postings lie in a CSV file, whose path it yields."""
    return resources.as_file(resources.files("trainer").joinpath("starter/postings.csv"))


def read_packaged_categories() -> tuple[Category, ...]:
    """Return all occupations of O*NET-SOC 2019, in code order."""
    return tuple(Category(onet_code=row["code"], onet_title=row["title"]) for row in _read_table("onet_soc_2019.csv"))


def read_older_codes() -> dict[str, tuple[str, ...]]:
    """Return each O*NET-SOC 2010 code that is no longer valid, with its successors: several where the code was split."""
    valid = {category.onet_code for category in read_packaged_categories()}
    successors: dict[str, tuple[str, ...]] = {}
    for row in _read_table("onet_soc_2010_to_2019.csv"):
        if row["old"] not in valid:
            successors[row["old"]] = (*successors.get(row["old"], ()), row["new"])
    return successors


def _read_table(name: str) -> Iterator[dict[str, str]]:
    text = resources.files("trainer").joinpath(f"starter/{name}").read_text(encoding="utf-8")
    return csv.DictReader(text.splitlines())
