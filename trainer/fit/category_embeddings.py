"""Four methods to make category embeddings from title embeddings, as pure functions of tensors.

Shapes: `n` rows, `dim` components, `c` categories. Rows have length 1, in arguments and in results.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy, normalize

SCALE = 20.0
"""The fixed factor of cosines before a softmax, in every loss that is a cross-entropy."""
Progress = Callable[[int, int, float], None]
"""Called after each epoch with (epoch, epochs, mean loss)."""
Observe = Callable[[int, float, torch.Tensor], None]
"""Called after each epoch with (epoch, mean loss, unit category embeddings `(c, dim)`)."""


@dataclass(frozen=True, slots=True)
class EmbeddedRows:
    """Labelled title embeddings: `(n, dim)` float32, `(n,)` int64 category numbers, `(n,)` float32 weights."""

    embeddings: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, mask: torch.Tensor) -> "EmbeddedRows":
        """Return the rows for which `mask` `(n,)` is true."""
        return self.take(mask.nonzero().flatten())

    def take(self, places: torch.Tensor) -> "EmbeddedRows":
        """Return the rows with the numbers `places` `(m,)`, in that order."""
        return EmbeddedRows(self.embeddings[places], self.labels[places], self.weights[places])

    def concatenate(self, more: "EmbeddedRows") -> "EmbeddedRows":
        """Return these rows followed by `more`."""
        pairs = ((self.embeddings, more.embeddings), (self.labels, more.labels), (self.weights, more.weights))
        return EmbeddedRows(*(torch.cat(pair) for pair in pairs))


def weighted_sums(rows: EmbeddedRows, categories: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return for each category the weighted sum of its rows `(c, dim)` and the sum of their weights `(c, 1)`."""
    sums = torch.zeros(categories, rows.embeddings.shape[1])
    sums.index_add_(0, rows.labels, rows.embeddings * rows.weights[:, None])
    counts = torch.zeros(categories).index_add_(0, rows.labels, rows.weights)
    return sums, counts[:, None]


def fit_direct(names: torch.Tensor) -> torch.Tensor:
    """Return the embeddings of the category names `(c, dim)`, scaled to length 1: nothing is learned."""
    return normalize(names, dim=1)


def fit_mean(rows: EmbeddedRows, prior: torch.Tensor, *, shrinkage: float = 5.0) -> torch.Tensor:
    """Return class means, shrunk towards `prior` `(c, dim)` as if each category had `shrinkage` more rows equal to its prior.

    With shrinkage 0 a category's embedding is the plain mean of its rows. A category without rows always gets its prior.
    """
    sums, counts = weighted_sums(rows, len(prior))
    pull = torch.where(counts > 0, shrinkage, 1.0)
    return normalize(sums + pull * prior, dim=1)


def fit_hinge(
    rows: EmbeddedRows,
    categories: int,
    *,
    seed: int,
    epochs: int = 5,
    progress: Progress = lambda *_: None,
    observe: Observe = lambda *_: None,
) -> torch.Tensor:
    """Train embeddings `(c, dim)` on the hinge loss of the hardest negative: max(0, s_neg - s_pos + 0.2), where s is the cosine.

    This is the recipe of the report that this product started from: random unit vectors at the start, Adam with a learning
    rate of 5e-3, batches of 32, 5 epochs, dropout 0.2 on the title vector. A category without rows keeps its random vector.
    """
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)  # dropout draws from the global generator
    weights = normalize(torch.randn(categories, rows.embeddings.shape[1], generator=generator), dim=1).requires_grad_()
    optimizer = torch.optim.Adam([weights], lr=5e-3)
    for epoch in range(epochs):
        total = 0.0
        for batch in torch.randperm(len(rows), generator=generator).split(32):  # type: ignore[no-untyped-call]
            titles = torch.nn.functional.dropout(rows.embeddings[batch], 0.2)
            scores = normalize(titles, dim=1) @ normalize(weights, dim=1).T  # (batch, c)
            positive = scores.gather(1, rows.labels[batch][:, None])
            negative = scores.scatter(1, rows.labels[batch][:, None], -2.0).max(dim=1, keepdim=True).values
            loss = (negative - positive + 0.2).clamp_min(0).mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.item() * len(batch)
        progress(epoch + 1, epochs, total / len(rows))
        observe(epoch + 1, total / len(rows), normalize(weights.detach(), dim=1))
    return normalize(weights.detach(), dim=1)


def fit_softmax(
    rows: EmbeddedRows,
    start: torch.Tensor,
    *,
    seed: int,
    epochs: int = 6,
    batch: int = 1_024,
    lr: float = 4e-3,
    progress: Progress = lambda *_: None,
    observe: Observe = lambda *_: None,
) -> torch.Tensor:
    """Train embeddings `(c, dim)` from `start` on the weighted cross-entropy of a softmax over scaled cosines.

    The loss is that of NormFace (Wang et al. 2017) without a margin: both vectors have length 1, and the scale is fixed. The
    learning rate falls to zero along a cosine.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([weights], lr=lr, fused=True)
    steps = epochs * -(-len(rows) // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for epoch in range(epochs):
        total = torch.zeros(())
        for chosen in torch.randperm(len(rows), generator=generator).split(batch):  # type: ignore[no-untyped-call]
            logits = SCALE * rows.embeddings[chosen] @ normalize(weights, dim=1).T  # (batch, c)
            losses = cross_entropy(logits, rows.labels[chosen], reduction="none") * rows.weights[chosen]
            optimizer.zero_grad()
            losses.mean().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            total += losses.detach().sum()
        mean_loss = float(total / rows.weights.sum())
        progress(epoch + 1, epochs, mean_loss)
        observe(epoch + 1, mean_loss, normalize(weights.detach(), dim=1))
    return normalize(weights.detach(), dim=1)
