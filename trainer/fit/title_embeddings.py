"""Embeddings of titles. Each distinct text is embedded once: within a run, and with a cache once for all runs."""

import hashlib
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from consumer.errors import RegistryError
from consumer.model.encoder import Encoder

CHUNK = 2_048
MAX_PARAMETERS = 500
"""Parameters of one query. Every version of SQLite takes that many."""


class EmbeddingCache:
    """A cache of vectors on disk, one SQLite file per encoder. Processes may share it; losing it costs time only.

    All methods raise RegistryError if the file cannot be used.
    """

    def __init__(self, folder: Path, encoder: Encoder) -> None:
        """Open or create the file for the vectors that `encoder` computes."""
        name = hashlib.sha256(repr((encoder.ref.sha256, encoder.ref.max_seq_length, encoder.arithmetic)).encode()).hexdigest()
        self._path = folder / f"{name[:16]}.sqlite"
        self._dim = encoder.ref.dim
        with self._open() as file:
            file.execute("CREATE TABLE IF NOT EXISTS vectors (text TEXT PRIMARY KEY, vector BLOB NOT NULL) WITHOUT ROWID")

    def get(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """Return the vectors `(dim,)` float32 of those texts that the cache holds."""
        found: dict[str, np.ndarray] = {}
        with self._open() as file:
            for start in range(0, len(texts), MAX_PARAMETERS):
                asked = texts[start : start + MAX_PARAMETERS]
                marks = ",".join("?" * len(asked))
                query = f"SELECT text, vector FROM vectors WHERE text IN ({marks})"  # noqa: S608 - question marks only
                found |= {text: np.frombuffer(blob, dtype="<f4") for text, blob in file.execute(query, asked)}
        return {text: vector for text, vector in found.items() if vector.shape == (self._dim,)}

    def put(self, texts: Sequence[str], vectors: torch.Tensor) -> None:
        """Store the vectors `(texts, dim)`."""
        rows = zip(texts, (row.tobytes() for row in vectors.numpy().astype("<f4")), strict=True)
        with self._open() as file:
            file.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._path, timeout=60)) as file, file:
                yield file
        except (OSError, sqlite3.Error) as error:
            raise RegistryError(
                f"the embedding cache {self._path} cannot be used: {error}; remove it, make room, or name another folder"
            ) from error


class TitleEmbeddings:
    """The embeddings of a set of titles, in host memory: unit vectors, one per distinct text."""

    def __init__(self, encoder: Encoder, titles: Iterable[str], cache: EmbeddingCache | None = None) -> None:
        """Embed the distinct `titles`, as texts that the encoder takes as they are. Progress is shown on standard error."""
        # Texts of one batch are alike in length, so that little is computed for padding.
        texts = sorted(dict.fromkeys(titles), key=len)
        self._rows = {text: row for row, text in enumerate(texts)}
        self._vectors = torch.empty(len(texts), encoder.ref.dim)  # (texts, dim)
        known = cache.get(texts) if cache else {}
        for text, vector in known.items():
            self._vectors[self._rows[text]] = torch.from_numpy(vector.copy())
        new = [text for text in texts if text not in known]
        self.computed = len(new)
        with progress_bar() as progress:
            task = progress.add_task("embedding new titles" if known else "embedding titles", total=len(new))
            for start in range(0, len(new), CHUNK):
                chunk = new[start : start + CHUNK]
                vectors = encoder.encode(chunk).cpu()
                self._vectors[[self._rows[text] for text in chunk]] = vectors
                if cache:
                    cache.put(chunk, vectors)
                progress.advance(task, len(chunk))

    def __len__(self) -> int:
        return len(self._rows)

    def look_up(self, titles: Sequence[str]) -> torch.Tensor:
        """Return the rows `(len(titles), dim)` of titles that were embedded. Raises KeyError for any other title."""
        return self._vectors[[self._rows[title] for title in titles]]


def progress_bar() -> Progress:
    """Return a progress bar on standard error. It moves on a terminal; elsewhere it prints one line at the end."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(file=sys.stderr))


def add_progress_line(bar: Progress, caption: str) -> Callable[[int, int, float], None]:
    """Add a line to `bar`; returns the callback of (epoch, epochs, mean loss) that moves it."""
    task = bar.add_task(caption, total=1)

    def progress(epoch: int, epochs: int, loss: float) -> None:
        bar.update(task, completed=epoch, total=epochs, description=f"{caption}, loss {loss:.3f}")

    return progress
