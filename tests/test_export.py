"""What is exported is what is served: every category and exemplar once, as unit rows, in a form that other systems load."""

import importlib.util
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from consumer.registry import FolderRegistry
from tests.factories import CATEGORIES, category_embeddings, publish
from trainer.__main__ import main
from trainer.export import export


def test_every_category_is_in_the_table_with_its_unit_vector(tmp_path: Path) -> None:
    publish(tmp_path / "registry", "v1")
    assert main(["export", "--registry", str(tmp_path / "registry"), "--output", str(tmp_path / "out")]) == 0
    table = pq.read_table(tmp_path / "out" / "vectors.parquet")
    assert table["onet_code"].to_pylist() == [category.onet_code for category in CATEGORIES]
    assert set(table["kind"].to_pylist()) == {"category"}
    np.testing.assert_allclose(np.array(table["vector"].to_pylist()), category_embeddings().numpy(), atol=1e-6)
    assert table.schema.metadata[b"occustream.version"] == b"v1"


def test_exemplars_follow_the_categories_with_the_titles_they_stand_for(starter_registry: Path, tmp_path: Path) -> None:
    registry = FolderRegistry(starter_registry)
    artifact = registry.load(registry.current() or "")
    said: list[str] = []
    rows = export(artifact, tmp_path, said.append)
    assert artifact.manifest.exemplars is not None
    assert rows == len(artifact.tensors.categories) + artifact.manifest.exemplars.count
    table = pq.read_table(tmp_path / "vectors.parquet")
    assert table["title"].to_pylist()[len(artifact.tensors.categories) :] == [
        known.title for known in artifact.tensors.titles[: artifact.manifest.exemplars.count]
    ]
    lengths = np.linalg.norm(np.array(table["vector"].to_pylist()), axis=1)
    np.testing.assert_allclose(lengths, 1.0, atol=1e-5)


@pytest.mark.skipif(importlib.util.find_spec("faiss") is None, reason="faiss is not installed")
def test_the_index_finds_what_the_exact_product_finds(starter_registry: Path, tmp_path: Path) -> None:
    import faiss

    registry = FolderRegistry(starter_registry)
    export(registry.load(registry.current() or ""), tmp_path, lambda _: None)
    vectors = np.array(pq.read_table(tmp_path / "vectors.parquet")["vector"].to_pylist(), dtype="float32")
    found = faiss.read_index(str(tmp_path / "vectors.faiss")).search(vectors[:50], 1)[1][:, 0]
    np.testing.assert_allclose((vectors[found] * vectors[:50]).sum(axis=1), 1.0, atol=1e-4)


def test_without_a_version_in_service_the_way_out_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish(tmp_path / "registry", "v1", promote=False)
    assert main(["export", "--registry", str(tmp_path / "registry"), "--output", str(tmp_path / "out")]) == 2
    assert "name one with --version" in capsys.readouterr().err
