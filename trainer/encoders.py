"""Encoders that a fit makes for itself: token vectors, distilled and tuned on its own rows. Each is loaded as a consumer will."""

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from tokenizers import Tokenizer

from consumer.encoder import SentenceEncoder, load_encoder
from trainer import distill
from trainer.embed import TitleEmbeddings, progress_bar, shown

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.model import Source, Titles

TOKEN_DIM = 256
STATIC_ID = "token vectors of this version"
"""What an artifact calls such an encoder; the registry keeps it under its sha256."""


def token_vectors(postings: "Titles", source: "Source", *, seed: int, what: str) -> tuple[SentenceEncoder, "Path"]:
    """Train token vectors together with the categories, on titles as posted and cleaned; returns encoder and folder.

    What cleaning took away still tells, an employer above all: each posting counts half as posted and half cleaned.
    """
    texts, labels, weights = spellings(postings, source)
    teacher = torch.cat((postings.rows.embeddings, source.onet.rows.embeddings))
    taught = [*postings.clean, *source.onet.clean]
    with progress_bar() as bar:
        learning = shown(bar, f"{what}: token vectors")
        dim = min(TOKEN_DIM, teacher.shape[1])
        static = distill.distil(teacher, taught, required(source.tokenizer), seed=seed, dim=dim, progress=learning)
        learning = shown(bar, f"{what}: token vectors with categories")
        static = distill.tune(static, texts, labels, weights, len(source.categories), seed=seed, progress=learning)
    folder = source.work / f"tokens-{len(list(source.work.iterdir()))}"
    distill.save(static, folder)
    return load_encoder(str(folder), device=str(source.encoder.device), called=STATIC_ID), folder


def spellings(postings: "Titles", source: "Source") -> tuple[list[str], torch.Tensor, torch.Tensor]:
    """Return the texts that token vectors learn from, O*NET's last, with labels and weights `(texts,)`."""
    half, onet = postings.rows.weights / 2, source.onet.rows
    return (
        [*postings.lines, *postings.clean, *source.onet.lines],
        torch.cat((postings.rows.labels, postings.rows.labels, onet.labels)),
        torch.cat((half, half, onet.weights)),
    )


def embedded(titles: "Titles", encoder: SentenceEncoder) -> "Titles":
    """Return the titles with the vectors that another encoder gives them."""
    vectors = TitleEmbeddings(encoder, titles.clean).of(titles.clean)
    return replace(titles, rows=replace(titles.rows, embeddings=vectors), encoder_sha256=encoder.ref.sha256)


def required(tokenizer: Tokenizer | None) -> Tokenizer:
    """Return the tokenizer. Raises ValueError where the encoder has none to lend."""
    if tokenizer is None:
        raise ValueError("token vectors need an encoder with a tokenizer.json")
    return tokenizer
