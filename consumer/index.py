"""Similarity: the category matrix on the device and the exact top-k over it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from schemas.artifact import Category


@dataclass(frozen=True, slots=True)
class TopK:
    """The best categories of each text, best first; each array is `(texts, k)`, in host memory."""

    ids: list[list[int]]
    scores: list[list[float]]
    probabilities: list[list[float]]


class CategoryIndex:
    """Unit category embeddings `(categories, dim)` on one device. Immutable."""

    def __init__(self, categories: Sequence[Category], embeddings: torch.Tensor, device: torch.device) -> None:
        """Normalise the rows and move them to `device`. Raises ValueError on shapes, NaN or rows of length zero."""
        if embeddings.ndim != 2 or embeddings.shape[0] != len(categories):  # noqa: PLR2004 - a matrix
            raise ValueError(f"{len(categories)} categories do not fit embeddings of shape {tuple(embeddings.shape)}")
        lengths = embeddings.float().norm(dim=1)
        if not bool(torch.isfinite(lengths).all()) or bool((lengths < 1e-6).any()):  # noqa: PLR2004 - no direction left
            raise ValueError("a category embedding is NaN, infinite or of length zero")
        self.categories = tuple(categories)
        self._embeddings = (embeddings.float() / lengths[:, None]).to(device)  # (categories, dim)

    @property
    def dim(self) -> int:
        """The length of an embedding."""
        return int(self._embeddings.shape[1])

    def scores(self, texts: torch.Tensor) -> torch.Tensor:
        """Return the cosines `(texts, categories)` of unit rows `(texts, dim)`."""
        return torch.matmul(texts, self._embeddings.T)

    def top_k(self, texts: torch.Tensor, k: int, *, scale: float) -> TopK:
        """Return the `k` best categories of unit rows `(texts, dim)`; probabilities are softmax(scale * cosine) over all."""
        scores = self.scores(texts)  # (texts, categories)
        best = scores.topk(min(k, scores.shape[1]), dim=1)
        probabilities = torch.softmax(scale * scores, dim=1).gather(1, best.indices)
        # One copy to the host per batch; float32 holds every id below 2^24 exactly.
        host = torch.stack((best.indices.float(), best.values, probabilities)).cpu()  # (3, texts, k)
        return TopK(host[0].int().tolist(), host[1].tolist(), host[2].tolist())
