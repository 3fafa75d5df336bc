"""`score`: the path of `run` without a broker, over the rows of a file."""

import contextlib
import io
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, Literal

from consumer.codec import TITLE_NAMES, Codec
from consumer.enrich import enrich
from consumer.errors import ConfigError
from consumer.messages import Message
from consumer.metrics import Metrics
from consumer.registry.loader import ScorerLoader
from schemas.tables import TableError, read_csv_rows

Format = Literal["csv", "tsv", "jsonl"]
REPORT_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class ScoreOptions:
    """What to read, where to write; None is standard input or output, and the promoted version."""

    input: Path | None
    output: Path | None
    format: Format | None
    version: str | None


def score(options: ScoreOptions, loader: ScorerLoader, codec: Codec, *, batch_max_count: int) -> int:
    """Write one enriched posting a line for each good row; report the bad ones. Returns 1 if there was any, else 0.

    Raises ConfigError for files that cannot be used, ArtifactError and EncoderError for the model.
    """
    version = options.version or loader.registry.read_current()
    if version is None:
        raise ConfigError(
            "the registry holds no promoted model version; run occustream-trainer train, or name one with --version"
        )
    metrics, bad, good = Metrics(), 0, 0
    with contextlib.ExitStack() as files:
        rows = _rows(files, options)
        first = list(islice(rows, 1))  # a file that is no table is noticed before a model is loaded or a file overwritten
        rows = chain(first, rows)
        scorer = loader.load(version)
        output = _Output(files, options)
        while chunk := list(islice(rows, batch_max_count)):
            outcomes = iter(enrich([row for row in chunk if isinstance(row, Message)], scorer, codec, metrics))
            for row in chunk:
                outcome = None if isinstance(row, TableError) else next(outcomes)
                if outcome is not None and outcome.error is None:
                    output.write((outcome.record.value or b"") + b"\n")
                    good += 1
                else:
                    _complain(f"row {outcome.message.offset}: {outcome.error}" if outcome else str(row))
                    bad += 1
            output.show(good, bad)
        output.close()
    _complain(f"{good:,} postings scored with version {version}, {bad:,} bad rows")
    return 1 if bad else 0


def _rows(files: contextlib.ExitStack, options: ScoreOptions) -> Iterator[Message | TableError]:
    name = options.input.name if options.input else "stdin"
    kind = options.format or _format_of(options.input)
    stream = files.enter_context(_readable(options.input)) if options.input else sys.stdin.buffer
    return _jsonl(stream, name) if kind == "jsonl" else _csv(stream, name, delimiter="," if kind == "csv" else "\t")


def _format_of(path: Path | None) -> Format:
    endings: dict[str, Format] = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
    if path is None:
        return "jsonl"
    if path.suffix.lower() not in endings:
        raise ConfigError(f"{path}: the ending tells no format ({', '.join(endings)}); say --format csv, tsv or jsonl")
    return endings[path.suffix.lower()]


def _jsonl(stream: BinaryIO, name: str) -> Iterator[Message | TableError]:
    for row, line in enumerate(stream, start=1):
        if line.strip():
            yield Message(name, 0, row, None, line.rstrip(b"\r\n"))


def _csv(stream: BinaryIO, name: str, *, delimiter: str) -> Iterator[Message | TableError]:
    """Yield each row as the JSON message that a producer would have made of it, so that one decoder judges all."""
    lines = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        for row, fields in read_csv_rows(lines, name, delimiter=delimiter, required={"title": TITLE_NAMES}):
            if isinstance(fields, TableError):
                yield fields
            else:
                given = {column: text for column, text in fields.items() if text or column in TITLE_NAMES}  # empty is absent
                value = json.dumps(given, ensure_ascii=False).encode("utf-8", "surrogateescape")  # bad bytes stay bad
                yield Message(name, 0, row, None, value)
    except TableError as error:
        raise ConfigError(str(error)) from error


def _readable(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


def _writable(path: Path) -> BinaryIO:
    try:
        return path.open("wb")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


def _complain(text: str) -> None:
    sys.stderr.write(text + "\n")


class _Output:
    """Standard output or a file; while it is a file, a line on the terminal shows how far things are."""

    def __init__(self, files: contextlib.ExitStack, options: ScoreOptions) -> None:
        self._path = options.output
        if self._path and options.input and self._path.exists() and self._path.samefile(options.input):
            raise ConfigError(f"--output {self._path} is the input; it would be overwritten before it is read")
        self._stream = _writable(self._path) if self._path else sys.stdout.buffer
        if self._path:
            files.callback(self._give_up)
        self._shown = self._path is not None and sys.stderr.isatty()
        self._started = self._last = time.monotonic()

    def write(self, line: bytes) -> None:
        with self._errors():
            self._stream.write(line)

    def close(self) -> None:
        with self._errors():
            self._stream.flush()
            if self._path:
                self._stream.close()

    def _give_up(self) -> None:
        """Close what an error has left open; closing writes again, and would fail again."""
        with contextlib.suppress(OSError):
            self._stream.close()

    def show(self, good: int, bad: int) -> None:
        now = time.monotonic()
        if self._shown and now - self._last >= REPORT_EVERY_S:
            self._last = now
            sys.stderr.write(f"\r{good:,} postings, {bad:,} bad rows, {good / (now - self._started):,.0f}/s ")

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Name the file that cannot be written; a reader that has gone is the caller's to handle."""
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            raise ConfigError(f"{self._path or 'standard output'} cannot be written: {error.strerror}") from error
