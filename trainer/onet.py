"""The taxonomy: O*NET-SOC codes with their titles, and the job titles that O*NET lists under each."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from schemas.artifact import Category
from schemas.tables import TableError
from schemas.text import normalise_title

TAXONOMY_VERSION = "O*NET-SOC 2019"
OCCUPATIONS = "Occupation Data.txt"
TITLE_FILES = (("Sample of Reported Titles.txt", "Reported Job Title"), ("Alternate Titles.txt", "Alternate Title"))
CODE = "O*NET-SOC Code"


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """All occupations, in code order, and their known job titles (none where no O*NET release was given)."""

    version: str
    categories: tuple[Category, ...]
    titles: Mapping[str, tuple[str, ...]]

    @property
    def numbers(self) -> dict[str, int]:
        """The row of each code in the category matrix."""
        return {category.onet_code: number for number, category in enumerate(self.categories)}


def read_taxonomy(release: Path | None) -> Taxonomy:
    """Return the taxonomy of an O*NET text release; without one, the codes and titles that come with this package.

    `release` is the folder of tab-delimited files as O*NET publishes it. Raises TableError, naming file and row.
    """
    if release is None:
        return Taxonomy(TAXONOMY_VERSION, _packaged_categories(), {})
    if not release.is_dir():
        raise TableError(f"--onet {release} is no folder; give the unpacked text release of the O*NET database")
    rows = _tab_delimited(release / OCCUPATIONS, (CODE, "Title"))
    categories = sorted({Category(onet_code=row[CODE], onet_title=row["Title"]) for row in rows}, key=lambda c: c.onet_code)
    if not categories:
        raise TableError(f"{release / OCCUPATIONS} lists no occupation")
    titles: dict[str, dict[str, str]] = {category.onet_code: {} for category in categories}
    for name, column in TITLE_FILES:
        for row in _tab_delimited(release / name, (CODE, column)):
            titles.get(row[CODE], {}).setdefault(normalise_title(row[column]), row[column])
    known = {code: tuple(spellings.values()) for code, spellings in titles.items()}
    return Taxonomy(TAXONOMY_VERSION, tuple(categories), known)


def _packaged_categories() -> tuple[Category, ...]:
    text = resources.files("trainer").joinpath("starter/onet_soc_2019.csv").read_text(encoding="utf-8")
    return tuple(Category(onet_code=row["code"], onet_title=row["title"]) for row in csv.DictReader(text.splitlines()))


def _tab_delimited(path: Path, columns: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """Yield the rows of one O*NET text file: tabs between cells, no quoting."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise TableError(f"{path} cannot be read: {error.strerror}; is this an O*NET text release?") from error
    except UnicodeDecodeError as error:
        raise TableError(f"{path} is not UTF-8 at byte {error.start}") from error
    header = lines[0].split("\t") if lines else []
    if missing := [column for column in columns if column not in header]:
        raise TableError(f"{path} has no column {missing[0]!r}; found: {', '.join(header)[:300]}")
    for row, line in enumerate(lines[1:], start=2):
        cells = line.split("\t")
        if len(cells) != len(header):
            raise TableError(f"{path}, row {row}: {len(cells)} cells under {len(header)} columns")
        yield dict(zip(header, cells, strict=True))
