"""A version is there whole or not at all, never changes, and the pointer moves in one step."""

import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from consumer.errors import ArtifactError, RegistryError
from consumer.model.encoder_folder import weights_sha256
from consumer.registry.folder import FolderRegistry
from schemas.artifact import Category
from tests.support.tiny_model import CATEGORIES, TENSORS, all_parts, all_tensors, manifest, publish


def test_what_is_published_is_what_is_loaded(tmp_path: Path) -> None:
    tensors = all_tensors()
    published = FolderRegistry(tmp_path).publish(manifest("v1", **all_parts()), tensors)
    artifact = FolderRegistry(tmp_path).load("v1")
    assert (artifact.manifest, artifact.tensors.categories, artifact.tensors.titles) == (published, CATEGORIES, tensors.titles)
    for name in ("title", "line", "exemplars"):
        assert torch.equal(getattr(artifact.tensors, name), getattr(tensors, name))


def test_publishing_alone_puts_nothing_in_service(tmp_path: Path) -> None:
    publish(tmp_path, "v1")
    publish(tmp_path, "v2", promote=False)
    assert FolderRegistry(tmp_path).read_current() == "v1"
    assert [m.version for m in FolderRegistry(tmp_path).list_versions()] == ["v1", "v2"]


def test_a_publish_that_fails_halfway_leaves_no_trace(tmp_path: Path) -> None:
    unwritable = (Category.model_construct(onet_code="29-1141.00", onet_title="\ud800"), *CATEGORIES[1:])
    with pytest.raises(UnicodeEncodeError):  # by then the embeddings are on disk
        FolderRegistry(tmp_path).publish(manifest("v1"), replace(TENSORS, categories=unwritable))
    assert {path.name for path in tmp_path.rglob("*")} == {"versions", ".lock"}
    publish(tmp_path, "v1")


def test_a_version_is_never_replaced(tmp_path: Path) -> None:
    folder = publish(tmp_path, "v1")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(RegistryError, match="version v1 is already in"):
        FolderRegistry(tmp_path).publish(manifest("v1"), replace(TENSORS, title=-TENSORS.title))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_consumer_of_another_user_can_read_every_file(tmp_path: Path) -> None:
    folder = publish(tmp_path, "v1")
    unreadable = [path.name for path in (tmp_path / "CURRENT", folder, *folder.iterdir()) if not path.stat().st_mode & 0o004]
    assert not unreadable


def test_rollback_walks_back_through_the_promotions(tmp_path: Path) -> None:
    registry = FolderRegistry(tmp_path)
    for version in ("v1", "v2", "v3"):
        publish(tmp_path, version)
    registry.promote("v1")
    assert [registry.roll_back(), registry.roll_back()] == ["v3", "v2"]
    assert registry.read_current() == "v2"
    with pytest.raises(RegistryError, match="knows no earlier version to roll back to"):
        registry.roll_back()


def test_a_damaged_version_is_neither_promoted_nor_rolled_back_to(tmp_path: Path) -> None:
    registry = FolderRegistry(tmp_path)
    damaged = publish(tmp_path, "v1")
    publish(tmp_path, "v2")
    with (damaged / "embeddings.safetensors").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ArtifactError, match="is damaged"):
        registry.promote("v1")
    with pytest.raises(RegistryError, match=r"no earlier version to roll back to: .*is damaged"):
        registry.roll_back()
    assert registry.read_current() == "v2"


def test_rollback_passes_over_versions_that_are_gone_or_damaged(tmp_path: Path) -> None:
    registry = FolderRegistry(tmp_path)
    for version in ("v1", "v2", "v3", "v4"):
        publish(tmp_path, version)
    shutil.rmtree(tmp_path / "versions" / "v3")
    (tmp_path / "versions" / "v2" / "titles.json").write_text("[")
    assert registry.roll_back() == registry.read_current() == "v1"


def test_what_cannot_be_read_is_told_with_the_reason(tmp_path: Path) -> None:
    registry = FolderRegistry(tmp_path)
    assert registry.explain_unreadable() == {}
    for version in ("v1", "v2", "v3"):
        publish(tmp_path, version)
    (tmp_path / "versions" / "v1" / "manifest.json").write_text("{")
    shutil.rmtree(tmp_path / "versions" / "v3")
    told = registry.explain_unreadable()
    assert set(told) == {"v1", "v3"}
    assert "'promote' puts one in service" in told["v3"]


def test_promote_mends_a_broken_pointer_as_its_error_says(tmp_path: Path) -> None:
    publish(tmp_path, "v1")
    (tmp_path / "CURRENT").write_text("{")
    FolderRegistry(tmp_path).promote("v1")
    assert FolderRegistry(tmp_path).read_current() == "v1"


def test_a_registry_that_cannot_be_written_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    registry = FolderRegistry(tmp_path / "file" / "registry")
    with pytest.raises(RegistryError, match="cannot be written"):
        registry.check_writable()


def test_a_reader_never_sees_half_a_pointer(tmp_path: Path) -> None:
    registry = FolderRegistry(tmp_path)
    publish(tmp_path, "v1")
    publish(tmp_path, "v2")
    stop, seen = threading.Event(), set()

    def read() -> None:
        while not stop.is_set():
            seen.add(registry.read_current())

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(50):
        registry.promote(f"v{turn % 2 + 1}")
    stop.set()
    reader.join()
    assert seen <= {"v1", "v2"}


def an_encoder(folder: Path, weights: bytes) -> Path:
    """A folder that passes for an encoder: weights, and something beside them in a folder of its own."""
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "1_Pooling" / "config.json").write_text("{}")
    (folder / "model.safetensors").chmod(0o600)
    return folder


def test_an_encoder_is_kept_once_and_found_by_the_digest_of_its_weights(tmp_path: Path) -> None:
    registry = FolderRegistry(tmp_path / "registry")
    first, again, other = (an_encoder(tmp_path / name, weights) for name, weights in (("a", b"1"), ("b", b"1"), ("c", b"2")))
    shas = [registry.add_encoder(source) for source in (first, again, other)]
    assert shas[0] == shas[1] != shas[2]
    assert {path.name for path in (tmp_path / "registry" / "encoders").iterdir()} == {*shas}
    kept = registry.find_encoder(shas[0])
    assert kept
    assert weights_sha256(kept) == shas[0]
    assert (kept / "1_Pooling" / "config.json").read_text() == "{}"
    assert all(path.stat().st_mode & 0o004 for path in (kept, *kept.rglob("*"))), "a consumer of another user reads it"
    assert not list((tmp_path / "registry").glob(".staging-*"))


def test_an_encoder_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    assert FolderRegistry(tmp_path).find_encoder("0" * 64) is None


@pytest.mark.parametrize("sha256", ["..", "../secret", "", ".", "/", "a" * 63 + "/", "A" * 64, "0" * 64 + "\n"])
def test_what_is_no_digest_leads_nowhere(sha256: str, tmp_path: Path) -> None:
    an_encoder(tmp_path / "secret", b"")
    (tmp_path / "encoders" / ("A" * 64)).mkdir(parents=True)
    assert FolderRegistry(tmp_path).find_encoder(sha256) is None
