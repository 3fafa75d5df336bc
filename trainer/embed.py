"""Title embeddings, each distinct text computed once."""

import sys
from collections.abc import Callable, Iterable, Sequence

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from consumer.encoder import Encoder

CHUNK = 2_048


class TitleEmbeddings:
    """The unit vectors of a set of titles, in host memory."""

    def __init__(self, encoder: Encoder, titles: Iterable[str]) -> None:
        """Embed the distinct ones of `titles`, texts as the encoder is to see them, showing progress on standard error."""
        # Sorted by length over all of them: neighbours of one length waste nothing on padding.
        texts = sorted(dict.fromkeys(titles), key=len)
        self._rows = {text: row for row, text in enumerate(texts)}
        self._vectors = torch.empty(len(texts), encoder.ref.dim)  # (texts, dim)
        with progress_bar() as progress:
            task = progress.add_task("embedding titles", total=len(texts))
            for start in range(0, len(texts), CHUNK):
                chunk = texts[start : start + CHUNK]
                self._vectors[start : start + len(chunk)] = encoder.encode(chunk).cpu()
                progress.advance(task, len(chunk))

    def __len__(self) -> int:
        return len(self._rows)

    def of(self, titles: Sequence[str]) -> torch.Tensor:
        """Return `(len(titles), dim)` rows of titles that were embedded."""
        return self._vectors[[self._rows[title] for title in titles]]


def progress_bar() -> Progress:
    """Return a bar on standard error: moving on a terminal, one line at the end elsewhere."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(file=sys.stderr))


def shown(bar: Progress, what: str) -> Callable[[int, int, float], None]:
    """Return a callback of (epoch, epochs, mean loss) that moves a new line of `bar`."""
    task = bar.add_task(what, total=1)

    def progress(epoch: int, epochs: int, loss: float) -> None:
        bar.update(task, completed=epoch, total=epochs, description=f"{what}, loss {loss:.3f}")

    return progress
