"""A consumer starts with the version in service, or with the newest one before it that can be loaded, and says so."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumer.errors import ArtifactError, RegistryError
from consumer.metrics import Metrics
from consumer.registry.first_version import FirstVersion, load_first_version, wait_for_versions
from consumer.registry.folder import FolderRegistry
from consumer.registry.loader import ScorerLoader
from schemas.artifact import EMBEDDINGS
from tests.support.tiny_model import load_tiny_encoder, publish


@pytest.fixture(autouse=True)
def tiny_encoders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.registry.loader.load_encoder", load_tiny_encoder)


def load(root: Path, metrics: Metrics) -> FirstVersion | None:
    loader = ScorerLoader(FolderRegistry(root), device="cpu")
    return load_first_version(loader, metrics, timeout_s=0, stop=threading.Event())


def refusals(metrics: Metrics, reason: str) -> float | None:
    return metrics.registry.get_sample_value("occustream_reloads_total", {"outcome": "refused", "reason": reason})


def test_the_version_in_service_is_the_one_to_start_with(tmp_path: Path) -> None:
    for version in ("v1", "v2"):
        publish(tmp_path, version)
    assert (first := load(tmp_path, Metrics()))
    assert (first.scorer.version, first.refused) == ("v2", None)


def test_with_a_broken_version_in_service_the_one_before_it_serves_and_this_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    publish(tmp_path, "v1")
    for version in ("v2", "v3"):
        (publish(tmp_path, version) / EMBEDDINGS).write_bytes(b"")
    metrics = Metrics()
    assert (first := load(tmp_path, metrics))
    assert (first.scorer.version, first.refused) == ("v1", "v3")
    assert refusals(metrics, "digest") == 2
    assert "version v3 is refused" in caplog.text
    assert "version v1 serves, which was in service before version v3" in caplog.text


def test_without_a_version_that_can_be_loaded_the_start_fails_for_the_newest(tmp_path: Path) -> None:
    for version in ("v1", "v2"):
        (publish(tmp_path, version) / EMBEDDINGS).write_bytes(b"")
    with pytest.raises(ArtifactError, match="v2"):
        load(tmp_path, Metrics())


def test_with_a_broken_pointer_its_copy_counts_and_this_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for version in ("v1", "v2"):
        publish(tmp_path, version)
    (tmp_path / "CURRENT").write_text("{")
    metrics = Metrics()
    assert (first := load(tmp_path, metrics))
    assert (first.scorer.version, first.refused) == ("v2", None)
    assert metrics.registry.get_sample_value("occustream_reloads_total", {"outcome": "unavailable", "reason": "pointer"}) == 1
    assert "until then the copy of the pointer counts, which names version v2" in caplog.text
    (tmp_path / "CURRENT.copy").unlink()
    with pytest.raises(ArtifactError, match="is no pointer"):
        load(tmp_path, metrics)


def test_waiting_for_a_first_version_ends_with_it_with_the_time_or_with_the_stop() -> None:
    stop, answers = threading.Event(), iter([(), ("v1",)])
    assert wait_for_versions(lambda: next(answers), timeout_s=60, stop=stop) == ("v1",)
    assert wait_for_versions(lambda: (), timeout_s=0, stop=stop) == ()
    stop.set()
    assert wait_for_versions(lambda: (), timeout_s=60, stop=stop) == ()


def test_a_registry_that_cannot_be_read_is_waited_for_as_long_as_a_first_version() -> None:
    outcomes: Iterator[RegistryError | tuple[str, ...]] = iter([RegistryError("not mounted"), ("v1",)])

    def read() -> tuple[str, ...]:
        outcome = next(outcomes)
        if isinstance(outcome, RegistryError):
            raise outcome
        return outcome

    assert wait_for_versions(read, timeout_s=60, stop=threading.Event()) == ("v1",)
    outcomes = iter([RegistryError("not mounted")])
    with pytest.raises(RegistryError, match="not mounted"):
        wait_for_versions(read, timeout_s=0, stop=threading.Event())
