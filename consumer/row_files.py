"""Reads the rows of a CSV, TSV or JSONL file as the messages that a producer would have made of them.

Both `score` and `check-config --sample` read files with it, so that the codec judges their rows as it judges messages in `run`.
"""

import contextlib
import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Literal

from consumer.errors import ConfigError
from consumer.messages import Message
from schemas.tables import TableError, read_csv_rows

Format = Literal["csv", "tsv", "jsonl"]
FOREIGN: dict[bytes, str] = {
    b"\x1f\x8b": "compressed with gzip; unpack it first",
    b"PK\x03\x04": "an archive or a workbook; unpack it, or save it as CSV in UTF-8",
    b"PAR1\x15": "Parquet; save it as CSV or JSON lines",
    b"\xff\xfe": "UTF-16; save it as UTF-8",
    b"\xfe\xff": "UTF-16; save it as UTF-8",
}
"""How files begin that hold no text in UTF-8, and what they are."""
ENDINGS: dict[str, Format] = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


def open_rows(
    files: contextlib.ExitStack, path: Path | None, kind: Format | None, *, title_names: Sequence[str]
) -> Iterator[Message | TableError]:
    """Return the rows of a file, or of standard input for None; `files` closes it. The offset of a message is its row.

    `kind` is the format if the name of the file does not say it. Raises ConfigError for a file that cannot be read, and, with the
    first row, for a table without any of the columns `title_names`.
    """
    name = path.name if path else "stdin"
    kind = kind or _guess_format(path)
    stream = files.enter_context(open_text(path)) if path else sys.stdin.buffer
    if kind == "jsonl":
        return _read_jsonl(stream, name)
    return _read_csv(stream, name, delimiter="," if kind == "csv" else "\t", title_names=title_names)


def _guess_format(path: Path | None) -> Format:
    if path is None:
        return "jsonl"
    if path.suffix.lower() not in ENDINGS:
        raise ConfigError(f"{path}: the ending names no format ({', '.join(ENDINGS)}); say --format csv, tsv or jsonl")
    return ENDINGS[path.suffix.lower()]


def _read_jsonl(stream: BinaryIO, name: str) -> Iterator[Message | TableError]:
    for row, line in enumerate(stream, start=1):
        if line.strip():
            yield Message(name, 0, row, None, line.rstrip(b"\r\n"))


def _read_csv(stream: BinaryIO, name: str, *, delimiter: str, title_names: Sequence[str]) -> Iterator[Message | TableError]:
    lines = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        for row, fields in read_csv_rows(lines, name, delimiter=delimiter, required={"title": title_names}):
            if isinstance(fields, TableError):
                yield fields
            else:
                # An empty cell is an absent field. Bytes that are not UTF-8 stay as they are.
                given = {column: text for column, text in fields.items() if text or column in title_names}
                value = json.dumps(given, ensure_ascii=False).encode("utf-8", "surrogateescape")
                yield Message(name, 0, row, None, value)
    except TableError as error:
        raise ConfigError(str(error)) from error


def open_text(path: Path) -> BinaryIO:
    """Open a file. Raises ConfigError for one that cannot be read, or that holds no text in UTF-8 by its first bytes."""
    try:
        file = path.open("rb")
        first = file.peek(max(map(len, FOREIGN)))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    if found := [what for beginning, what in FOREIGN.items() if first.startswith(beginning)]:
        file.close()
        raise ConfigError(f"{path} is {found[0]}")
    return file
