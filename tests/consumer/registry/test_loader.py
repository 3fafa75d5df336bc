"""A scorer is made of a whole version with the very encoders it names, and leaves nothing behind when it is replaced."""

import shutil
import weakref
from pathlib import Path

import pytest

from consumer.errors import EncoderError
from consumer.model.serving_options import AS_TRAINED, Part, ServingOptions
from consumer.registry.folder import FolderRegistry
from consumer.registry.loader import ScorerLoader
from faults.tampering import sign
from tests.support.tiny_model import LetterEncoder, load_tiny_encoder, parts_with_body, publish, tensors_with_body

PARTS: tuple[Part, ...] = ("line", "exemplars", "body")


def test_a_version_of_every_part_is_loaded_with_parts_switched_off_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumer.registry.loader.load_encoder", load_tiny_encoder)
    publish(tmp_path, "v2", tensors=tensors_with_body(), **parts_with_body())
    for serving_options in (AS_TRAINED, ServingOptions(frozenset(PARTS), prior_adjustment=0.5)):
        loader = ScorerLoader(FolderRegistry(tmp_path), device="cpu", serving_options=serving_options)
        scorer = loader.load("v2")
        assert scorer.mixture.uses_line == scorer.mixture.uses_body == (serving_options == AS_TRAINED)
        assert bool(scorer.score(["Cook"])[0].evidence.nearest) == (serving_options == AS_TRAINED)


class Cyclic(LetterEncoder):
    """Refers to itself, as the modules of a real encoder do."""

    def __init__(self, sha256: str) -> None:
        super().__init__()
        self.ref = LetterEncoder.ref.model_copy(update={"sha256": sha256})
        self.itself = self


def test_of_versions_that_are_gone_at_most_one_keeps_its_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: weakref.WeakSet[Cyclic] = weakref.WeakSet()
    digests = iter(f"{number}" * 64 for number in range(1, 6))

    def load_encoder(*_args: object, **_options: object) -> Cyclic:
        made.add(encoder := Cyclic(next(digests)))
        return encoder

    monkeypatch.setattr("consumer.registry.loader.load_encoder", load_encoder)
    loader = ScorerLoader(FolderRegistry(tmp_path), device="cpu")
    for number in range(1, 6):
        publish(tmp_path, f"v{number}", encoder=LetterEncoder.ref.model_copy(update={"sha256": f"{number}" * 64}))
        serving = loader.load(f"v{number}")
    assert serving.version == "v5"
    assert len(made) <= 2, "the one that serves, and the one that served until it came"


def test_an_artifact_of_another_encoder_is_refused_by_the_weights_not_the_name(starter_registry: Path, tmp_path: Path) -> None:
    shutil.copytree(starter_registry, tmp_path / "registry")
    registry = FolderRegistry(tmp_path / "registry")
    version = registry.read_current() or ""
    manifest = registry.load(version).manifest
    sign(registry.root / "versions" / version, encoder={**manifest.encoder.model_dump(), "sha256": "ab" * 32})
    with pytest.raises(EncoderError, match="made with another encoder than 'sentence-transformers/all-MiniLM-L6-v2'"):
        ScorerLoader(registry, device="cpu").load(version)
