"""Turns texts into unit vectors: the `Encoder` protocol, and its implementation with sentence-transformers.

Nothing here knows what a posting is: `schemas.text` makes the texts.
"""

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from consumer.errors import EncoderError
from consumer.model.encoder_folder import DEFAULT_ENCODER, find_encoder, first_line, weights_sha256
from consumer.model.serving_options import Precision
from consumer.model.word_tokens import WordTokens
from schemas.artifact import EncoderRef

MIN_ROWS, MAX_GROWTH = 12, 1.4
"""A chunk of at least MIN_ROWS texts ends before one MAX_GROWTH times as long as its first: padding costs more than a call."""

UNPADDED_ROWS = 1_024
"""Texts in a chunk for a static model. It looks token vectors up without padding, so a call costs more than its rows."""


class Encoder(Protocol):
    """Turns texts into unit vectors. Safe to call from several threads, one at a time."""

    @property
    def ref(self) -> EncoderRef:
        """The reference by which an artifact finds this encoder again."""
        ...

    @property
    def device(self) -> torch.device:
        """The device on which the vectors are."""
        ...

    @property
    def arithmetic(self) -> str:
        """The precision that it computes in, e.g. `bfloat16`. Two precisions give slightly different vectors."""
        ...

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """Return `(len(texts), dim)` float32 rows of length 1 on `device`, in the order of `texts`.

        A static model returns a row of zeros for a text without a token that it knows.

        The other texts of a batch change a row slightly (padding, kernels): a component by at most about 1e-3 in half precision,
        and by 1e-6 in fp32.
        """
        ...


class SentenceEncoder:
    """A SentenceTransformer that is fed texts in the order of their length, with a limit on padded characters per call."""

    def __init__(
        self,
        model: Any,  # noqa: ANN401 - SentenceTransformer carries no types
        ref: EncoderRef,
        *,
        precision: Precision = "auto",
        max_batch_chars: int = 65_536,
        pads: bool = True,
    ) -> None:
        """Wrap `model`. `pads` says whether it pads texts, so that a chunk costs as much as its longest text times its rows."""
        self._model = model
        self._ref = ref
        self._device = torch.device(model.device)
        self._dtype = _choose_dtype(self._device, precision)
        self._max_batch_chars = max_batch_chars
        self._pads = pads
        self._preprocess = model.preprocess if pads else WordTokens(model[0].tokenizer, max_tokens=ref.max_seq_length)
        self._max_batch_rows = 64 if self._device.type == "cpu" else 1_024  # measured: a CPU's caches hold no more
        self._lock = threading.Lock()  # two callers would change the tokenizer's one truncation state for each other

    @property
    def ref(self) -> EncoderRef:
        """The reference by which an artifact finds this encoder again."""
        return self._ref

    @property
    def device(self) -> torch.device:
        """The device on which the vectors are."""
        return self._device

    @property
    def arithmetic(self) -> str:
        """The precision that it computes in."""
        return str(self._dtype).removeprefix("torch.")

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """Return `(len(texts), dim)` float32 unit rows; see `Encoder.encode`."""
        out = torch.empty((len(texts), self._ref.dim), dtype=torch.float32, device=self._device)
        with self._lock, torch.inference_mode(), self._autocast():
            for rows in self._split_by_length(texts) if self._pads else _split_evenly(len(texts)):
                features = self._preprocess([texts[row] for row in rows])
                features = {k: v.to(self._device) if isinstance(v, torch.Tensor) else v for k, v in features.items()}
                vectors = self._model(features)["sentence_embedding"]  # (rows, dim)
                out[list(rows)] = torch.nn.functional.normalize(vectors.float(), dim=1)
        return out

    def _split_by_length(self, texts: Sequence[str]) -> Iterator[list[int]]:
        """Yield row numbers, shortest texts first, in chunks whose rows times longest text stay under `max_batch_chars`.

        Characters are counted instead of word pieces, so that no text is tokenised twice: a text never has more word pieces.
        """
        longest = self._ref.max_seq_length
        rows: list[int] = []
        for row in sorted(range(len(texts)), key=lambda i: len(texts[i])):
            width = min(len(texts[row]) + 2, longest)
            full = len(rows) >= self._max_batch_rows or (len(rows) + 1) * width > self._max_batch_chars
            if rows and (full or (len(rows) >= MIN_ROWS and len(texts[row]) > MAX_GROWTH * len(texts[rows[0]]))):
                yield rows
                rows = []
            rows.append(row)
        if rows:
            yield rows

    def _autocast(self) -> contextlib.AbstractContextManager[None]:
        if self._dtype is torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self._device.type, dtype=self._dtype)


def load_encoder(
    name: str = DEFAULT_ENCODER,
    *,
    device: str = "auto",
    max_seq_length: int = 128,
    precision: Precision = "auto",
    encoder_id: str | None = None,
) -> SentenceEncoder:
    """Load the SentenceTransformer `name`: a folder, the packaged MiniLM, or a hub name, looked for in that order.

    `encoder_id` is the id that artifacts store for it, if `name` means nothing to a reader. Raises EncoderError if the encoder
    cannot be found or loaded, or fails on the longest text that it is said to take.
    """
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding  # noqa: PLC0415 - seconds to import

    folder = find_encoder(name)
    sha256 = weights_sha256(folder)
    model = load_model(folder, device)
    model.eval()
    is_static = isinstance(model[0], StaticEmbedding)
    try:
        length = _limit_length(model, max_seq_length, is_static=is_static)
        embeddings = model[0].embedding if is_static else model[0].auto_model.get_input_embeddings()
        vocabulary, known = model[0].tokenizer.get_vocab(), embeddings.num_embeddings
    except AttributeError as error:
        raise EncoderError(f"{folder} does not begin with a model that takes text, as modules.json says: {error}") from error
    _check_vocabulary(folder, vocabulary, known)
    ref = EncoderRef(id=encoder_id or name, sha256=sha256, dim=model.get_embedding_dimension(), max_seq_length=length)
    # Looking vectors up gains nothing from half precision.
    encoder = SentenceEncoder(model, ref, precision="fp32" if is_static else precision, pads=not is_static)
    _check_longest(folder, encoder)
    return encoder


def load_model(folder: Path, device: str) -> Any:  # noqa: ANN401 - SentenceTransformer carries no types
    """Return the SentenceTransformer of a folder that `find_encoder` gave. Raises EncoderError."""
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - seconds to import; --help need not pay
    from transformers.utils import logging as transformers_logging  # noqa: PLC0415

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    place = resolve_device(device)
    try:
        return SentenceTransformer(
            str(folder),
            device=place,
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
        )
    except Exception as error:  # three libraries raise anything for files that they did not write
        raise EncoderError(f"{folder} cannot be loaded as a SentenceTransformer: {first_line(error)}") from error


def _limit_length(model: Any, max_tokens: int, *, is_static: bool) -> int:  # noqa: ANN401 - SentenceTransformer carries no types
    """Let a model read at most `max_tokens` of a text, or fewer if it cannot read so many; returns how many it reads."""
    length = min(max_tokens, model.max_seq_length or max_tokens)
    if is_static:
        # It has no limit of its own. The limit is set once, here: a tokenizer must not change while another thread uses it.
        model[0].tokenizer.enable_truncation(length)
    else:
        model.max_seq_length = length
    return int(length)


def _check_vocabulary(folder: Path, vocabulary: Mapping[str, int], known: int) -> None:
    """Refuse a tokenizer with tokens that have no weights: a CUDA device that looks one up cannot be used any more."""
    if max(vocabulary.values(), default=0) >= known:
        raise EncoderError(f"the tokenizer in {folder} does not belong to the weights, which know {known:,} tokens")


def _check_longest(folder: Path, encoder: SentenceEncoder) -> None:
    """Refuse an encoder that fails on the longest text that it is said to take."""
    try:
        vectors = encoder.encode(["a " * encoder.ref.max_seq_length])
    except Exception as error:
        length = encoder.ref.max_seq_length
        raise EncoderError(f"the encoder in {folder} fails on a text of {length} tokens: {first_line(error)}") from error
    if not bool(torch.isfinite(vectors).all()):
        raise EncoderError(f"the encoder in {folder} makes vectors of NaN or infinite numbers")


def _split_evenly(texts: int) -> Iterator[range]:
    """Yield the row numbers of so many texts in order, `UNPADDED_ROWS` at a time."""
    return (range(start, min(start + UNPADDED_ROWS, texts)) for start in range(0, texts, UNPADDED_ROWS))


def resolve_device(device: str) -> str:
    """Return `cuda` or `cpu` for `auto`, else `device` itself. Raises EncoderError for a CUDA device that is not there."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise EncoderError(f"device {device!r} is asked for, but PyTorch sees no CUDA device; use 'auto' or 'cpu'")
    return device


def _choose_dtype(device: torch.device, precision: Precision) -> torch.dtype:
    """Return the type that `precision` names. `auto` is half precision only where the hardware computes in it faster."""
    named = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    if precision != "auto":
        return named[precision]
    if device.type == "cuda":
        return torch.float16
    able = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return torch.bfloat16 if able.get("avx512_bf16") or able.get("amx_bf16") else torch.float32
