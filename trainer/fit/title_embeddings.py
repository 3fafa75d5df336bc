"""Title embeddings, each distinct text computed once: in a run, and with a cache in all runs."""

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
"""SQLite takes so many parameters in any of its versions."""


class EmbeddingCache:
    """Vectors on disk, a SQLite file per encoder. Safe to share between processes; a lost file costs time only."""

    def __init__(self, folder: Path, encoder: Encoder) -> None:
        """Open or make the file for what `encoder` computes. All of this raises RegistryError where it cannot."""
        name = hashlib.sha256(repr((encoder.ref.sha256, encoder.ref.max_seq_length, encoder.arithmetic)).encode()).hexdigest()
        self._path = folder / f"{name[:16]}.sqlite"
        self._dim = encoder.ref.dim
        with self._open() as file:
            file.execute("CREATE TABLE IF NOT EXISTS vectors (text TEXT PRIMARY KEY, vector BLOB NOT NULL) WITHOUT ROWID")

    def get(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """Return the vectors `(dim,)` float32 of those texts that are there."""
        found: dict[str, np.ndarray] = {}
        with self._open() as file:
            for start in range(0, len(texts), MAX_PARAMETERS):
                some = texts[start : start + MAX_PARAMETERS]
                marks = ",".join("?" * len(some))
                query = f"SELECT text, vector FROM vectors WHERE text IN ({marks})"  # noqa: S608 - question marks only
                found |= {text: np.frombuffer(blob, dtype="<f4") for text, blob in file.execute(query, some)}
        return {text: vector for text, vector in found.items() if vector.shape == (self._dim,)}

    def put(self, texts: Sequence[str], vectors: torch.Tensor) -> None:
        """Keep the vectors `(texts, dim)`."""
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
    """The unit vectors of a set of titles, in host memory."""

    def __init__(self, encoder: Encoder, titles: Iterable[str], cache: EmbeddingCache | None = None) -> None:
        """Embed the distinct ones of `titles`, texts as the encoder is to see them, showing progress on standard error."""
        # Sorted by length over all of them: neighbours of one length waste nothing on padding.
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
        """Return `(len(titles), dim)` rows of titles that were embedded."""
        return self._vectors[[self._rows[title] for title in titles]]


def progress_bar() -> Progress:
    """Return a bar on standard error: moving on a terminal, one line at the end elsewhere."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(file=sys.stderr))


def add_progress_line(bar: Progress, what: str) -> Callable[[int, int, float], None]:
    """Return a callback of (epoch, epochs, mean loss) that moves a new line of `bar`."""
    task = bar.add_task(what, total=1)

    def progress(epoch: int, epochs: int, loss: float) -> None:
        bar.update(task, completed=epoch, total=epochs, description=f"{what}, loss {loss:.3f}")

    return progress
