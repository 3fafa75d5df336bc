"""Unit vectors that depend on the text alone, from weights that are known, or one clear reason why not."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from consumer.errors import EncoderError
from consumer.model.encoder import SentenceEncoder, load_encoder, resolve_device
from consumer.model.encoder_folder import DEFAULT_ENCODER, DEFAULT_ENCODER_SHA256, file_sha256, find_encoder, weights_sha256
from schemas.artifact import EncoderRef
from tests.support import tiny_model as _  # noqa: F401 - sets the pace of hypothesis

TITLES = ["Registered Nurse", "Cook", "", "Heavy and Tractor-Trailer Truck Driver - Home Daily!", "護士", "x" * 5_000, "Cook"]


def test_rows_have_length_one_in_the_order_of_the_texts(encoder: SentenceEncoder) -> None:
    rows = encoder.encode(TITLES)
    assert rows.shape == (len(TITLES), 384)
    assert torch.allclose(rows.norm(dim=1), torch.ones(len(TITLES)), atol=1e-5)
    assert torch.allclose(rows[1], rows[6], atol=1e-6)
    alone = torch.cat([encoder.encode([title]) for title in TITLES])
    assert torch.allclose(rows, alone, atol=1e-5), "a row depends on its batch neighbours"


def test_vectors_are_those_of_sentence_transformers(encoder: SentenceEncoder) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(find_encoder(DEFAULT_ENCODER)), device="cpu", local_files_only=True)
    model.max_seq_length = 128
    expected = model.encode(TITLES, convert_to_tensor=True, normalize_embeddings=True)
    assert torch.allclose(encoder.encode(TITLES), expected.clone(), atol=1e-5)


def test_the_packaged_weights_are_the_published_ones(encoder: SentenceEncoder) -> None:
    assert encoder.ref == EncoderRef(id=DEFAULT_ENCODER, sha256=DEFAULT_ENCODER_SHA256, dim=384, max_seq_length=128)


class RecordingModel:
    """Stands where the SentenceTransformer does; keeps the texts of every forward pass."""

    device = "cpu"

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def preprocess(self, texts: list[str]) -> dict[str, Any]:
        self.batches.append(texts)
        return {"length": torch.tensor([[float(len(text)), 1.0] for text in texts])}

    def __call__(self, features: dict[str, Any]) -> dict[str, torch.Tensor]:
        return {"sentence_embedding": features["length"]}


@given(st.lists(st.integers(0, 300), max_size=200), st.integers(1, 2_000))
def test_a_forward_pass_stays_within_its_padded_budget(lengths: list[int], budget: int) -> None:
    model, texts = RecordingModel(), ["x" * length for length in lengths]
    ref = EncoderRef(id="r", sha256="", dim=2, max_seq_length=128)
    rows = SentenceEncoder(model, ref, precision="fp32", max_batch_chars=budget).encode(texts)
    for batch in model.batches:
        padded = len(batch) * min(max(map(len, batch)) + 2, 128)
        assert len(batch) == 1 or (padded <= budget and len(batch) <= 64)
    assert [round(float(x / y)) for x, y in rows] == lengths, "every text exactly once, in its own row"


def weights(path: Path, value: float = 1.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"w": torch.tensor([value])}, path)
    return path


def test_one_weights_file_is_known_by_its_digest_and_several_by_names_and_digests(tmp_path: Path) -> None:
    one = weights(tmp_path / "model.safetensors")
    assert weights_sha256(tmp_path) == file_sha256(one)
    weights(tmp_path / "2_Dense" / "model.safetensors", 2.0)
    both = weights_sha256(tmp_path)
    weights(tmp_path / "2_Dense" / "model.safetensors", 3.0)
    assert len({file_sha256(one), both, weights_sha256(tmp_path)}) == 3


def test_a_folder_without_safetensors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(EncoderError, match=r"holds no \.safetensors weights"):
        load_encoder(str(tmp_path))


def test_a_folder_that_is_no_sentence_transformer_is_refused(tmp_path: Path) -> None:
    weights(tmp_path / "model.safetensors")
    with pytest.raises(EncoderError, match="cannot be loaded as a SentenceTransformer"):
        load_encoder(str(tmp_path), device="cpu")


def test_an_encoder_that_is_nowhere_is_refused_naming_the_ways() -> None:
    with pytest.raises(
        EncoderError, match=r"'no such/en coder' is no folder and the hub does not give it.*give the path of a folder"
    ):
        find_encoder("no such/en coder")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_device_that_is_not_there_is_refused_and_auto_is_what_is_there() -> None:
    assert (resolve_device("auto"), resolve_device("cpu")) == ("cpu", "cpu")
    with pytest.raises(EncoderError, match="PyTorch sees no CUDA device; use 'auto' or 'cpu'"):
        resolve_device("cuda:1")


def test_a_static_embedding_is_an_encoder_too(tmp_path: Path) -> None:
    import numpy as np
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "Cook": 1, "Nurse": 2}, unk_token="[UNK]"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    static = StaticEmbedding(tokenizer, embedding_weights=np.eye(3, dtype=np.float32))
    SentenceTransformer(modules=[static], device="cpu").save_pretrained(str(tmp_path), create_model_card=False)
    rows = load_encoder(str(tmp_path), device="cpu", precision="fp32").encode(["Cook", "Nurse"])
    assert torch.equal(rows, torch.eye(3)[1:])
