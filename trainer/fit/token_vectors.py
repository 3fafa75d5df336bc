"""Token vectors, the static encoder for machines without a GPU: the embedding of a text is the mean of its tokens' vectors.

`distill_tokens` fits the vectors to a teacher's title embeddings, `tune_tokens` trains them together with category vectors, and
`save_encoder` writes a SentenceTransformer. The caller decides which titles to use; nothing here knows of held-out rows.
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
from trainer.fit.category_embeddings import SCALE, EmbeddedRows, Progress, weighted_sums

MAX_TOKENS = 64
"""Tokens of a title that training looks at; longer titles are cut. For other texts, `tune_tokens` takes another limit."""
CHUNK = 256
"""Texts tokenised at once. What a tokenizer returns for a long body takes twenty times the memory of the body."""
TOKEN_DROPOUT = 0.25
"""The chance of each token to be left out in tuning. Measured: without it, accuracy on unseen titles is a point lower."""


@dataclass(frozen=True, slots=True)
class TokenVectors:
    """Vectors `(vocabulary, dim)` float32, one per token of a tokenizer: a token's number is its row."""

    vectors: torch.Tensor
    tokenizer: Tokenizer

    def embed(self, texts: Sequence[str]) -> torch.Tensor:
        """Return `(len(texts), dim)` float32 rows of length 1, or 0 for a text without tokens."""
        bags = _make_bags(texts, self.tokenizer)
        return _mean_vectors(bags.rows, _pick_tokens(self.vectors, bags))


@dataclass(frozen=True, slots=True)
class _Bags:
    """Texts as bags of tokens. `used` `(tokens,)` are the numbers of the tokens that occur in any text.

    `rows` `(n, longest)` hold each text's tokens as positions in `used`; shorter texts are filled up with `len(used)`, the
    filler. Numbering only the used tokens keeps the optimiser from moving the other two thirds of a vocabulary.
    """

    rows: torch.Tensor
    used: torch.Tensor

    def batch(self, chosen: torch.Tensor, dropout: float, generator: torch.Generator) -> torch.Tensor:
        """Return the rows `chosen`, as narrow as possible; each token is left out with probability `dropout`."""
        rows = self.rows[chosen]
        rows = rows[:, : int((rows < len(self.used)).sum(dim=1).max().clamp_min(1))]
        if dropout > 0:
            rows = rows.masked_fill(torch.rand(rows.shape, generator=generator) < dropout, len(self.used))
        return rows


def load_tokenizer(name: str = DEFAULT_ENCODER) -> Tokenizer:
    """Return the tokenizer of the encoder `name`, without padding and truncation. Raises EncoderError if it has none."""
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
    progress: Progress = lambda *_: None,
) -> TokenVectors:
    """Fit token vectors so that the mean over a title's tokens points in the direction of the title's teacher vector.

    `teacher_vectors` `(titles, teacher_dim)` are unit rows. They are first projected on their `dim` principal axes, those of
    the uncentred second moments, which change cosines least. A token's vector starts as the mean over the titles that contain
    it; a token in no title keeps a zero vector and does not count in any mean. Raises ValueError if there are no titles, if
    the numbers of titles and vectors differ, or if `dim` is too large.
    """
    if not titles or len(teacher_vectors) != len(titles):
        raise ValueError(
            f"{len(titles)} titles with {len(teacher_vectors)} teacher vectors: as many of both are needed, at least 1"
        )
    if not 1 <= dim <= teacher_vectors.shape[1]:
        raise ValueError(f"dim {dim} is not within 1 to {teacher_vectors.shape[1]}, the size of the teacher's vectors")
    targets = normalize(teacher_vectors @ _principal_axes(teacher_vectors, dim), dim=1)  # (titles, dim)
    bags = _make_bags(titles, tokenizer)
    tokens = _mean_targets(bags, targets).requires_grad_()
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam([tokens], lr=1e-2, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * -(-len(titles) // batch))
    for epoch in range(epochs):
        total = torch.zeros(())
        for chosen in torch.randperm(len(titles), generator=generator).split(batch):  # type: ignore[no-untyped-call]
            means = _mean_vectors(bags.batch(chosen, 0.0, generator), tokens)
            losses = 1 - (means * targets[chosen]).sum(dim=1)
            _step(losses.mean(), optimizer, schedule)
            total += losses.detach().sum()
        progress(epoch + 1, epochs, float(total / len(titles)))
    return TokenVectors(_put_back(tokens, bags, torch.zeros(tokenizer.get_vocab_size(), dim)), tokenizer)


def tune_tokens(
    token_vectors: TokenVectors,
    texts: Sequence[str],
    labels: torch.Tensor,
    weights: torch.Tensor,
    categories: int,
    *,
    seed: int,
    epochs: int = 4,
    batch: int = 1_024,
    max_tokens: int = MAX_TOKENS,
    progress: Progress = lambda *_: None,
) -> TokenVectors:
    """Train token vectors, together with one vector per category, on the weighted cross-entropy of a softmax over scaled cosines.

    `labels` `(texts,)` int64 are category numbers, `weights` `(texts,)` float32. The category vectors start as weighted class
    means and are dropped at the end: `fit_softmax` fits the final ones to the embeddings of the finished encoder. Adam with a
    learning rate of 2e-3 for tokens and 4e-3 for categories, both falling to zero. Raises ValueError if there are no texts or
    if lengths differ.
    """
    if not texts or not len(texts) == len(labels) == len(weights):
        raise ValueError(
            f"{len(texts)} texts, {len(labels)} labels, {len(weights)} weights: as many of each are needed, at least 1"
        )
    bags = _make_bags(texts, token_vectors.tokenizer, max_tokens)
    tokens = _pick_tokens(token_vectors.vectors, bags).requires_grad_()
    rows = EmbeddedRows(_mean_vectors(bags.rows, tokens.detach()), labels, weights)
    classes = _class_means(rows, categories, seed).requires_grad_()
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam([{"params": [tokens], "lr": 2e-3}, {"params": [classes], "lr": 4e-3}], fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * -(-len(texts) // batch))
    for epoch in range(epochs):
        total = torch.zeros(())
        for chosen in torch.randperm(len(texts), generator=generator).split(batch):  # type: ignore[no-untyped-call]
            means = _mean_vectors(bags.batch(chosen, TOKEN_DROPOUT, generator), tokens)
            logits = SCALE * means @ normalize(classes, dim=1).T  # (batch, categories)
            losses = cross_entropy(logits, labels[chosen], reduction="none") * weights[chosen]
            _step(losses.mean(), optimizer, schedule)
            total += losses.detach().sum()
        progress(epoch + 1, epochs, float(total / weights.sum()))
    return TokenVectors(_put_back(tokens, bags, token_vectors.vectors.clone()), token_vectors.tokenizer)


def save_encoder(token_vectors: TokenVectors, folder: Path) -> None:
    """Write token vectors as a SentenceTransformer, which `consumer.model.encoder.load_encoder(str(folder))` loads."""
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - seconds to import
    from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding  # noqa: PLC0415

    tokenizer = Tokenizer.from_str(token_vectors.tokenizer.to_str())  # a copy: the module changes its tokenizer
    embedding = StaticEmbedding(tokenizer, embedding_weights=token_vectors.vectors.contiguous())
    modules: list[torch.nn.Module] = [embedding, Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(folder), create_model_card=False)


def _make_bags(texts: Sequence[str], tokenizer: Tokenizer, max_tokens: int = MAX_TOKENS) -> _Bags:
    tokenize = WordTokens(tokenizer, max_tokens=max_tokens)
    tokens: list[torch.Tensor] = []
    for start in range(0, len(texts), CHUNK):
        chunk = tokenize(texts[start : start + CHUNK])
        tokens += chunk["input_ids"].tensor_split(chunk["offsets"][1:])
    filler = tokenizer.get_vocab_size()
    padded = torch.nn.utils.rnn.pad_sequence([*tokens, torch.tensor([filler])], batch_first=True, padding_value=filler)
    used, rows = padded.unique(return_inverse=True)  # type: ignore[no-untyped-call]
    return _Bags(rows[:-1], used[:-1])  # the added row makes sure that the filler occurs, and it sorts last


def _mean_vectors(rows: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Return for each of `rows` the mean of its `tokens`, scaled to length 1, `(n, dim)`.

    `tokens` `(used + 1, dim)` end with the vector of the filler, which does not count.
    """
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
    """Return the eigenvectors `(teacher_dim, dim)` of the largest second moments, computed in double precision."""
    _values, axes = torch.linalg.eigh((vectors.T @ vectors).double())
    largest: torch.Tensor = axes.flip(1)[:, :dim]
    return largest.to(vectors.dtype)


def _mean_targets(bags: _Bags, targets: torch.Tensor) -> torch.Tensor:
    """Return for each used token, and for the filler, the mean target over its occurrences, `(used + 1, dim)`."""
    sums, counts = torch.zeros(len(bags.used) + 1, targets.shape[1]), torch.zeros(len(bags.used) + 1)
    for column in bags.rows.T:
        sums.index_add_(0, column, targets)
        counts.index_add_(0, column, torch.ones(len(column)))
    return sums / counts.clamp_min(1)[:, None]


def _class_means(rows: EmbeddedRows, categories: int, seed: int) -> torch.Tensor:
    """Return class means `(categories, dim)` of length 1. A category without rows gets a random vector: zero has no direction."""
    sums, counts = weighted_sums(rows, categories)
    random = torch.randn(sums.shape, generator=torch.Generator().manual_seed(seed))
    return normalize(torch.where(counts > 0, sums, random), dim=1)
