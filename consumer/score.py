"""`score`: the path of `run` without a broker, over the rows of a file."""

import contextlib
import io
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Literal

from consumer.codec import TITLE_NAMES, Codec
from consumer.enrich import enrich
from consumer.errors import ConfigError
from consumer.messages import Message
from consumer.metrics import Metrics
from consumer.reloader import ScorerLoader
from schemas.tables import TableError, csv_rows

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
    version = options.version or loader.registry.current()
    if version is None:
        raise ConfigError(
            "the registry holds no promoted model version; run occustream-trainer train, or name one with --version"
        )
    with contextlib.ExitStack() as files:
        rows = _rows(files, options)
        scorer = loader.load(version)
        output = files.enter_context(_writable(options.output)) if options.output else sys.stdout.buffer
        good = bad = 0
        progress = _Progress(shown=options.output is not None and sys.stderr.isatty())
        metrics = Metrics()
        while chunk := list(islice(rows, batch_max_count)):
            for outcome in enrich([m for m in chunk if isinstance(m, Message)], scorer, codec, metrics):
                if outcome.error is None:
                    output.write((outcome.record.value or b"") + b"\n")
                    good += 1
                else:
                    _complain(f"row {outcome.message.offset}: {outcome.error}")
                    bad += 1
            for error in (m for m in chunk if isinstance(m, TableError)):
                _complain(str(error))
                bad += 1
            progress.show(good, bad)
        output.flush()
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
        for row, fields in csv_rows(lines, name, delimiter=delimiter, required={"title": TITLE_NAMES}):
            if isinstance(fields, TableError):
                yield fields
            else:
                value = json.dumps(fields, ensure_ascii=False).encode("utf-8", "surrogateescape")  # bad bytes stay bad
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


class _Progress:
    """A line on a terminal that is written over every second."""

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown
        self._started = self._last = time.monotonic()

    def show(self, good: int, bad: int) -> None:
        now = time.monotonic()
        if self._shown and now - self._last >= REPORT_EVERY_S:
            self._last = now
            sys.stderr.write(f"\r{good:,} postings, {bad:,} bad rows, {good / (now - self._started):,.0f}/s ")
