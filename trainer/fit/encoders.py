"""The encoders of a model, and the training of those that a fit makes on its own rows: token vectors, fine-tuned transformers."""

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
"""Tokens of a body that are looked at, in training and in serving."""
STATIC_ID = "token vectors of this version"
"""The id of a token-vector encoder in a manifest; the registry stores the encoder under its sha256."""


@dataclass(frozen=True, slots=True)
class Encoders:
    """The encoders of a model: of cleaned titles, of lines (titles as posted), and of bodies.

    `folders` hold the encoders that were made for this model; they are published with it.
    """

    title: Encoder
    line: SentenceEncoder | None = None
    body: SentenceEncoder | None = None
    folders: tuple[Path, ...] = ()


def distill_encoder(onet: Titles, tokenizer: Tokenizer, *, seed: int, cache: Path | None = None) -> TokenVectors:
    """Distil the encoder that embedded `onet` into token vectors, on O*NET's titles; a later run finds them in `cache`.

    All fits of a run start from the same token vectors, because no posting has a part in them. Measured, O*NET's titles also
    make a better start than the postings' titles. Raises RegistryError if the cache cannot be written.
    """
    teacher = onet.rows.embeddings
    dim = min(TOKEN_DIM, teacher.shape[1])
    identity = repr((onet.encoder_sha256, onet.clean, tokenizer.to_str(), seed, dim))
    path = cache / f"tokens-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.safetensors" if cache else None
    if path is not None and (vectors := _read_vectors(path, (tokenizer.get_vocab_size(), dim))) is not None:
        return TokenVectors(vectors, tokenizer)
    with progress_bar() as bar:
        progress = add_progress_line(bar, "distilling token vectors")
        token_vectors = distill_tokens(teacher, onet.clean, tokenizer, seed=seed, dim=dim, progress=progress)
    if path is not None:
        _write_vectors(path, token_vectors.vectors)
    return token_vectors


def _read_vectors(path: Path, shape: tuple[int, int]) -> torch.Tensor | None:
    """Return the vectors in a file; None if it is missing or damaged, so that they are computed again."""
    try:
        vectors = load_file(path)["vectors"]
    except (OSError, SafetensorError, KeyError):
        return None
    return vectors if tuple(vectors.shape) == shape else None


def _write_vectors(path: Path, vectors: torch.Tensor) -> None:
    try:
        with replace_file(path) as staged:
            save_file({"vectors": vectors}, staged)
    except (OSError, SafetensorError) as error:
        raise RegistryError(f"the cache {path.parent} cannot be written: {error}; make room, or name another folder") from error


def train_token_encoder(
    titles: Titles, inputs: FitInputs, *, seed: int, caption: str
) -> tuple[TokenVectors, SentenceEncoder, Path]:
    """Train token vectors together with the categories; returns them, the encoder that serves them, and its folder.

    They learn from titles as posted, too: what cleaning removes, an employer above all, still says something of the job.
    """
    start = inputs.token_vectors or distill_encoder(inputs.onet, require_tokenizer(inputs.tokenizer), seed=seed)
    texts, labels, weights = collect_title_texts(titles, inputs)
    with progress_bar() as bar:
        progress = add_progress_line(bar, f"{caption}: token vectors with categories")
        token_vectors = tune_tokens(start, texts, labels, weights, len(inputs.categories), seed=seed, progress=progress)
    return token_vectors, *save_and_load(token_vectors, inputs)


def train_body_encoder(
    titles: Titles, inputs: FitInputs, start: TokenVectors, *, seed: int, caption: str
) -> tuple[SentenceEncoder, Path]:
    """Train token vectors for bodies on bodies and O*NET's descriptions; returns their encoder and its folder.

    `start` are the token vectors for titles.
    """
    texts, labels, weights = collect_body_texts(titles, inputs)
    with progress_bar() as bar:
        progress = add_progress_line(bar, f"{caption}: token vectors of bodies")
        count, tuning = len(inputs.categories), {"seed": seed, "max_tokens": BODY_TOKENS, "batch": 64}
        token_vectors = tune_tokens(start, texts, labels, weights, count, progress=progress, **tuning)
    return save_and_load(token_vectors, inputs, max_tokens=BODY_TOKENS)


def save_and_load(token_vectors: TokenVectors, inputs: FitInputs, *, max_tokens: int = 128) -> tuple[SentenceEncoder, Path]:
    """Save token vectors to a new folder; returns the encoder as serving will load it, and the folder."""
    folder = inputs.work / f"tokens-{len(list(inputs.work.iterdir()))}"
    try:
        save_encoder(token_vectors, folder)
    except (OSError, SafetensorError) as error:
        raise RegistryError(f"the temporary folder {inputs.work} cannot be written: {error}; TMPDIR names another") from error
    return load_encoder(str(folder), device=str(inputs.encoder.device), max_seq_length=max_tokens, encoder_id=STATIC_ID), folder


def finetune_encoder(
    titles: Titles, inputs: FitInputs, tuning: Finetuning | None, *, seed: int, caption: str
) -> tuple[SentenceEncoder, Path]:
    """Fine-tune the encoder on titles of postings and of O*NET; an interrupted run is resumed. Returns it and its folder.

    Each set of rows has a subfolder of its own, so that a fit without held-out rows never gets an encoder that saw them.
    Raises ConfigError if packages are missing, ValueError without a folder to work in.
    """
    if tuning is None:
        raise ValueError("fine-tuning needs a folder to work in")
    try:
        from trainer.fit.finetune import finetune  # noqa: PLC0415 - an optional extra that takes seconds to import
    except ImportError as error:
        raise ConfigError(f"fine-tuning needs more packages: pip install 'occustream[finetune]' ({error})") from error

    texts, rows = collect_finetuning_texts(titles, inputs)
    start = normalize(weighted_sums(rows, len(inputs.categories))[0], dim=1)
    name = hashlib.sha256(repr((texts, rows.labels.tolist(), seed, tuning.epochs)).encode()).hexdigest()[:16]
    with progress_bar() as bar:
        folder = finetune(
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
            progress=add_progress_line(bar, f"{caption}: fine-tuning"),
        )
    return load_encoder(str(folder), device=str(inputs.encoder.device), encoder_id=f"{inputs.encoder_name}, fine-tuned"), folder


def embed_titles(titles: Titles, encoder: Encoder) -> Titles:
    """Return the titles with the vectors that another encoder gives them."""
    vectors = TitleEmbeddings(encoder, titles.clean).look_up(titles.clean)
    return replace(titles, rows=replace(titles.rows, embeddings=vectors), encoder_sha256=encoder.ref.sha256)


def apply_encoder(encoder: Encoder, titles: Titles, inputs: FitInputs) -> tuple[Titles, FitInputs]:
    """Return titles and inputs with the vectors that `encoder` gives them; unchanged if it is the encoder of the inputs."""
    if encoder is inputs.encoder:
        return titles, inputs
    onet = embed_titles(inputs.onet, encoder)
    return embed_titles(titles, encoder), replace(inputs, encoder=encoder, onet=onet, token_vectors=None)


def require_tokenizer(tokenizer: Tokenizer | None) -> Tokenizer:
    """Return the tokenizer. Raises ValueError for None: the encoder has no fast tokenizer."""
    if tokenizer is None:
        raise ValueError("token vectors need an encoder with a tokenizer.json")
    return tokenizer
