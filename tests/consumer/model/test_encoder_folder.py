"""An encoder is data alone: whatever its folder holds, no code of it runs, nothing outside is read, and nobody waits."""

import contextlib
import json
import os
import pickle
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, StaticEmbedding, Transformer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import BertConfig, BertModel, BertTokenizerFast  # type: ignore[attr-defined] # made when it is asked for

from consumer.errors import ArtifactError, EncoderError
from consumer.metrics import Metrics
from consumer.model import encoder_folder
from consumer.model.encoder import load_encoder
from consumer.model.encoder_folder import find_encoder, weights_sha256
from consumer.model.mixture import Tensors
from consumer.registry.folder import FolderRegistry
from consumer.registry.loader import ScorerLoader
from consumer.registry.reloader import Reloader
from faults.tampering import flip, point, sparse
from schemas.artifact import EncoderRef, GoldenTitle
from tests.support.tiny_model import CATEGORIES, manifest

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "registered", "nurses", "cooks", "restaurant", "heavy", "truck"]


@pytest.fixture(scope="session")
def transformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of one layer, pooling and a dense layer, saved as users save theirs; to be copied."""
    folder = tmp_path_factory.mktemp("encoders")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = BertConfig(vocab_size=len(WORDS), max_position_embeddings=64, **sizes)
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder / "bert")
    BertTokenizerFast(vocab_file=str(folder / "vocab.txt"), model_max_length=64).save_pretrained(folder / "bert")
    parts = [Transformer(str(folder / "bert")), Pooling(16), Dense(16, 8), Normalize()]
    SentenceTransformer(modules=parts, device="cpu").save_pretrained(str(folder / "whole"), create_model_card=False)
    return folder / "whole"


@pytest.fixture(scope="session")
def static(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A static encoder; to be copied."""
    folder = tmp_path_factory.mktemp("static")
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))  # noqa: S106
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    vectors = np.random.default_rng(0).normal(size=(len(WORDS), 8)).astype(np.float32)
    module = StaticEmbedding(tokenizer, embedding_weights=vectors)
    SentenceTransformer(modules=[module], device="cpu").save_pretrained(str(folder), create_model_card=False)
    return folder


@pytest.fixture(params=["transformer", "static"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of either encoder."""
    return Path(shutil.copytree(request.getfixturevalue(request.param), tmp_path / "encoder"))


@pytest.fixture
def bert(transformer: Path, tmp_path: Path) -> Path:
    """A copy of the transformer."""
    return Path(shutil.copytree(transformer, tmp_path / "encoder"))


def edit(path: Path, **changes: Any) -> None:
    """Change fields of a JSON object; None removes one."""
    fields = {**(json.loads(path.read_text()) if path.exists() else {}), **changes}
    path.write_text(json.dumps({name: value for name, value in fields.items() if value is not None}))


def module(number: int, **changes: str) -> Callable[[Path], object]:
    """Change one entry of modules.json."""

    def damage(folder: Path) -> None:
        modules = json.loads((folder / "modules.json").read_text())
        modules[number] |= changes
        (folder / "modules.json").write_text(json.dumps(modules))

    return damage


def reordered(*numbers: int) -> Callable[[Path], object]:
    """Keep these entries of modules.json, in this order."""

    def damage(folder: Path) -> None:
        modules = json.loads((folder / "modules.json").read_text())
        (folder / "modules.json").write_text(json.dumps([modules[number] for number in numbers]))

    return damage


def pickled(marker: Path) -> bytes:
    """A pickle that makes a folder when it is loaded."""

    class Payload:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
            return os.mkdir, (str(marker),)

    return pickle.dumps(Payload())


def code(marker: Path) -> str:
    """A module that makes a folder when it is imported."""
    return f"import os\nos.mkdir({str(marker)!r})\nclass Mine: pass\n"


def test_the_encoders_that_are_attacked_here_are_good_ones(folder: Path) -> None:
    encoder = load_encoder(str(folder), device="cpu", precision="fp32")
    rows = encoder.encode(["registered nurses", "cooks"])
    assert torch.allclose(rows.norm(dim=1), torch.ones(2), atol=1e-5)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "a.pt", "1_Pooling/x.pkl", "a.pth", "a.ckpt", "a.pickle", "a.joblib"])
def test_a_pickle_is_refused_where_no_weights_go_before_it_and_is_never_loaded(name: str, bert: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    (bert / name).write_bytes(pickled(marker))
    if "/" not in name:
        (bert / "model.safetensors").rename(bert / "other.safetensors")
    with pytest.raises(EncoderError, match=f"{name} may be a pickle.*remove it"):
        load_encoder(str(bert), device="cpu")
    assert not marker.exists()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "training_args.bin"])
def test_a_pickle_beside_the_weights_is_never_loaded(name: str, bert: Path, tmp_path: Path) -> None:
    (bert / name).write_bytes(pickled(tmp_path / "ran"))
    assert load_encoder(str(bert), device="cpu", precision="fp32").encode(["cooks"]).norm() == pytest.approx(1, abs=1e-5)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "kind",
    [
        "evil.Mine",
        "modeling_evil.Mine",
        "os.system",
        "sentence_transformers",
        "sentence_transformers.evil.Mine",
        "sentence_transformers.base.model.pickle",
        "sentence_transformers.base.model.torch",
        "sentence_transformers.base.modules.Router",
        "sentence_transformers.models.Transformer.x",
        "xsentence_transformers.models.Transformer",
        "sentence_transformers.models.NotTransformer",
        "",
    ],
)
def test_a_module_that_is_no_reader_of_data_is_refused_and_never_imported(kind: str, folder: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    for name in ("evil.py", "modeling_evil.py"):
        (folder / name).write_text(code(marker))
    module(0, type=kind)(folder)
    with pytest.raises(EncoderError, match=r"modules\.json names the module"):
        load_encoder(str(folder), device="cpu")
    assert not marker.exists()


@pytest.mark.parametrize("known", [True, False])
def test_code_that_a_config_names_is_never_run(known: bool, bert: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    (bert / "evil.py").write_text(code(marker))
    edit(
        bert / "config.json",
        auto_map={"AutoConfig": "evil.Mine", "AutoModel": "evil.Mine"},
        **({} if known else {"model_type": "evil"}),
    )
    edit(bert / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Mine", "evil.Mine"]})
    try:
        load_encoder(str(bert), device="cpu")
        loaded = True
    except EncoderError:
        loaded = False
    assert not marker.exists()
    assert loaded or not known, "what transformers itself knows is loaded with its own code"


SHARDS, BESIDE = "model.safetensors.index.json", "which is no .safetensors file beside it"
LOADING, TORCH = "sets how the encoder is loaded", "only those of torch.nn"
WEIGHTS = "model.safetensors"


def edited(name: str, **changes: Any) -> Callable[[Path], object]:
    return lambda folder: edit(folder / name, **changes)


def written(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text)


def instead(name: str, make: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda folder: ((folder / name).unlink(), make(folder / name))


def not_a_number(folder: Path) -> None:
    weights = {name: tensor * float("nan") for name, tensor in load_file(folder / WEIGHTS).items()}
    save_file(weights, folder / WEIGHTS, {"format": "pt"})


def token_beyond(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["van"] = len(WORDS)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


ATTACKS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "modules lead out": ("out of its folder", module(0, path="../other")),
    "modules lead to the root": ("out of its folder", module(0, path="/etc")),
    "modules are no JSON": ("is no JSON", written("modules.json", "[")),
    "modules are too deep": ("is no JSON", written("modules.json", "[" * 200_000)),
    "modules are no list": ("is no list of modules", written("modules.json", "{}")),
    "modules in reverse": ("does not begin with a model that takes text", reordered(3, 2, 1, 0)),
    "modules without a model": ("does not begin with a model that takes text", reordered(1)),
    "modules are numbers": ("names the module", written("modules.json", "[1]")),
    "an activation of another library": (TORCH, edited("2_Dense/config.json", activation_function="os.abort")),
    "an activation that is a function": (TORCH, edited("2_Dense/config.json", activation_function="torch.hub.load")),
    "trust in remote code": (LOADING, edited("sentence_bert_config.json", model_args={"trust_remote_code": True})),
    "attention from the hub": (LOADING, edited("sentence_bert_config.json", model_kwargs={"attn_implementation": "evil/kernel"})),
    "options that are no object": (LOADING, edited("sentence_bert_config.json", config_args=["x"])),
    "an adapter": ("makes other weights part", edited("adapter_config.json", base_model_name_or_path="../other")),
    "an index of weights elsewhere": (BESIDE, edited(SHARDS, weight_map={"x": "../../model.safetensors"})),
    "an index of pickles": (BESIDE, edited(SHARDS, weight_map={"x": "pytorch_model.bin"})),
    "an index of nothing": ("is no index of weights", edited(SHARDS, weight_map=None)),
    "weights that are a pipe": ("is no regular file", instead(WEIGHTS, os.mkfifo)),
    "a config that is a pipe": ("is no regular file", instead("config.json", os.mkfifo)),
    "a config that is a device": ("is no regular file", instead("config.json", lambda path: path.symlink_to("/dev/zero"))),
    "a folder that is a link": ("is no regular file", lambda folder: (folder / "3_More").symlink_to("/etc")),
    "a link to nothing": ("cannot be read", lambda folder: (folder / "x").symlink_to("nowhere")),
    "huge weights": ("more than", lambda folder: sparse(encoder_folder.MAX_FILE_BYTES + 1)(folder / "more.safetensors")),
    "more files than an encoder has": ("more than 1000", lambda folder: [(folder / f"{n}.txt").touch() for n in range(1_001)]),
    "no weights": ("holds no .safetensors", lambda folder: [path.unlink() for path in folder.rglob("*.safetensors")]),
    "weights that are a pickle": ("cannot be loaded", lambda folder: (folder / WEIGHTS).write_bytes(pickle.dumps({}))),
    "weights cut short": ("cannot be loaded", lambda folder: os.truncate(folder / WEIGHTS, 1_000)),
    "weights of other sizes": ("", edited("config.json", hidden_size=32)),
    "weights of NaN": ("NaN or infinite", not_a_number),
    "a tokenizer of other weights": ("does not belong to the weights", token_beyond),
    "a tokenizer that is none": ("cannot be loaded", written("tokenizer.json", "{")),
    "longer texts than it takes": ("fails on a text of", edited("sentence_bert_config.json", max_seq_length=10_000)),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attacked_encoder_is_refused_for_what_was_done_to_it(attack: str, bert: Path) -> None:
    said, damage = ATTACKS[attack]
    damage(bert)
    with pytest.raises(EncoderError) as refused:
        load_encoder(str(bert), device="cpu", max_seq_length=10_000)
    assert said in str(refused.value)
    assert refused.value.reason == "encoder"


def test_links_as_the_hub_keeps_its_files_are_followed(bert: Path, tmp_path: Path) -> None:
    for name in ("model.safetensors", "modules.json"):
        (bert / name).rename(tmp_path / name)
        (bert / name).symlink_to(tmp_path / name)
    assert find_encoder(str(bert)) == bert
    load_encoder(str(bert), device="cpu")


@pytest.mark.parametrize("name", ["modules.json", "config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"])
def test_a_turned_bit_never_raises_anything_but_a_refusal(name: str, bert: Path) -> None:
    whole = (bert / name).read_bytes()
    for bit in random.Random(name).sample(range(min(len(whole), 4_000) * 8), 25):
        flip(bert / name, bit)
        with contextlib.suppress(EncoderError):
            load_encoder(str(bert), device="cpu").encode(["registered nurses"])
        (bert / name).write_bytes(whole)


def published(root: Path, source: Path, version: str) -> EncoderRef:
    """Publish a version whose encoder the registry keeps; returns the encoder's ref."""
    registry, encoder = FolderRegistry(root), load_encoder(str(source), device="cpu")
    registry.add_encoder(source)
    rows = encoder.encode([c.onet_title for c in CATEGORIES])
    golden = tuple(GoldenTitle(title=c.onet_title, onet_code=c.onet_code, score=1) for c in CATEGORIES[:2])
    registry.publish(manifest(version, encoder=encoder.ref, golden=golden), Tensors(CATEGORIES, rows))
    return encoder.ref


def evil_link(kept: Path) -> None:
    kept.rename(kept.parents[1].with_name("elsewhere"))
    kept.symlink_to(kept.parents[1].with_name("elsewhere"))


def linked_weights(kept: Path) -> None:
    (kept / "model.safetensors").rename(kept / "real.safetensors")
    (kept / "model.safetensors").symlink_to("real.safetensors")


def in_place_of_weights(kept: Path) -> None:
    (kept / "model.safetensors").unlink()
    (kept / "pytorch_model.bin").write_bytes(pickled(kept.parents[1] / "ran"))


@pytest.mark.parametrize(
    ("reason", "damage"),
    [
        ("encoder", in_place_of_weights),
        ("encoder", lambda kept: flip(kept / "model.safetensors", 8 * 300)),
        ("encoder", lambda kept: os.truncate(kept / "model.safetensors", 100)),
        ("encoder", module(0, type="evil.Mine")),
        ("encoder", lambda kept: ((kept / "tokenizer.json").unlink(), os.mkfifo(kept / "tokenizer.json"))),
        ("path", evil_link),
        ("path", linked_weights),
    ],
    ids=["pickle", "one bit", "cut short", "code", "pipe", "a link out", "a link inside"],
)
def test_an_attacked_encoder_in_the_registry_keeps_the_old_model_serving(
    reason: str, damage: Callable[[Path], object], static: Path, tmp_path: Path
) -> None:
    root = tmp_path / "registry"
    ref = published(root, static, "v2")
    kept = root / "encoders" / ref.sha256
    saved = shutil.copytree(kept, tmp_path / "saved")
    damage(kept)
    point(root, "v2")
    metrics = Metrics()
    reloader = Reloader(ScorerLoader(FolderRegistry(root), device="cpu"), serving="v1", metrics=metrics)
    reloader.look()
    assert reloader.take() is None
    labels = {"outcome": "refused", "reason": reason}
    assert metrics.registry.get_sample_value("occustream_reloads_total", labels) == 1
    assert not (root / "ran").exists()
    kept.unlink() if kept.is_symlink() else shutil.rmtree(kept)
    shutil.copytree(saved, kept)
    FolderRegistry(root).promote("v2")
    registry = FolderRegistry(root)
    assert ScorerLoader(registry, device="cpu").load("v2").version == "v2", "mended, it is taken up"


def test_a_folder_named_after_other_weights_is_refused(static: Path, transformer: Path, tmp_path: Path) -> None:
    root = tmp_path / "registry"
    ref = published(root, static, "v2")
    shutil.rmtree(root / "encoders" / ref.sha256)
    shutil.copytree(transformer, root / "encoders" / ref.sha256)
    with pytest.raises((EncoderError, ArtifactError), match="made with another encoder"):
        ScorerLoader(FolderRegistry(root), device="cpu").load("v2")
    assert weights_sha256(transformer) != ref.sha256
