"""`occustream-consumer score`: enriches the rows of a file, without a broker, by the same code as `run`."""

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO

from consumer.codec import Codec
from consumer.enrich import Outcome, enrich
from consumer.errors import ConfigError
from consumer.messages import Message
from consumer.metrics import Metrics
from consumer.registry.loader import ScorerLoader
from consumer.row_files import Format, open_rows
from consumer.rules import Rules
from schemas.tables import TableError

REPORT_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class ScoreOptions:
    """The files and the model version of `score`. None means standard input, standard output, and the promoted version."""

    input: Path | None
    output: Path | None
    format: Format | None
    version: str | None


def score(options: ScoreOptions, loader: ScorerLoader, codec: Codec, *, batch_max_count: int, rules: Rules | None = None) -> int:
    """Write one enriched posting a line for each good row; report the bad rows. Returns 1 if there was any, else 0.

    Raises ConfigError for files that cannot be used, ArtifactError and EncoderError for the model.
    """
    version = options.version or loader.registry.read_current()
    if version is None:
        raise ConfigError(
            "the registry holds no promoted model version; run occustream-trainer train, or name one with --version"
        )
    metrics, counts = Metrics(), _Counts()
    with contextlib.ExitStack() as files:
        rows: Iterator[Message | TableError]
        rows = open_rows(files, options.input, options.format, title_names=codec.title_names)
        first = list(islice(rows, 1))  # a file that is no table is noticed before a model is loaded or a file overwritten
        rows = chain(first, rows)
        scorer = loader.load(version)
        output = _Output(files, options)
        while chunk := list(islice(rows, batch_max_count)):
            outcomes = enrich([row for row in chunk if isinstance(row, Message)], scorer, codec, metrics, rules)
            _write_chunk(chunk, outcomes, output, counts=counts)
            output.show_progress(counts.good, counts.bad)
        output.close()
    deletes = f", {counts.deletes:,} deletes" if counts.deletes else ""
    _print_error(f"{counts.good:,} postings scored with version {version}, {counts.bad:,} bad rows{deletes}")
    return 1 if counts.bad else 0


@dataclass
class _Counts:
    """How many rows were postings, bad, and deletes."""

    good: int = 0
    bad: int = 0
    deletes: int = 0


def _write_chunk(
    chunk: Sequence[Message | TableError], outcomes: Sequence[Outcome], output: "_Output", *, counts: _Counts
) -> None:
    """Write the good rows and report the other ones, in order, and count them."""
    answers = iter(outcomes)
    for row in chunk:
        outcome = None if isinstance(row, TableError) else next(answers)
        if outcome is None:
            _print_error(str(row))
            counts.bad += 1
        elif outcome.delete is not None:
            _print_error(f"row {outcome.message.offset}: a delete, nothing to score: {outcome.delete.detail}")
            counts.deletes += 1
        elif outcome.error is not None or outcome.record is None:
            _print_error(f"row {outcome.message.offset}: {outcome.error}")
            counts.bad += 1
        else:
            output.write((outcome.record.value or b"") + b"\n")
            counts.good += 1


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
