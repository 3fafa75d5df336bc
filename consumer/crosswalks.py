"""Crosswalk files: the codes of other taxonomies for O*NET-SOC codes, as O*NET publishes them."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import StringConstraints

from consumer.errors import ConfigError
from consumer.row_files import open_text
from schemas.missing import is_missing
from schemas.tables import NOT_UTF8, TableError, column_key, read_csv_rows

Crosswalks = Mapping[str, Mapping[str, tuple[str, ...]]]
"""By O*NET-SOC code: the codes of each taxonomy by the taxonomy's name."""
TaxonomyName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,49}$")]
"""What the codes of another taxonomy are called in the event."""

MAX_CODES = 200
"""More codes of one taxonomy for one occupation are refused, since they go into every event."""
MAX_CODE_CHARS = 200
MAX_BYTES = 100_000_000
_ONET_CODE = re.compile(r"\d\d-\d{4}(?:\.\d\d)?")
_NONE = "na"
"""What such files have, too, where an occupation has no code."""


def read_crosswalks(files: Mapping[str, Path]) -> Crosswalks:
    """Return the crosswalks of files by the names of their taxonomies. Raises ConfigError, which names file and row."""
    merged: dict[str, dict[str, tuple[str, ...]]] = {}
    for name, path in files.items():
        for onet_code, codes in _read_file(path).items():
            merged.setdefault(onet_code, {})[name] = codes
    return merged


def _read_file(path: Path) -> dict[str, tuple[str, ...]]:
    found: dict[str, dict[str, None]] = {}
    with open_text(path) as stream:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path} has more than {MAX_BYTES:,} bytes, which no crosswalk has")
        lines = (line.decode("utf-8-sig", "surrogateescape") for line in stream)
        try:
            _collect(found, path, list(read_csv_rows(lines, str(path), required={})))
        except TableError as error:
            raise ConfigError(f"crosswalk: {error}") from error
    if not found:
        raise ConfigError(f"crosswalk: {path} has no row with a code")
    return {onet_code: tuple(codes) for onet_code, codes in found.items()}


def _collect(found: dict[str, dict[str, None]], path: Path, rows: Sequence[tuple[int, dict[str, str] | TableError]]) -> None:
    """Add the codes of all rows. Raises TableError, ConfigError."""
    source = target = ""
    for number, row in rows:
        if isinstance(row, TableError):
            raise row
        if not source:
            source, target = _choose_columns(path, list(row))
        onet_code, code = row[source].strip(), row[target].strip()
        if not _ONET_CODE.fullmatch(onet_code):
            raise ConfigError(f"crosswalk: {path}, row {number}: {onet_code!r} under {source!r} is no O*NET-SOC code")
        if len(code) > MAX_CODE_CHARS or NOT_UTF8.search(code):
            raise ConfigError(f"crosswalk: {path}, row {number}: {code[:40]!r} under {target!r} is no code")
        if is_missing(code) or code.casefold() == _NONE:
            continue
        codes = found.setdefault(onet_code if "." in onet_code else f"{onet_code}.00", {})
        codes[code] = None
        if len(codes) > MAX_CODES:
            raise ConfigError(f"crosswalk: {path}, row {number}: {onet_code} has more than {MAX_CODES} codes")


def _choose_columns(path: Path, header: Sequence[str]) -> tuple[str, str]:
    """Return the column of O*NET-SOC codes and that of the other taxonomy's. Raises ConfigError where that is not clear."""
    sources = [name for name in header if (key := column_key(name)).startswith("onet") and "code" in key]
    others = [name for name in header if not column_key(name).startswith("onet")]
    targets = [name for name in others if column_key(name).endswith(("code", "uri", "id"))] or others
    if len(sources) != 1 or len(targets) != 1:
        found = ", ".join(map(repr, header))
        raise ConfigError(
            f"crosswalk: {path}: one column of O*NET-SOC codes and one of another taxonomy's codes are expected; found: {found}. "
            "Keep two columns, such as 'O*NET-SOC Code' and 'ESCO Code'"
        )
    return sources[0], targets[0]
