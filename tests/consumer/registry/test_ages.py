"""Pruning believes the clock of the registry's file system, and no time that lies in the future."""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from consumer.registry.ages import is_long_unused
from consumer.registry.folder import YOUNG_S, FolderRegistry
from tests.support.tiny_model import TENSORS, make_manifest

YEAR = timedelta(days=365)


def published(registry: FolderRegistry, version: str, ahead: timedelta = timedelta()) -> None:
    manifest = make_manifest(version).model_copy(update={"trained_at": datetime.now(UTC) + ahead})
    registry.publish(manifest, TENSORS)


def test_a_version_whose_trainer_was_a_year_ahead_does_not_outlive_younger_ones(tmp_path: Path) -> None:
    registry = FolderRegistry(tmp_path)
    published(registry, "ahead", YEAR)
    for version in ("v1", "v2", "v3"):
        published(registry, version)
    registry.promote("v3")
    assert registry.prune(3) == ["ahead"]
    assert registry.prune(2) == ["v1"]


def test_a_pruner_whose_clock_is_a_year_ahead_leaves_young_encoders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = FolderRegistry(tmp_path)
    published(registry, "v1")
    registry.promote("v1")
    encoder = tmp_path / "encoders" / ("f" * 64)
    encoder.mkdir(parents=True)
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + YEAR.total_seconds())
    for _ in range(3):
        registry.prune(1)
        assert encoder.is_dir(), "its version may be about to come"


def test_a_folder_is_long_unused_only_if_it_was_found_so_before(tmp_path: Path) -> None:
    a_year_on = time.time() + YEAR.total_seconds()
    assert not is_long_unused(tmp_path, a_year_on, young_s=YOUNG_S)
    assert not is_long_unused(tmp_path, time.time(), young_s=YOUNG_S)
    assert is_long_unused(tmp_path, a_year_on, young_s=YOUNG_S)
    os.utime(tmp_path)
    assert not is_long_unused(tmp_path, a_year_on, young_s=YOUNG_S)
