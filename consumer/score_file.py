"""`occustream-consumer score`: enriches the rows of a file, without a broker, by the same code as `run`."""

import contextlib
import io
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, Literal

from consumer.codec import INPUT_NAMES, TITLE_NAMES, Codec
from consumer.enrich import Outcome, enrich
from consumer.errors import ConfigError
from consumer.messages import Message
from consumer.metrics import Metrics
from consumer.registry.loader import ScorerLoader
from schemas.tables import TableError, column_key, read_csv_rows

Format = Literal["csv", "tsv", "jsonl"]
REPORT_EVERY_S = 1.0
_KNOWN = {column_key(name): name for name in sorted(INPUT_NAMES)}
"""The known names of fields by their keys: columns of a file may be written in any case, and with spaces."""


@dataclass(frozen=True, slots=True)
class ScoreOptions:
    """The files and the model version of `score`. None means standard input, standard output, and the promoted version."""

    input: Path | None
    output: Path | None
    format: Format | None
    version: str | None


def score(options: ScoreOptions, loader: ScorerLoader, codec: Codec, *, batch_max_count: int) -> int:
    """Write one enriched posting a line for each good row; report the bad rows. Returns 1 if there was any, else 0.

    Raises ConfigError for files that cannot be used, ArtifactError and EncoderError for the model.
    """
    version = options.version or loader.registry.read_current()
    if version is None:
        raise ConfigError(
            "the registry holds no promoted model version; run occustream-trainer train, or name one with --version"
        )
    metrics, good, bad = Metrics(), 0, 0
    with contextlib.ExitStack() as files:
        rows = _open_rows(files, options)
        first = list(islice(rows, 1))  # a file that is no table is noticed before a model is loaded or a file overwritten
        rows = chain(first, rows)
        scorer = loader.load(version)
        output = _Output(files, options)
        while chunk := list(islice(rows, batch_max_count)):
            outcomes = enrich([row for row in chunk if isinstance(row, Message)], scorer, codec, metrics)
            written = _write_chunk(chunk, outcomes, output)
            good, bad = good + written, bad + len(chunk) - written
            output.show_progress(good, bad)
        output.close()
    _print_error(f"{good:,} postings scored with version {version}, {bad:,} bad rows")
    return 1 if bad else 0


def _write_chunk(chunk: Sequence[Message | TableError], outcomes: Sequence[Outcome], output: "_Output") -> int:
    """Write the good rows and report the bad ones, in order; returns how many were good."""
    good, answers = 0, iter(outcomes)
    for row in chunk:
        outcome = None if isinstance(row, TableError) else next(answers)
        if outcome is None:
            _print_error(str(row))
        elif outcome.error is not None:
            _print_error(f"row {outcome.message.offset}: {outcome.error}")
        else:
            output.write((outcome.record.value or b"") + b"\n")
            good += 1
    return good


def _open_rows(files: contextlib.ExitStack, options: ScoreOptions) -> Iterator[Message | TableError]:
    name = options.input.name if options.input else "stdin"
    kind = options.format or _guess_format(options.input)
    stream = files.enter_context(_open_for_reading(options.input)) if options.input else sys.stdin.buffer
    return _read_jsonl(stream, name) if kind == "jsonl" else _read_csv(stream, name, delimiter="," if kind == "csv" else "\t")


def _guess_format(path: Path | None) -> Format:
    endings: dict[str, Format] = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
    if path is None:
        return "jsonl"
    if path.suffix.lower() not in endings:
        raise ConfigError(f"{path}: the ending names no format ({', '.join(endings)}); say --format csv, tsv or jsonl")
    return endings[path.suffix.lower()]


def _read_jsonl(stream: BinaryIO, name: str) -> Iterator[Message | TableError]:
    for row, line in enumerate(stream, start=1):
        if line.strip():
            yield Message(name, 0, row, None, line.rstrip(b"\r\n"))


def _read_csv(stream: BinaryIO, name: str, *, delimiter: str) -> Iterator[Message | TableError]:
    """Yield each row as the JSON message that a producer would have made of it, so that `Codec` judges it as it does in `run`."""
    lines = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        for row, fields in read_csv_rows(lines, name, delimiter=delimiter, required={"title": TITLE_NAMES}):
            if isinstance(fields, TableError):
                yield fields
            else:
                # An empty cell is an absent field. Bytes that are not UTF-8 stay as they are.
                named = {_read_column(column): text for column, text in fields.items()}
                given = {column: text for column, text in named.items() if text or column in TITLE_NAMES}
                value = json.dumps(given, ensure_ascii=False).encode("utf-8", "surrogateescape")
                yield Message(name, 0, row, None, value)
    except TableError as error:
        raise ConfigError(str(error)) from error


def _read_column(column: str) -> str:
    return column if column in INPUT_NAMES else _KNOWN.get(column_key(column), column)


def _open_for_reading(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


def _open_for_writing(path: Path) -> BinaryIO:
    try:
        return path.open("wb")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


def _print_error(text: str) -> None:
    sys.stderr.write(text + "\n")


class _Output:
    """Standard output or a file. While a file is written, a line on the terminal shows the progress."""

    def __init__(self, files: contextlib.ExitStack, options: ScoreOptions) -> None:
        self._path = options.output
        if self._path and options.input and self._path.exists() and self._path.samefile(options.input):
            raise ConfigError(f"--output {self._path} is the input; it would be overwritten before it is read")
        self._stream = _open_for_writing(self._path) if self._path else sys.stdout.buffer
        if self._path:
            files.callback(self._close_quietly)
        self._on_terminal = self._path is not None and sys.stderr.isatty()
        self._started_at = self._shown_at = time.monotonic()

    def write(self, line: bytes) -> None:
        with self._name_file_in_errors():
            self._stream.write(line)

    def close(self) -> None:
        with self._name_file_in_errors():
            self._stream.flush()
            if self._path:
                self._stream.close()

    def _close_quietly(self) -> None:
        """Close the file after an error. Closing writes what is buffered, which would fail again."""
        with contextlib.suppress(OSError):
            self._stream.close()

    def show_progress(self, good: int, bad: int) -> None:
        now = time.monotonic()
        if self._on_terminal and now - self._shown_at >= REPORT_EVERY_S:
            self._shown_at = now
            sys.stderr.write(f"\r{good:,} postings, {bad:,} bad rows, {good / (now - self._started_at):,.0f}/s ")

    @contextlib.contextmanager
    def _name_file_in_errors(self) -> Iterator[None]:
        """Name the file that cannot be written. A reader that has ended (BrokenPipeError) is handled by the command line."""
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            raise ConfigError(f"{self._path or 'standard output'} cannot be written: {error.strerror}") from error
