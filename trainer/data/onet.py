"""An O*NET text release, read into a taxonomy: codes, their titles, the job titles listed under each, and descriptions."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from schemas.artifact import Category
from schemas.tables import TableError
from trainer.data.cleaned_titles import cached_title_key
from trainer.data.packaged import read_packaged_categories

TAXONOMY_VERSION = "O*NET-SOC 2019"
OCCUPATIONS = "Occupation Data.txt"
REPORTED_TITLES, ALTERNATE_TITLES = "Sample of Reported Titles.txt", "Alternate Titles.txt"
JOB_TITLES = "Job Titles.txt"
"""It replaces the alternate titles from release 30.3 on."""
TITLE_COLUMNS = {REPORTED_TITLES: "Reported Job Title", JOB_TITLES: "Job Title", ALTERNATE_TITLES: "Alternate Title"}
TASKS = "Task Statements.txt"
CODE_COLUMN = "O*NET-SOC Code"
CODE_PATTERN = re.compile(r"[0-9]{2}-[0-9]{4}\.[0-9]{2}")


@dataclass(frozen=True, slots=True)
class Descriptions:
    """The sentences in which O*NET defines occupations and names their tasks; `labels` are the numbers of their categories."""

    texts: tuple[str, ...] = ()
    labels: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """All occupations in code order, with job titles by code and descriptions; both are empty without an O*NET release."""

    version: str
    categories: tuple[Category, ...]
    titles: Mapping[str, tuple[str, ...]]
    descriptions: Descriptions = Descriptions()

    @property
    def numbers(self) -> dict[str, int]:
        """The number of each code: its row in the category matrix."""
        return {category.onet_code: number for number, category in enumerate(self.categories)}

    @property
    def names(self) -> dict[str, str]:
        """The title of each code."""
        return {category.onet_code: category.onet_title for category in self.categories}

    def add_categories(self, more: Iterable[Category]) -> "Taxonomy":
        """Return the taxonomy with more categories, all in code order."""
        return replace(self, categories=tuple(sorted((*self.categories, *more), key=lambda category: category.onet_code)))


def read_taxonomy(release: Path | None) -> Taxonomy:
    """Return the taxonomy of an O*NET text release, or without one that of the codes which come with this package.

    `release` is a folder of tab-delimited files as O*NET publishes it. Raises TableError, naming file and row.
    """
    if release is None:
        return Taxonomy(TAXONOMY_VERSION, read_packaged_categories(), {})
    if not release.is_dir():
        raise TableError(f"--onet {release} is no folder; give the unpacked text release of the O*NET database, or a version")
    categories = _read_categories(release / OCCUPATIONS)
    titles: dict[str, dict[str, str]] = {category.onet_code: {} for category in categories}
    for name in _list_title_files(release):
        column = TITLE_COLUMNS[name]
        for _number, row in _read_tab_delimited(release / name, (CODE_COLUMN, column)):
            titles.get(row[CODE_COLUMN], {}).setdefault(cached_title_key(row[column]), row[column])
    known = {code: tuple(by_key.values()) for code, by_key in titles.items()}
    return Taxonomy(TAXONOMY_VERSION, categories, known, _read_descriptions(release, categories))


def list_release_files(release: Path) -> list[Path]:
    """Return the files of a release that `read_taxonomy` reads. Task statements are optional."""
    tasks = [release / TASKS] if (release / TASKS).is_file() else []
    return [release / OCCUPATIONS, *(release / name for name in _list_title_files(release)), *tasks]


def _list_title_files(release: Path) -> list[str]:
    """Return the names of the files with job titles, those of reported titles first. Newer releases need not have these."""
    if not (release / JOB_TITLES).is_file():
        return [REPORTED_TITLES, ALTERNATE_TITLES]
    return [name for name in TITLE_COLUMNS if (release / name).is_file()]


def _read_descriptions(release: Path, categories: tuple[Category, ...]) -> Descriptions:
    """Return the definitions and task statements of a release without placeholders such as "n/a"."""
    numbers = {category.onet_code: number for number, category in enumerate(categories)}
    rows: list[tuple[str, int]] = []
    for name, column in ((OCCUPATIONS, "Description"), (TASKS, "Task")):
        if (release / name) in list_release_files(release):
            found = _read_tab_delimited(release / name, (CODE_COLUMN,))
            rows += [(row.get(column, ""), numbers[row[CODE_COLUMN]]) for _, row in found if row[CODE_COLUMN] in numbers]
    rows = [(text, label) for text, label in rows if len(text) > len("n/a")]
    return Descriptions(tuple(text for text, _ in rows), tuple(label for _, label in rows))


def _read_categories(path: Path) -> tuple[Category, ...]:
    names: dict[str, str] = {}
    for number, row in _read_tab_delimited(path, (CODE_COLUMN, "Title")):
        if not CODE_PATTERN.fullmatch(row[CODE_COLUMN]) or row[CODE_COLUMN] in names or not row["Title"].strip():
            raise TableError(f"{path}, row {number}: {row[CODE_COLUMN]!r} is no O*NET-SOC code, comes twice, or has no title")
        names[row[CODE_COLUMN]] = row["Title"]
    if not names:
        raise TableError(f"{path} lists no occupation")
    return tuple(Category(onet_code=code, onet_title=names[code]) for code in sorted(names))


def _read_tab_delimited(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows of an O*NET text file with their numbers. Tabs separate cells, nothing is quoted, the header is row 1."""
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip("\n").split("\n")  # some releases end in a blank line
    except OSError as error:
        raise TableError(f"{path} cannot be read: {error.strerror}; is this an O*NET text release?") from error
    except UnicodeDecodeError as error:
        row = error.object.count(b"\n", 0, error.start) + 1
        raise TableError(f"{path}, row {row}: not UTF-8; is this the text release as O*NET publishes it?") from error
    header = lines[0].split("\t")
    if missing := [column for column in columns if column not in header]:
        raise TableError(f"{path} has no column {missing[0]!r}; found: {', '.join(header)[:300]}")
    for row, line in enumerate(lines[1:], start=2):
        cells = line.split("\t")
        if len(cells) != len(header):
            raise TableError(f"{path}, row {row}: {len(cells)} cells under {len(header)} columns; is the file cut short?")
        yield row, dict(zip(header, cells, strict=True))
