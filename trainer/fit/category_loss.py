"""What fine-tuning minimises, and in which batches: the loss over all categories, and batches of texts alike in length."""

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.sampler import DefaultBatchSampler
from torch.nn.functional import cross_entropy, normalize

LIGHT_ROWS = 12_000
"""Rows of a weight below 1 that an epoch draws: all of O*NET's titles would be most of the work and little of the gain."""
BATCH = 64
BUCKET = 50 * BATCH
"""Rows among which neighbours in length make a batch: little padding, and still other batches in every epoch."""


@dataclass(frozen=True, slots=True)
class Task:
    """What to learn: texts, their category numbers `(n,)` int64 and weights `(n,)` float32, first categories `(c, dim)`."""

    texts: Sequence[str]
    labels: torch.Tensor
    weights: torch.Tensor
    categories: torch.Tensor

    def check(self) -> None:
        """Raise ValueError where nothing can be learned from it."""
        sizes = {len(self.texts), len(self.labels), len(self.weights)}
        if len(sizes) > 1 or 0 in sizes:
            raise ValueError(
                f"{len(self.texts)} texts, {len(self.labels)} labels, {len(self.weights)} weights: "
                "as many of each are needed, at least 1"
            )
        lowest, highest = int(self.labels.min()), int(self.labels.max())
        if lowest < 0 or highest >= len(self.categories):
            raise ValueError(f"labels from {lowest} to {highest}, but the categories are 0 to {len(self.categories) - 1}")
        if not bool(self.weights.isfinite().all() and (self.weights > 0).all()):
            raise ValueError("weights must be finite and above 0")

    def digest(self) -> str:
        """Return a digest of all of it, by which an interrupted run is known again."""
        made = hashlib.sha256(json.dumps(list(self.texts)).encode())
        for tensor in (self.labels, self.weights, self.categories):
            made.update(tensor.contiguous().numpy().tobytes())
        return made.hexdigest()


class CategoryLoss(torch.nn.Module):
    """Weighted cross-entropy of softmax over scaled cosines with trainable category vectors.

    A contrastive loss whose positive is the text's own category and whose negatives are all others, so that texts of one
    category are never each other's negatives. The batch's "label" is a row number of the task.
    """

    def __init__(self, model: SentenceTransformer, task: Task, *, scale: float = 20.0) -> None:
        super().__init__()
        self.model = model
        self.scale = scale
        self.categories = torch.nn.Parameter(task.categories.clone())
        self.register_buffer("labels", task.labels, persistent=False)
        self.register_buffer("weights", task.weights, persistent=False)

    def forward(self, features: list[dict[str, torch.Tensor]], rows: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of a batch; `rows` `(batch,)`."""
        labels, weights = self.get_buffer("labels"), self.get_buffer("weights")
        vectors = self.model(features[0])["sentence_embedding"].float()  # (batch, dim)
        with torch.autocast(vectors.device.type, enabled=False):
            logits = self.scale * normalize(vectors, dim=1) @ normalize(self.categories, dim=1).T  # (batch, c)
            return (cross_entropy(logits, labels[rows], reduction="none") * weights[rows]).mean()


class BucketSampler(DefaultBatchSampler):
    """Batches of texts alike in length, in an order that depends on seed and epoch alone, which is what lets a run resume."""

    def __init__(self, task: Task, *, seed: int, light_rows: int = LIGHT_ROWS) -> None:
        super().__init__(range(len(task.texts)), batch_size=BATCH, drop_last=False, seed=seed)
        self.lengths = torch.tensor([len(text) for text in task.texts])
        self.full = (task.weights >= 1).nonzero().flatten()
        self.light = (task.weights < 1).nonzero().flatten()
        self.drawn = min(light_rows, len(self.light))

    def __len__(self) -> int:
        """Return the batches of an epoch: a bucket's last may be short, and BUCKET is a multiple of BATCH."""
        return math.ceil((len(self.full) + self.drawn) / BATCH)

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        light = self.light[torch.randperm(len(self.light), generator=generator)[: self.drawn]]
        rows = torch.cat((self.full, light))
        rows = rows[torch.randperm(len(rows), generator=generator)]
        batches = [batch for bucket in rows.split(BUCKET) for batch in bucket[self.lengths[bucket].argsort()].split(BATCH)]  # type: ignore[no-untyped-call]
        for number in torch.randperm(len(batches), generator=generator).tolist():
            yield batches[number].tolist()
