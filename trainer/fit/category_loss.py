"""The task of fine-tuning: its texts and labels, the loss over all categories, and batches of texts alike in length."""

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.sampler import DefaultBatchSampler
from torch.nn.functional import cross_entropy, normalize

from trainer.fit.category_embeddings import SCALE

LIGHT_ROWS = 12_000
"""Rows with a weight below 1 that an epoch draws. All of O*NET's titles would be most of the work and little of the gain."""
BATCH = 64
BUCKET = 50 * BATCH
"""Rows that are sorted by length before they are cut into batches: little padding, and yet other batches in every epoch."""


@dataclass(frozen=True, slots=True)
class Task:
    """What to learn: n texts, category numbers `(n,)` int64, weights `(n,)` float32, and first category vectors `(c, dim)`."""

    texts: Sequence[str]
    labels: torch.Tensor
    weights: torch.Tensor
    categories: torch.Tensor

    def check(self) -> None:
        """Raise ValueError if nothing can be learned from the task."""
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
        """Return a SHA-256 of the whole task, by which an interrupted run is recognised."""
        digest = hashlib.sha256(json.dumps(list(self.texts)).encode())
        for tensor in (self.labels, self.weights, self.categories):
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()


class CategoryLoss(torch.nn.Module):
    """The weighted cross-entropy of a softmax over scaled cosines between texts and trainable category vectors.

    As a contrastive loss, it has a text's own category as the positive and all other categories as negatives, so that texts of
    one category are never each other's negatives. The "label" that a batch carries is a row number of the task.
    """

    def __init__(self, model: SentenceTransformer, task: Task) -> None:
        super().__init__()
        self.model = model
        self.categories = torch.nn.Parameter(task.categories.clone())
        self.register_buffer("labels", task.labels, persistent=False)
        self.register_buffer("weights", task.weights, persistent=False)

    def forward(self, features: list[dict[str, torch.Tensor]], rows: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of a batch; `rows` `(batch,)` are its row numbers in the task."""
        labels, weights = self.get_buffer("labels"), self.get_buffer("weights")
        vectors = self.model(features[0])["sentence_embedding"].float()  # (batch, dim)
        with torch.autocast(vectors.device.type, enabled=False):
            logits = SCALE * normalize(vectors, dim=1) @ normalize(self.categories, dim=1).T  # (batch, c)
            return (cross_entropy(logits, labels[rows], reduction="none") * weights[rows]).mean()


class BucketSampler(DefaultBatchSampler):
    """A sampler of batches alike in length. Their order depends on seed and epoch only, so that a run can be resumed."""

    def __init__(self, task: Task, *, seed: int, light_rows: int = LIGHT_ROWS) -> None:
        super().__init__(range(len(task.texts)), batch_size=BATCH, drop_last=False, seed=seed)
        self.lengths = torch.tensor([len(text) for text in task.texts])
        self.full_rows = (task.weights >= 1).nonzero().flatten()
        self.light_rows = (task.weights < 1).nonzero().flatten()
        self.light_count = min(light_rows, len(self.light_rows))

    def __len__(self) -> int:
        """Return the number of batches in an epoch. Only the last one is short: BUCKET is a multiple of BATCH."""
        return math.ceil((len(self.full_rows) + self.light_count) / BATCH)

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        light = self.light_rows[torch.randperm(len(self.light_rows), generator=generator)[: self.light_count]]
        rows = torch.cat((self.full_rows, light))
        rows = rows[torch.randperm(len(rows), generator=generator)]
        batches = [batch for bucket in rows.split(BUCKET) for batch in bucket[self.lengths[bucket].argsort()].split(BATCH)]  # type: ignore[no-untyped-call]
        for number in torch.randperm(len(batches), generator=generator).tolist():
            yield batches[number].tolist()
