"""A static encoder for machines without a GPU: a vector per token, and a text is the mean of its tokens' vectors.

`distil` fits the vectors to a teacher's title embeddings, `tune` trains them together with category vectors, `save` writes a
SentenceTransformer. Which titles may be used for either is the caller's to decide: nothing here knows of held-out rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch.nn.functional import cross_entropy, embedding_bag, normalize

from consumer.errors import EncoderError
from consumer.model.encoder_folder import DEFAULT_ENCODER, find_encoder
from consumer.model.word_tokens import WordTokens
from trainer.fit.category_embeddings import EmbeddedRows, Progress, weighted_sums

MAX_TOKENS = 64
"""Of a title, in training; a longer one is cut. So are other texts where more is asked for."""
CHUNK = 256
"""Texts tokenised at once: what a tokenizer tells of a long body takes twenty times its size."""
TOKEN_DROPOUT = 0.25
"""Chance of a token to be left out in tuning. Measured: without it a title not seen in training is judged a point worse."""


@dataclass(frozen=True, slots=True)
class TokenVectors:
    """Token vectors `(vocabulary, dim)` float32, and the tokenizer whose token numbers are their rows."""

    vectors: torch.Tensor
    tokenizer: Tokenizer

    def embed(self, texts: Sequence[str]) -> torch.Tensor:
        """Return `(len(texts), dim)` float32 rows of length 1, or 0 for a text without tokens."""
        bags = _make_bags(texts, self.tokenizer)
        return _mean_vectors(bags.rows, _pick_tokens(self.vectors, bags))


@dataclass(frozen=True, slots=True)
class _Bags:
    """Texts as places in `used`, `(n, longest)`, filled up with `len(used)`; `used` `(tokens,)` are the tokens that occur.

    Numbering only those keeps the optimiser from moving the other two thirds of a vocabulary.
    """

    rows: torch.Tensor
    used: torch.Tensor

    def batch(self, chosen: torch.Tensor, dropout: float, generator: torch.Generator) -> torch.Tensor:
        """Return the rows `chosen`, no wider than they need be, each token left out with probability `dropout`."""
        rows = self.rows[chosen]
        rows = rows[:, : int((rows < len(self.used)).sum(dim=1).max().clamp_min(1))]
        if dropout > 0:
            rows = rows.masked_fill(torch.rand(rows.shape, generator=generator) < dropout, len(self.used))
        return rows


def load_tokenizer(name: str = DEFAULT_ENCODER) -> Tokenizer:
    """Return the tokenizer of encoder `name`, neither padding nor truncating. Raises EncoderError where it has none."""
    path = find_encoder(name) / "tokenizer.json"
    if not path.is_file():
        raise EncoderError(f"{path.parent} holds no tokenizer.json; a static encoder needs a teacher with a fast tokenizer")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def distill_tokens(
    teacher_vectors: torch.Tensor,
    titles: Sequence[str],
    tokenizer: Tokenizer,
    *,
    dim: int = 256,
    seed: int,
    epochs: int = 3,
    batch: int = 512,
    lr: float = 1e-2,
    progress: Progress = lambda *_: None,
) -> TokenVectors:
    """Fit token vectors so that a title's mean of them points where its teacher vector does, on `dim` principal axes.

    `teacher_vectors` `(titles, teacher_dim)` are unit rows. A token starts as the mean of the titles it occurs in; one that
    occurs in none stays zero and is thus passed over. The axes are those of the uncentred second moments, which change
    cosines least. Raises ValueError for no titles, for other numbers of them than of vectors, or for too large a `dim`.
    """
    if not titles or len(teacher_vectors) != len(titles):
        raise ValueError(
            f"{len(titles)} titles with {len(teacher_vectors)} teacher vectors: as many of both are needed, at least 1"
        )
    if not 1 <= dim <= teacher_vectors.shape[1]:
        raise ValueError(f"dim {dim} is not within 1 to {teacher_vectors.shape[1]}, the size of the teacher's vectors")
    targets = normalize(teacher_vectors @ _principal_axes(teacher_vectors, dim), dim=1)  # (titles, dim)
    bags = _make_bags(titles, tokenizer)
    tokens = _mean_of_titles(bags, targets).requires_grad_()
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam([tokens], lr=lr, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * -(-len(titles) // batch))
    for epoch in range(epochs):
        total = torch.zeros(())
        for chosen in torch.randperm(len(titles), generator=generator).split(batch):  # type: ignore[no-untyped-call]
            found = _mean_vectors(bags.batch(chosen, 0.0, generator), tokens)
            losses = 1 - (found * targets[chosen]).sum(dim=1)
            _step(losses.mean(), optimizer, schedule)
            total += losses.detach().sum()
        progress(epoch + 1, epochs, float(total / len(titles)))
    return TokenVectors(_put_back(tokens, bags, torch.zeros(tokenizer.get_vocab_size(), dim)), tokenizer)


def tune_tokens(
    static: TokenVectors,
    texts: Sequence[str],
    labels: torch.Tensor,
    weights: torch.Tensor,
    categories: int,
    *,
    seed: int,
    epochs: int = 4,
    batch: int = 1_024,
    dropout: float = TOKEN_DROPOUT,
    max_tokens: int = MAX_TOKENS,
    progress: Progress = lambda *_: None,
) -> TokenVectors:
    """Train the token vectors, together with one vector per category, on the weighted cross-entropy of 20 x cosine.

    `labels` `(texts,)` int64 are category numbers, `weights` `(texts,)` float32. The category vectors start as weighted class
    means and are then dropped: `fit_softmax` fits the final ones to what the finished encoder gives. Adam 2e-3 for
    tokens, 4e-3 for categories, both falling to zero. Raises ValueError for no texts or lengths that differ.
    """
    if not texts or not len(texts) == len(labels) == len(weights):
        raise ValueError(
            f"{len(texts)} texts, {len(labels)} labels, {len(weights)} weights: as many of each are needed, at least 1"
        )
    bags = _make_bags(texts, static.tokenizer, max_tokens)
    tokens = _pick_tokens(static.vectors, bags).requires_grad_()
    classes = _class_means(
        EmbeddedRows(_mean_vectors(bags.rows, tokens.detach()), labels, weights), categories, seed
    ).requires_grad_()
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam([{"params": [tokens], "lr": 2e-3}, {"params": [classes], "lr": 4e-3}], fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * -(-len(texts) // batch))
    for epoch in range(epochs):
        total = torch.zeros(())
        for chosen in torch.randperm(len(texts), generator=generator).split(batch):  # type: ignore[no-untyped-call]
            found = _mean_vectors(bags.batch(chosen, dropout, generator), tokens)
            logits = 20 * found @ normalize(classes, dim=1).T  # (batch, categories)
            losses = cross_entropy(logits, labels[chosen], reduction="none") * weights[chosen]
            _step(losses.mean(), optimizer, schedule)
            total += losses.detach().sum()
        progress(epoch + 1, epochs, float(total / weights.sum()))
    return TokenVectors(_put_back(tokens, bags, static.vectors.clone()), static.tokenizer)


def save_encoder(static: TokenVectors, folder: Path) -> None:
    """Write a SentenceTransformer that `consumer.model.encoder.load_encoder(folder)` loads, with `model.safetensors` in it."""
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - seconds to import
    from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding  # noqa: PLC0415

    tokenizer = Tokenizer.from_str(static.tokenizer.to_str())  # the module changes the one it is given
    modules: list[torch.nn.Module] = [StaticEmbedding(tokenizer, embedding_weights=static.vectors.contiguous()), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(folder), create_model_card=False)


def _make_bags(texts: Sequence[str], tokenizer: Tokenizer, max_tokens: int = MAX_TOKENS) -> _Bags:
    read = WordTokens(tokenizer, max_tokens=max_tokens)
    tokens: list[torch.Tensor] = []
    for start in range(0, len(texts), CHUNK):
        made = read(texts[start : start + CHUNK])
        tokens += made["input_ids"].tensor_split(made["offsets"][1:])
    filler = tokenizer.get_vocab_size()
    padded = torch.nn.utils.rnn.pad_sequence([*tokens, torch.tensor([filler])], batch_first=True, padding_value=filler)
    used, rows = padded.unique(return_inverse=True)  # type: ignore[no-untyped-call]
    return _Bags(rows[:-1], used[:-1])  # the row added makes sure that the filler is there, as the last


def _mean_vectors(rows: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Return unit means `(n, dim)` of the `tokens` `(used + 1, dim)` in each of `rows`; the last is the filler's."""
    means: torch.Tensor = embedding_bag(rows, tokens, mode="mean", padding_idx=len(tokens) - 1)
    return normalize(means, dim=1)


def _pick_tokens(vectors: torch.Tensor, bags: _Bags) -> torch.Tensor:
    return torch.cat((vectors[bags.used], torch.zeros(1, vectors.shape[1])))


def _put_back(tokens: torch.Tensor, bags: _Bags, vectors: torch.Tensor) -> torch.Tensor:
    vectors[bags.used] = tokens.detach()[:-1]
    return vectors


def _step(loss: torch.Tensor, optimizer: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LRScheduler) -> None:
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    schedule.step()


def _principal_axes(vectors: torch.Tensor, dim: int) -> torch.Tensor:
    """Return `(teacher_dim, dim)`: the eigenvectors of the largest second moments, in double precision on the way."""
    _values, axes = torch.linalg.eigh((vectors.T @ vectors).double())
    largest: torch.Tensor = axes.flip(1)[:, :dim]
    return largest.to(vectors.dtype)


def _mean_of_titles(bags: _Bags, targets: torch.Tensor) -> torch.Tensor:
    """Return for each used token, and the filler, the mean target `(used + 1, dim)` of the places it has."""
    sums, counts = torch.zeros(len(bags.used) + 1, targets.shape[1]), torch.zeros(len(bags.used) + 1)
    for column in bags.rows.T:
        sums.index_add_(0, column, targets)
        counts.index_add_(0, column, torch.ones(len(column)))
    return sums / counts.clamp_min(1)[:, None]


def _class_means(rows: EmbeddedRows, categories: int, seed: int) -> torch.Tensor:
    """Return `(categories, dim)` unit class means; a category without rows gets a random vector, for a zero has no direction."""
    sums, counts = weighted_sums(rows, categories)
    random = torch.randn(sums.shape, generator=torch.Generator().manual_seed(seed))
    return normalize(torch.where(counts > 0, sums, random), dim=1)
