"""Judged postings, read from files: each with every code that a coder could defend. They are measured on, never trained on."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.missing import is_missing
from schemas.tables import TableError, column_key
from trainer.data.codes import read_beginning
from trainer.data.columns import LABELLED, ColumnNames, read_text
from trainer.data.file_rows import read_rows
from trainer.data.files import cut_body
from trainer.data.xlsx_rows import OTHER_SHEET

LONGEST_NAME = 40
"""Messages name so many characters of a column. Its name may explain it at length."""
_BETWEEN_CODES = re.compile(r"[,;|\s]+")
_EXPLANATION = re.compile(r"[(:;].*", re.DOTALL)


def _strip_explanation(name: str) -> str:
    """Return the key of a column's name without what explains it: `Accepted (codes or groups)` is `accepted`."""
    return column_key(_EXPLANATION.sub("", name))


JUDGED = ColumnNames(
    {
        "title": LABELLED.names["title"],
        "body": LABELLED.names["body"],
        "set": ("set", "kind", *LABELLED.names["source"]),
        "accept": ("accept", "accepted", "accept_codes", "accepted_codes", "accepted_code_prefixes", "prefixes"),
    },
    needed={"title": "title", "accept": "accepted codes"},
    key=_strip_explanation,
)
"""The columns of a file of judged postings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedPosting:
    """A posting with the codes that may be answered to it.

    `accept` are codes, or beginnings of codes that stand for all of a group; it is empty where the title names no job, so that
    nothing may be accepted. `kind` is the set that the posting belongs to, "" for none. `place` names file, row and column.
    """

    title: str
    body: str
    kind: str
    accept: tuple[str, ...]
    place: str


@dataclass(frozen=True, slots=True)
class JudgedFile:
    """The judged postings of a file, at least one, and the name that figures have for the file."""

    name: str
    postings: tuple[JudgedPosting, ...]


def read_judged(paths: Sequence[str]) -> list[JudgedFile]:
    """Read all files of judged postings. Raises TableError, naming file, row and column, for the first row that is not one."""
    names = [Path(path).name for path in paths]
    return [
        JudgedFile(path if names.count(name) > 1 else name, _read_file(path)) for path, name in zip(paths, names, strict=True)
    ]


def _read_file(path: str) -> tuple[JudgedPosting, ...]:
    postings = tuple(_parse_row(fields, f"{path}, row {row}") for row, fields in read_rows(path, JUDGED))
    if not postings:
        raise TableError(f"{path} holds no judged posting")
    return postings


def _parse_row(fields: Mapping[str, Any], place: str) -> JudgedPosting:
    if OTHER_SHEET in fields:
        raise TableError(f"{place}: {OTHER_SHEET}; save each sheet as a file of its own")
    # Words for nothing stay: such a title was judged as it is.
    cells = JUDGED.pick_cells(fields, _is_blank)
    column, title = cells.get("title", ("", ""))
    title = read_text(title)
    if not isinstance(title, str) or not title:
        raise TableError(f"{place}: {f'column {column}: {title!r} is no title' if column else 'no title'}")
    column, accept = cells.get("accept", ("", ""))
    place = f"{place}, column {column[:LONGEST_NAME]}"
    kind, body = (_read_field(cells, field) for field in ("set", "body"))
    return JudgedPosting(title=title, body=cut_body(body), kind=kind, accept=tuple(_read_codes(accept, place)), place=place)


def _is_blank(value: Any) -> bool:  # noqa: ANN401 - what a JSON, Parquet or XLSX cell holds
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and math.isnan(value))


def _read_field(cells: Mapping[str, tuple[str, Any]], field: str) -> str:
    _column, value = cells.get(field, ("", ""))
    text = str(read_text(value))
    return "" if is_missing(text) else text.strip() if field == "set" else text


def _read_codes(value: Any, place: str) -> Iterator[str]:  # noqa: ANN401 - what a JSON, Parquet or XLSX cell holds
    """Yield the codes, or beginnings of codes, of a cell. Raises TableError for anything else."""
    for text in _split_codes(value, place):
        if is_missing(text):
            continue
        code = read_beginning(text)
        if code is None:
            raise TableError(f"{place}: {text!r} is no O*NET-SOC code such as 29-1141.00, nor the beginning of one such as 29-")
        yield code


def _split_codes(value: Any, place: str) -> list[str]:  # noqa: ANN401
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise TableError(f"{place}: no JSON list of codes: {error}") from error
    if isinstance(value, list | tuple):
        return [str(read_text(one)) for one in value]
    return [text for text in _BETWEEN_CODES.split(str(read_text(value))) if text]
