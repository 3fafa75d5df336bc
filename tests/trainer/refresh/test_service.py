"""A refresh: what is promoted, what a rejected candidate leaves behind, and what follows a failure."""

import json
import random
from datetime import timedelta
from typing import Any

import pytest

from consumer.errors import RegistryError
from schemas.artifact import Manifest
from tests.support.training_data import POSTINGS
from tests.trainer.refresh.conftest import NEW, ServiceFolders
from trainer.publish import publish


def test_a_first_version_is_put_in_service_and_says_what_the_next_is_compared_with(folders: ServiceFolders) -> None:
    registry = folders.registry
    manifest = registry.load(registry.read_current() or "").manifest
    assert manifest.training["triggers"] == ["first"]
    assert (manifest.training["verdict"], manifest.training["reasons"]) == ("passed", [])
    assert manifest.training["gate"]["rows"] == manifest.metrics["rows"] > 5
    assert manifest.training["split"] == "digest"


def test_a_worse_candidate_is_kept_with_its_reasons_and_never_serves(
    folders: ServiceFolders, caplog: pytest.LogCaptureFixture
) -> None:
    before = folders.registry.read_current()
    codes = [code for _title, code in POSTINGS]
    random.Random(0).shuffle(codes)
    folders.write([(title, code) for (title, _code), code in zip(POSTINGS, codes, strict=True)])
    service = folders.service()
    assert service.refresh_if_due() == "rejected"
    assert folders.registry.read_current() == before == service.version
    rejected = folders.registry.list_versions()[-1]
    assert rejected.training["verdict"] == "rejected"
    assert any(reason.startswith("top-1 fell from 1.000") for reason in rejected.training["reasons"])
    assert all(reason in caplog.text for reason in rejected.training["reasons"])
    assert folders.read_metric("refreshes_total", outcome="rejected") == 1
    folders.now += 3_600
    assert folders.service().refresh_if_due() == "nothing"  # the same rows would be rejected again
    folders.registry.promote(rejected.version)  # a person overrules
    assert folders.registry.roll_back() == before


def test_a_file_that_is_read_half_written_is_tried_again(folders: ServiceFolders) -> None:
    lines = "".join(json.dumps({"title": title, "onet_code": code}) + "\n" for title, code in NEW)
    data = folders.root / "data"
    (data / "new.jsonl").write_text(lines[:-20])
    service = folders.service(postings="data")
    assert service.refresh_if_due() == "failed"
    assert service.refresh_if_due() == "nothing"  # not again at once
    (data / "new.jsonl").write_text(lines)
    folders.now += 31
    assert service.refresh_if_due() == "promoted"
    assert folders.read_metric("refreshes_total", outcome="failed") == 1


def test_a_refresh_that_fails_is_tried_again_with_all_its_rows(folders: ServiceFolders, monkeypatch: pytest.MonkeyPatch) -> None:
    folders.write(NEW, "new.csv")

    def broken(*_: object, **__: object) -> None:
        raise RegistryError("the disk is full")

    before, service = folders.registry.read_current(), folders.service()
    with monkeypatch.context() as patched:
        patched.setattr("trainer.refresh.candidate.publish", broken)
        assert service.refresh_if_due() == "failed"
    assert folders.registry.read_current() == before
    folders.now += 31
    assert service.refresh_if_due() == "promoted"
    assert folders.read_metric("rows") == len(POSTINGS) + len(NEW)


def test_an_unexpected_error_is_a_refresh_that_failed(
    folders: ServiceFolders, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folders.write(NEW, "new.csv")

    def broken(*_: object, **__: object) -> None:
        raise OverflowError("date value out of range")

    service = folders.service()
    with monkeypatch.context() as patched:
        patched.setattr("trainer.refresh.service.refresh", broken)
        assert service.refresh_if_due() == "failed"
    assert "date value out of range" in caplog.text
    assert service.refresh_if_due() == "nothing"  # not again at once
    folders.now += 31
    assert service.refresh_if_due() == "promoted"


def test_a_refresh_that_is_told_to_stop_breaks_off_between_steps(folders: ServiceFolders) -> None:
    folders.write(NEW, "new.csv")
    before, service, folders.stopped = folders.registry.list_versions(), folders.service(), True
    assert service.refresh_if_due() == "nothing"
    assert folders.registry.list_versions() == before
    folders.stopped = False
    assert service.refresh_if_due() == "promoted"


def test_old_versions_go_and_rollback_still_works(folders: ServiceFolders) -> None:
    service = folders.service(every_s=1.0, keep=3)
    for _ in range(4):
        folders.now += 3_600
        assert service.refresh_if_due() == "promoted"
    kept = [manifest.version for manifest in folders.registry.list_versions()]
    assert len(kept) == 3
    assert folders.registry.read_current() == kept[-1]
    assert [folders.registry.roll_back(), folders.registry.roll_back()] == [kept[1], kept[0]]
    with pytest.raises(RegistryError, match="no earlier version"):
        folders.registry.roll_back()


def test_a_candidate_is_judged_again_where_another_version_was_promoted_meanwhile(
    folders: ServiceFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, service = folders.registry, folders.service()
    artifact = registry.load(registry.read_current() or "")
    registry.publish(artifact.manifest.model_copy(update={"version": "other", "files": {}}), artifact.tensors)
    others = iter(("other",))

    def another_trainer_comes_first(*told: Any, **options: Any) -> Manifest:
        for version in others:
            registry.promote(version)
        return publish(*told, **options)

    monkeypatch.setattr("trainer.refresh.candidate.publish", another_trainer_comes_first)
    folders.write(NEW, "new.csv")
    assert service.refresh_if_due() == "promoted"
    promoted = registry.load(registry.read_current() or "").manifest
    assert promoted.training["compared_with"] == "other"
    assert len(registry.list_versions()) == 3, "nothing is stored of the judgement that came too late"


def test_pruning_spares_the_last_two_in_service_and_encoders_in_use(
    folders: ServiceFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = folders.registry
    artifact = registry.load(registry.read_current() or "")
    used = artifact.manifest.line_encoder
    assert used is not None

    def published(name: str, days: int) -> Manifest:
        changes = {"version": name, "trained_at": artifact.manifest.trained_at + timedelta(days=days), "files": {}}
        return registry.publish(artifact.manifest.model_copy(update=changes), artifact.tensors)

    for days, name in enumerate(("a", "b", "c", "d"), start=1):
        published(name, days)
    registry.promote("a")
    stray = folders.root / "registry" / "encoders" / ("f" * 64)
    stray.mkdir()
    assert registry.prune(1) == ["b", "c", "d"]
    assert stray.is_dir()  # its version may be about to come
    assert registry.read_current() == "a"
    monkeypatch.setattr("consumer.registry.folder.YOUNG_S", -1.0)
    assert registry.prune(1) == []
    assert not stray.exists()
    assert registry.find_encoder(used.sha256) is not None
    assert registry.roll_back() == artifact.manifest.version
    assert not list((folders.root / "registry").glob(".removed-*"))
