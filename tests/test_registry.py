"""A version is there whole or not at all, never changes, and the pointer moves in one step."""

import threading
from pathlib import Path

import pytest
import torch

from consumer.errors import ArtifactError, RegistryError
from consumer.registry import FolderRegistry
from schemas.artifact import Category
from tests.factories import CATEGORIES, category_embeddings, manifest, publish


def test_what_is_published_is_what_is_loaded(tmp_path: Path) -> None:
    published = FolderRegistry(tmp_path).publish(manifest("v1"), CATEGORIES, category_embeddings())
    artifact = FolderRegistry(tmp_path).load("v1")
    assert (artifact.manifest, artifact.categories) == (published, CATEGORIES)
    assert torch.equal(artifact.embeddings, category_embeddings())


def test_publishing_alone_puts_nothing_in_service(tmp_path: Path) -> None:
    publish(tmp_path, "v1")
    publish(tmp_path, "v2", promote=False)
    assert FolderRegistry(tmp_path).current() == "v1"
    assert [m.version for m in FolderRegistry(tmp_path).versions()] == ["v1", "v2"]


def test_a_publish_that_fails_halfway_leaves_no_trace(tmp_path: Path) -> None:
    unwritable = (Category.model_construct(onet_code="29-1141.00", onet_title="\ud800"), *CATEGORIES[1:])
    with pytest.raises(UnicodeEncodeError):  # by then the embeddings are on disk
        FolderRegistry(tmp_path).publish(manifest("v1"), unwritable, category_embeddings())
    assert {path.name for path in tmp_path.rglob("*")} == {"versions", ".lock"}
    publish(tmp_path, "v1")


def test_a_version_is_never_replaced(tmp_path: Path) -> None:
    folder = publish(tmp_path, "v1")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(RegistryError, match="version v1 is already in"):
        FolderRegistry(tmp_path).publish(manifest("v1"), CATEGORIES, -category_embeddings())
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
    assert [registry.rollback(), registry.rollback()] == ["v3", "v2"]
    assert registry.current() == "v2"
    with pytest.raises(RegistryError, match="knows no earlier version to roll back to"):
        registry.rollback()


def test_a_damaged_version_is_neither_promoted_nor_rolled_back_to(tmp_path: Path) -> None:
    registry = FolderRegistry(tmp_path)
    damaged = publish(tmp_path, "v1")
    publish(tmp_path, "v2")
    with (damaged / "embeddings.safetensors").open("ab") as file:
        file.write(b"\0")
    for act in (lambda: registry.promote("v1"), registry.rollback):
        with pytest.raises(ArtifactError, match="is damaged"):
            act()
    assert registry.current() == "v2"


def test_promote_mends_a_broken_pointer_as_its_error_says(tmp_path: Path) -> None:
    publish(tmp_path, "v1")
    (tmp_path / "CURRENT").write_text("{")
    FolderRegistry(tmp_path).promote("v1")
    assert FolderRegistry(tmp_path).current() == "v1"


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
            seen.add(registry.current())

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(50):
        registry.promote(f"v{turn % 2 + 1}")
    stop.set()
    reader.join()
    assert seen <= {"v1", "v2"}
