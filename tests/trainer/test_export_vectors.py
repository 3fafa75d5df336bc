"""An export holds what is served: each category and exemplar once, as a unit vector, in formats that other systems load."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from consumer.registry.folder import FolderRegistry
from tests.conftest import ROOT
from tests.support.tiny_model import CATEGORIES, category_embeddings, publish
from trainer.__main__ import main
from trainer.export_vectors import export

needs_faiss = pytest.mark.skipif(importlib.util.find_spec("faiss") is None, reason="faiss is not installed")


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
    artifact = registry.load(registry.read_current() or "")
    lines: list[str] = []
    rows = export(artifact, tmp_path, lines.append)
    assert artifact.manifest.exemplars is not None
    assert rows == len(artifact.tensors.categories) + artifact.manifest.exemplars.count
    table = pq.read_table(tmp_path / "vectors.parquet")
    assert table["title"].to_pylist()[len(artifact.tensors.categories) :] == [
        known.title for known in artifact.tensors.titles[: artifact.manifest.exemplars.count]
    ]
    lengths = np.linalg.norm(np.array(table["vector"].to_pylist()), axis=1)
    np.testing.assert_allclose(lengths, 1.0, atol=1e-5)


@needs_faiss
def test_the_index_finds_what_the_exact_product_finds(starter_registry: Path, tmp_path: Path) -> None:
    import faiss

    registry = FolderRegistry(starter_registry)
    export(registry.load(registry.read_current() or ""), tmp_path, lambda _: None)
    vectors = np.array(pq.read_table(tmp_path / "vectors.parquet")["vector"].to_pylist(), dtype="float32")
    found = faiss.read_index(str(tmp_path / "vectors.faiss")).search(vectors[:50], 1)[1][:, 0]
    np.testing.assert_allclose((vectors[found] * vectors[:50]).sum(axis=1), 1.0, atol=1e-4)


@needs_faiss
def test_the_neighbours_of_the_index_are_those_of_a_plain_matrix_product(starter_registry: Path, tmp_path: Path) -> None:
    import faiss

    registry, k = FolderRegistry(starter_registry), 10
    export(registry.load(registry.read_current() or ""), tmp_path, lambda _: None)
    table = pq.read_table(tmp_path / "vectors.parquet")
    vectors = table["vector"].combine_chunks().flatten().to_numpy().reshape(table.num_rows, -1)
    noise = np.random.default_rng(0).normal(size=(64, vectors.shape[1]), scale=0.03)
    queries = (vectors[np.arange(64) * 7] + noise).astype("float32")  # near some rows, on none
    cosines, rows = faiss.read_index(str(tmp_path / "vectors.faiss")).search(queries, k)
    product = queries.astype("float64") @ vectors.T.astype("float64")
    np.testing.assert_allclose(cosines, -np.sort(-product, axis=1)[:, :k], atol=1e-5)
    # By the products of the rows found: equal vectors may change places.
    np.testing.assert_allclose(np.take_along_axis(product, rows, 1), -np.sort(-product, axis=1)[:, :k], atol=1e-5)
    assert all(len(set(found)) == k for found in rows.tolist())


WITHOUT_PANDAS = """
import sys

class NoPandas:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "pandas":
            raise ImportError(name)

sys.meta_path.insert(0, NoPandas())
"""


@needs_faiss
def test_the_example_of_the_docs_works_as_it_stands_and_without_pandas(starter_registry: Path, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.+?)```", (ROOT / "docs" / "models.md").read_text(encoding="utf-8"), re.DOTALL)
    output = (
        f"from trainer.__main__ import main\nmain(['export', '--registry', {str(starter_registry)!r}, '--output', 'vectors'])\n"
    )
    shown = "import json\nprint(json.dumps([matrix.shape, rows.tolist(), nearest, 'pandas' in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", f"{WITHOUT_PANDAS}\n{output}\n{code}\n{shown}"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (count, _dim), rows, nearest, pandas = json.loads(done.stdout)
    assert count == pq.read_metadata(tmp_path / "vectors" / "vectors.parquet").num_rows
    assert [row[0] for row in rows] == [0, 1, 2]
    assert nearest[0].keys() == {"onet_code", "title"}
    assert not pandas


def test_an_index_of_other_rows_does_not_stay_beside_a_new_table(
    starter_registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vectors.faiss").write_bytes(b"of an earlier version")
    monkeypatch.setitem(sys.modules, "faiss", None)
    registry, lines = FolderRegistry(starter_registry), list[str]()
    export(registry.load(registry.read_current() or ""), tmp_path, lines.append)
    assert [path.name for path in tmp_path.iterdir()] == ["vectors.parquet"]
    assert lines[-1] == "no vectors.faiss: faiss is not installed (pip install faiss-cpu)"


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish(tmp_path / "registry", "v1")
    (tmp_path / "out" / "vectors.faiss").mkdir(parents=True)
    (tmp_path / "out" / "vectors.parquet").write_bytes(b"earlier")
    assert main(["export", "--registry", str(tmp_path / "registry"), "--output", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"occustream-trainer: {tmp_path / 'out'} cannot be written: ")
    assert (tmp_path / "out" / "vectors.parquet").read_bytes() == b"earlier"
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_without_a_version_in_service_the_way_out_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish(tmp_path / "registry", "v1", promote=False)
    assert main(["export", "--registry", str(tmp_path / "registry"), "--output", str(tmp_path / "out")]) == 2
    assert "name one with --version" in capsys.readouterr().err
