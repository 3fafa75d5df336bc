"""Encoders that a fit makes for itself, on its own rows: token vectors, or a fine-tuned transformer."""

import hashlib
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
from trainer.fit.category_embeddings import weighted_sums
from trainer.fit.inputs import FitInputs, Titles
from trainer.fit.title_embeddings import TitleEmbeddings, add_progress_line, progress_bar
from trainer.fit.token_vectors import TokenVectors, distill_tokens, save_encoder, tune_tokens
from trainer.fit.training_texts import collect_body_texts, collect_finetuning_texts, collect_title_texts
from trainer.options import Finetuning

TOKEN_DIM = 256
BODY_TOKENS = 512
"""Of a body, in training and in serving."""
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


def distill_encoder(onet: Titles, tokenizer: Tokenizer, *, seed: int, cache: Path | None = None) -> TokenVectors:
    """Distil the encoder into token vectors on O*NET's titles; in the folder `cache` they are found again by the next run.

    Once for all fits of a run: no posting has a part in it. Measured, it is also a better start than one on the postings' titles.
    """
    teacher = onet.rows.embeddings
    dim = min(TOKEN_DIM, teacher.shape[1])
    told = repr((onet.encoder_sha256, onet.clean, tokenizer.to_str(), seed, dim))
    kept = cache / f"tokens-{hashlib.sha256(told.encode()).hexdigest()[:16]}.safetensors" if cache else None
    if kept is not None and (found := _read(kept, (tokenizer.get_vocab_size(), dim))) is not None:
        return TokenVectors(found, tokenizer)
    with progress_bar() as bar:
        progress = add_progress_line(bar, "distilling token vectors")
        static = distill_tokens(teacher, onet.clean, tokenizer, seed=seed, dim=dim, progress=progress)
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


def train_token_encoder(
    postings: Titles, inputs: FitInputs, *, seed: int, what: str
) -> tuple[TokenVectors, SentenceEncoder, Path]:
    """Train token vectors together with the categories, on titles as posted and cleaned; also as an encoder, in a folder.

    What cleaning took away still tells, an employer above all: each posting counts half as posted and half cleaned.
    """
    begin = inputs.distilled or distill_encoder(inputs.onet, require_tokenizer(inputs.tokenizer), seed=seed)
    texts, labels, weights = collect_title_texts(postings, inputs)
    with progress_bar() as bar:
        learning = add_progress_line(bar, f"{what}: token vectors with categories")
        static = tune_tokens(begin, texts, labels, weights, len(inputs.categories), seed=seed, progress=learning)
    return static, *save_and_load(static, inputs)


def train_body_encoder(
    postings: Titles, inputs: FitInputs, tokens: TokenVectors, *, seed: int, what: str
) -> tuple[SentenceEncoder, Path]:
    """Train token vectors for bodies, from those for titles on, on the postings' bodies and O*NET's descriptions."""
    texts, labels, weights = collect_body_texts(postings, inputs)
    with progress_bar() as bar:
        progress = add_progress_line(bar, f"{what}: token vectors of bodies")
        classes, tuning = len(inputs.categories), {"seed": seed, "max_tokens": BODY_TOKENS, "batch": 64}
        static = tune_tokens(tokens, texts, labels, weights, classes, progress=progress, **tuning)
    return save_and_load(static, inputs, max_tokens=BODY_TOKENS)


def save_and_load(static: TokenVectors, inputs: FitInputs, *, max_tokens: int = 128) -> tuple[SentenceEncoder, Path]:
    """Return token vectors as serving will load them, and their folder."""
    folder = inputs.work / f"tokens-{len(list(inputs.work.iterdir()))}"
    try:
        save_encoder(static, folder)
    except (OSError, SafetensorError) as error:
        raise RegistryError(f"the temporary folder {inputs.work} cannot be written: {error}; TMPDIR names another") from error
    return load_encoder(str(folder), device=str(inputs.encoder.device), max_seq_length=max_tokens, called=STATIC_ID), folder


def finetune_encoder(
    postings: Titles, inputs: FitInputs, tuning: Finetuning | None, *, seed: int, what: str
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

    texts, rows = collect_finetuning_texts(postings, inputs)
    start = normalize(weighted_sums(rows, len(inputs.categories))[0], dim=1)
    name = hashlib.sha256(repr((texts, rows.labels.tolist(), seed, tuning.epochs)).encode()).hexdigest()[:16]
    with progress_bar() as bar:
        made = finetune(
            inputs.encoder_name,
            texts,
            rows.labels,
            rows.weights,
            start,
            folder=tuning.folder / name,
            seed=seed,
            epochs=tuning.epochs,
            device=str(inputs.encoder.device),
            max_seq_length=inputs.encoder.ref.max_seq_length,
            progress=add_progress_line(bar, f"{what}: fine-tuning"),
        )
    return load_encoder(str(made), device=str(inputs.encoder.device), called=f"{inputs.encoder_name}, fine-tuned"), made


def embed_titles(titles: Titles, encoder: Encoder) -> Titles:
    """Return the titles with the vectors that another encoder gives them."""
    vectors = TitleEmbeddings(encoder, titles.clean).look_up(titles.clean)
    return replace(titles, rows=replace(titles.rows, embeddings=vectors), encoder_sha256=encoder.ref.sha256)


def apply_encoder(encoder: Encoder, postings: Titles, inputs: FitInputs) -> tuple[Titles, FitInputs]:
    """Return everything as `encoder` sees it."""
    if encoder is inputs.encoder:
        return postings, inputs
    return embed_titles(postings, encoder), replace(
        inputs, encoder=encoder, onet=embed_titles(inputs.onet, encoder), distilled=None
    )


def require_tokenizer(tokenizer: Tokenizer | None) -> Tokenizer:
    """Return the tokenizer. Raises ValueError where the encoder has none to lend."""
    if tokenizer is None:
        raise ValueError("token vectors need an encoder with a tokenizer.json")
    return tokenizer
