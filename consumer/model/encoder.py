"""Titles to unit vectors: the `Encoder` seam and its one implementation over sentence-transformers.

Nothing here knows what a posting is; `schemas.text` has made the text.
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
"""From so many rows on, a chunk ends where the next text is so much longer than its first: padding costs more than a call."""

UNPADDED_ROWS = 1_024
"""Of a chunk for a static model, which looks token vectors up: nothing is padded, and a call costs more than its rows."""


class Encoder(Protocol):
    """Turns texts into unit vectors. Safe to call from several threads, one at a time."""

    @property
    def ref(self) -> EncoderRef:
        """What an artifact stores to find this encoder again."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the vectors are."""
        ...

    @property
    def arithmetic(self) -> str:
        """The precision it computes in, e.g. `bfloat16`: vectors of two kinds are not quite the same."""
        ...

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """Return `(len(texts), dim)` float32 rows of length 1 on `device`, in the order of `texts`.

        A static model gives a row of zeros for a text of which it knows no token.

        A row depends on its batch neighbours (padding, kernels) by at most about 1e-3 per component in half precision,
        1e-6 in fp32.
        """
        ...


class SentenceEncoder:
    """A SentenceTransformer, fed in length order under a bound on padded characters."""

    def __init__(
        self,
        model: Any,  # noqa: ANN401 - SentenceTransformer carries no types
        ref: EncoderRef,
        *,
        precision: Precision = "auto",
        max_batch_chars: int = 65_536,
        pads: bool = True,
    ) -> None:
        """Wrap `model`; `pads` says whether a chunk costs as much as its longest text times its rows."""
        self._model = model
        self._ref = ref
        self._device = torch.device(model.device)
        self._dtype = _autocast_dtype(self._device, precision)
        self._max_batch_chars = max_batch_chars
        self._pads = pads
        self._preprocess = model.preprocess if pads else WordTokens(model[0].tokenizer, max_tokens=ref.max_seq_length)
        self._max_batch_rows = 64 if self._device.type == "cpu" else 1_024  # measured: more rows fall out of a CPU's caches
        self._lock = threading.Lock()  # a tokenizer's truncation state is shared; two callers would trip over it

    @property
    def ref(self) -> EncoderRef:
        """What an artifact stores to find this encoder again."""
        return self._ref

    @property
    def device(self) -> torch.device:
        """Where the vectors are."""
        return self._device

    @property
    def arithmetic(self) -> str:
        """The precision it computes in."""
        return str(self._dtype).removeprefix("torch.")

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """Return `(len(texts), dim)` float32 unit rows; see `Encoder.encode`."""
        out = torch.empty((len(texts), self._ref.dim), dtype=torch.float32, device=self._device)
        with self._lock, torch.inference_mode(), self._autocast():
            for rows in self._chunks(texts) if self._pads else _runs(len(texts)):
                features = self._preprocess([texts[row] for row in rows])
                features = {k: v.to(self._device) if isinstance(v, torch.Tensor) else v for k, v in features.items()}
                vectors = self._model(features)["sentence_embedding"]  # (rows, dim)
                out[list(rows)] = torch.nn.functional.normalize(vectors.float(), dim=1)
        return out

    def _chunks(self, texts: Sequence[str]) -> Iterator[list[int]]:
        """Yield row numbers, shortest texts first; rows x longest stays under `max_batch_chars`.

        Characters stand for word pieces, of which a text never has more, so that nothing is tokenised twice.
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

    `encoder_id` is the id that artifacts give it, where the folder's own name says nothing.

    Raises EncoderError when it cannot be found or loaded.
    """
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding  # noqa: PLC0415 - seconds to import

    folder = find_encoder(name)
    sha256 = weights_sha256(folder)
    model = load_model(folder, device)
    model.eval()
    module = model[0]
    try:
        length = min(max_seq_length, model.max_seq_length or max_seq_length)
        if isinstance(module, StaticEmbedding):
            # It has no limit of its own; set here, once, for a tokenizer must not change under another thread's hands.
            module.tokenizer.enable_truncation(length)
            precision = "fp32"  # a look-up gains nothing from half precision
            known = module.embedding.num_embeddings
        else:
            model.max_seq_length = length
            known = module.auto_model.get_input_embeddings().num_embeddings
        vocabulary = module.tokenizer.get_vocab()
    except AttributeError as error:
        raise EncoderError(f"{folder} does not begin with a model that takes text, as modules.json says: {error}") from error
    _check_vocabulary(folder, vocabulary, known)
    ref = EncoderRef(id=encoder_id or name, sha256=sha256, dim=model.get_embedding_dimension(), max_seq_length=length)
    encoder = SentenceEncoder(model, ref, precision=precision, pads=not isinstance(module, StaticEmbedding))
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
    except Exception as error:  # whatever three libraries raise for files that are not theirs
        raise EncoderError(f"{folder} cannot be loaded as a SentenceTransformer: {first_line(error)}") from error


def _check_vocabulary(folder: Path, vocabulary: Mapping[str, int], known: int) -> None:
    """Refuse a tokenizer that knows tokens without weights: a device that looks one up is broken from then on."""
    if max(vocabulary.values(), default=0) >= known:
        raise EncoderError(f"the tokenizer in {folder} does not belong to the weights, which know {known:,} tokens")


def _check_longest(folder: Path, encoder: SentenceEncoder) -> None:
    """Refuse an encoder that fails on a text as long as it is said to take."""
    try:
        vectors = encoder.encode(["a " * encoder.ref.max_seq_length])
    except Exception as error:
        length = encoder.ref.max_seq_length
        raise EncoderError(f"the encoder in {folder} fails on a text of {length} tokens: {first_line(error)}") from error
    if not bool(torch.isfinite(vectors).all()):
        raise EncoderError(f"the encoder in {folder} makes vectors of NaN or infinite numbers")


def _runs(texts: int) -> Iterator[range]:
    """Yield row numbers in order, `UNPADDED_ROWS` at a time."""
    return (range(start, min(start + UNPADDED_ROWS, texts)) for start in range(0, texts, UNPADDED_ROWS))


def resolve_device(device: str) -> str:
    """Return `cuda` or `cpu` for `auto`, else `device` itself. Raises EncoderError for a device that is not there."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise EncoderError(f"device {device!r} is asked for, but PyTorch sees no CUDA device; use 'auto' or 'cpu'")
    return device


def _autocast_dtype(device: torch.device, precision: Precision) -> torch.dtype:
    """Half precision where the hardware computes in it; elsewhere it would only be slower."""
    named = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    if precision != "auto":
        return named[precision]
    if device.type == "cuda":
        return torch.float16
    able = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return torch.bfloat16 if able.get("avx512_bf16") or able.get("amx_bf16") else torch.float32
