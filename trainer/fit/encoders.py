"""Encoders that a fit makes for itself, on its own rows: token vectors, or a fine-tuned transformer."""

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch.nn.functional import normalize

from consumer.errors import ConfigError, RegistryError
from consumer.model.encoder import Encoder, SentenceEncoder, load_encoder
from consumer.safe_files import replace_file
from trainer.fit import token_vectors as distill
from trainer.fit.category_embeddings import weighted_sums
from trainer.fit.inputs import Source, Titles
from trainer.fit.title_embeddings import TitleEmbeddings, progress_bar, shown
from trainer.fit.token_vectors import Static
from trainer.options import Finetuning

TOKEN_DIM = 256
BODY_TOKENS = 512
"""Of a body, in training and in serving."""
DESCRIPTION_WEIGHT = 0.3
"""What a description or task of O*NET's counts beside a posting's body."""
FINETUNE_ONET_TITLES = 20
"""Per category: the encoder learns from the postings first of all."""
STATIC_ID = "token vectors of this version"
"""What an artifact calls such an encoder; the registry keeps it under its sha256."""


@dataclass(frozen=True, slots=True)
class Encoders:
    """What a model sees a posting with: its cleaned title, its line as posted, its body.

    `folders` are those that were made for this model: they go to the registry with it.
    """

    title: Encoder
    line: SentenceEncoder | None = None
    body: SentenceEncoder | None = None
    folders: tuple[Path, ...] = ()


def distilled(onet: Titles, tokenizer: Tokenizer, *, seed: int, cache: Path | None = None) -> Static:
    """Distil the encoder into token vectors on O*NET's titles; in the folder `cache` they are found again by the next run.

    Once for all fits of a run: no posting has a part in it. Measured, it is also a better start than one on the postings' titles.
    """
    teacher = onet.rows.embeddings
    dim = min(TOKEN_DIM, teacher.shape[1])
    told = repr((onet.encoder_sha256, onet.clean, tokenizer.to_str(), seed, dim))
    kept = cache / f"tokens-{hashlib.sha256(told.encode()).hexdigest()[:16]}.safetensors" if cache else None
    if kept is not None and (found := _read(kept, (tokenizer.get_vocab_size(), dim))) is not None:
        return Static(found, tokenizer)
    with progress_bar() as bar:
        progress = shown(bar, "distilling token vectors")
        static = distill.distil(teacher, onet.clean, tokenizer, seed=seed, dim=dim, progress=progress)
    if kept is not None:
        try:
            with replace_file(kept) as staged:
                save_file({"vectors": static.vectors}, staged)
        except (OSError, SafetensorError) as error:
            raise RegistryError(f"the cache {cache} cannot be written: {error}; make room, or name another folder") from error
    return static


def _read(path: Path, shape: tuple[int, int]) -> torch.Tensor | None:
    """Return the vectors in a file; None where it is not there or not whole: they are made again then."""
    try:
        vectors = load_file(path)["vectors"]
    except (OSError, SafetensorError, KeyError):
        return None
    return vectors if tuple(vectors.shape) == shape else None


def token_vectors(postings: Titles, source: Source, *, seed: int, what: str) -> tuple[Static, SentenceEncoder, Path]:
    """Train token vectors together with the categories, on titles as posted and cleaned; also as an encoder, in a folder.

    What cleaning took away still tells, an employer above all: each posting counts half as posted and half cleaned.
    """
    begin = source.distilled or distilled(source.onet, required(source.tokenizer), seed=seed)
    texts, labels, weights = spellings(postings, source)
    with progress_bar() as bar:
        learning = shown(bar, f"{what}: token vectors with categories")
        static = distill.tune(begin, texts, labels, weights, len(source.categories), seed=seed, progress=learning)
    return static, *saved(static, source)


def body_vectors(postings: Titles, source: Source, tokens: Static, *, seed: int, what: str) -> tuple[SentenceEncoder, Path]:
    """Train token vectors for bodies, from those for titles on, on the postings' bodies and O*NET's descriptions."""
    texts, labels, weights = described(postings, source)
    with progress_bar() as bar:
        progress = shown(bar, f"{what}: token vectors of bodies")
        classes, tuning = len(source.categories), {"seed": seed, "max_tokens": BODY_TOKENS, "batch": 64}
        static = distill.tune(tokens, texts, labels, weights, classes, progress=progress, **tuning)
    return saved(static, source, max_tokens=BODY_TOKENS)


def described(postings: Titles, source: Source) -> tuple[list[str], torch.Tensor, torch.Tensor]:
    """Return the bodies that there are and O*NET's descriptions, those last, with labels and weights `(texts,)`."""
    rows = [row for row, body in enumerate(postings.bodies) if body]
    more = source.descriptions
    return (
        [*(postings.bodies[row] for row in rows), *more.texts],
        torch.cat((postings.rows.labels[rows], torch.tensor(more.labels, dtype=torch.long))),
        torch.cat((torch.ones(len(rows)), torch.full((len(more.texts),), DESCRIPTION_WEIGHT))),
    )


def saved(static: Static, source: Source, *, max_tokens: int = 128) -> tuple[SentenceEncoder, Path]:
    """Return token vectors as serving will load them, and their folder."""
    folder = source.work / f"tokens-{len(list(source.work.iterdir()))}"
    try:
        distill.save(static, folder)
    except (OSError, SafetensorError) as error:
        raise RegistryError(f"the temporary folder {source.work} cannot be written: {error}; TMPDIR names another") from error
    return load_encoder(str(folder), device=str(source.encoder.device), max_seq_length=max_tokens, encoder_id=STATIC_ID), folder


def finetuned(
    postings: Titles, source: Source, tuning: Finetuning | None, *, seed: int, what: str
) -> tuple[SentenceEncoder, Path]:
    """Fine-tune the encoder on the postings and some of O*NET's titles; resumed where an earlier run was interrupted.

    Each set of rows has a folder of its own in `folder`: what is fitted without held-out rows never saw them.
    """
    if tuning is None:
        raise ValueError("fine-tuning needs a folder to work in")
    try:
        from trainer.fit.finetune import finetune  # noqa: PLC0415 - seconds to import, and an extra to install
    except ImportError as error:
        raise ConfigError(f"fine-tuning needs more packages: pip install 'occustream[finetune]' ({error})") from error

    some = source.onet.where(_first_of_each(source.onet.rows.labels, FINETUNE_ONET_TITLES))
    texts = [*postings.clean, *some.clean]
    rows = postings.rows.with_rows(some.rows)
    start = normalize(weighted_sums(rows, len(source.categories))[0], dim=1)
    name = hashlib.sha256(repr((texts, rows.labels.tolist(), seed, tuning.epochs)).encode()).hexdigest()[:16]
    with progress_bar() as bar:
        made = finetune(
            source.encoder_name,
            texts,
            rows.labels,
            rows.weights,
            start,
            folder=tuning.folder / name,
            seed=seed,
            epochs=tuning.epochs,
            device=str(source.encoder.device),
            max_seq_length=source.encoder.ref.max_seq_length,
            progress=shown(bar, f"{what}: fine-tuning"),
        )
    return load_encoder(str(made), device=str(source.encoder.device), encoder_id=f"{source.encoder_name}, fine-tuned"), made


def _first_of_each(labels: torch.Tensor, count: int) -> torch.Tensor:
    """Return where a row is among the first `count` of its category, `(n,)`."""
    seen: Counter[int] = Counter()
    kept = []
    for label in labels.tolist():
        kept.append(seen[label] < count)
        seen[label] += 1
    return torch.tensor(kept)


def spellings(postings: Titles, source: Source) -> tuple[list[str], torch.Tensor, torch.Tensor]:
    """Return the texts that token vectors learn from, O*NET's last, with labels and weights `(texts,)`."""
    half, onet = postings.rows.weights / 2, source.onet.rows
    return (
        [*postings.lines, *postings.clean, *source.onet.lines],
        torch.cat((postings.rows.labels, postings.rows.labels, onet.labels)),
        torch.cat((half, half, onet.weights)),
    )


def embedded(titles: Titles, encoder: Encoder) -> Titles:
    """Return the titles with the vectors that another encoder gives them."""
    vectors = TitleEmbeddings(encoder, titles.clean).of(titles.clean)
    return replace(titles, rows=replace(titles.rows, embeddings=vectors), encoder_sha256=encoder.ref.sha256)


def under(encoder: Encoder, postings: Titles, source: Source) -> tuple[Titles, Source]:
    """Return everything as `encoder` sees it."""
    if encoder is source.encoder:
        return postings, source
    return embedded(postings, encoder), replace(source, encoder=encoder, onet=embedded(source.onet, encoder), distilled=None)


def required(tokenizer: Tokenizer | None) -> Tokenizer:
    """Return the tokenizer. Raises ValueError where the encoder has none to lend."""
    if tokenizer is None:
        raise ValueError("token vectors need an encoder with a tokenizer.json")
    return tokenizer
