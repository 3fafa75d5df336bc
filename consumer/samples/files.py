"""Reads the messages of a sample file: JSON (one message, or a list of them), JSON lines, CSV and TSV, or any bytes.

CSV, TSV and JSON lines are read as `score` reads them.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

from consumer.errors import ConfigError, InvalidMessage
from consumer.feeds.json_values import parse_json, write_json
from consumer.messages import Message
from consumer.row_files import ENDINGS, open_rows, open_text
from schemas.tables import TableError

MAX_SAMPLES = 1_000
"""So many messages of a file or topic are looked at."""
MAX_FILE_BYTES = 100_000_000
"""A file that is not read line by line may be so large."""


def read_samples(path: Path, title_names: Sequence[str]) -> tuple[list[Message], list[TableError]]:
    """Return the first messages of a file, and the rows of a table that are none.

    Raises ConfigError for a file that cannot be read or holds nothing.
    """
    kind = ENDINGS.get(path.suffix.lower())
    with ExitStack() as files:
        rows: Iterable[Message | TableError]
        rows = _read_whole(path) if kind is None else open_rows(files, path, kind, title_names=title_names)
        first = list(islice(rows, MAX_SAMPLES))
    if not first:
        raise ConfigError(f"{path} holds no message")
    return [row for row in first if isinstance(row, Message)], [row for row in first if isinstance(row, TableError)]


def _read_whole(path: Path) -> Iterator[Message]:
    value = _read_bytes(path)
    try:
        parsed = parse_json(value)
    except InvalidMessage:
        lines = [line for line in value.splitlines() if line.strip()]
        values = lines if len(lines) > 1 and all(line.lstrip()[:1] == b"{" for line in lines) else [value]
    else:
        values = [write_json(each) for each in parsed] if isinstance(parsed, list) else [value]
    return (Message(path.name, 0, number, None, each) for number, each in enumerate(values, start=1))


def _read_bytes(path: Path) -> bytes:
    with open_text(path) as file:
        value = file.read(MAX_FILE_BYTES + 1)
    if len(value) > MAX_FILE_BYTES:
        raise ConfigError(f"{path} is larger than {MAX_FILE_BYTES:,} bytes; give some of its messages, one a line, as .jsonl")
    return value
