"""A new version is taken up between batches; whatever is wrong with it, the model in service stays."""

import logging
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import pytest
import torch

from consumer.errors import BackgroundFailed
from consumer.registry.folder import FolderRegistry
from consumer.registry.loader import ScorerLoader
from tests.support.tiny_model import LetterEncoder, ReloaderWithMetrics, load_tiny_encoder, publish
from tests.support.waiting import wait_until


@pytest.fixture(autouse=True)
def tiny_encoders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.registry.loader.load_encoder", load_tiny_encoder)


def make_reloader(root: Path, registry: FolderRegistry | None = None) -> ReloaderWithMetrics:
    """Of a consumer that serves v1."""
    return ReloaderWithMetrics(ScorerLoader(registry or FolderRegistry(root), device="cpu"))


def outcomes(reloader: ReloaderWithMetrics) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for (outcome, _reason), count in reloader.counts().items():
        counts[outcome] += count
    return dict(counts)


def test_a_new_version_is_handed_over_once(tmp_path: Path) -> None:
    publish(tmp_path, "v1")
    reloader = make_reloader(tmp_path)
    reloader.look()
    assert reloader.take() is None, "v1 is in service already"
    publish(tmp_path, "v2")
    reloader.look()
    reloader.look()
    scorer = reloader.take()
    assert scorer
    assert scorer.score(["Cooks, Restaurant"])[0].occupations[0].onet_code == "35-2014.00"
    assert (reloader.take(), outcomes(reloader)) == (None, {"loaded": 1})


def test_of_two_versions_between_batches_the_last_one_serves(tmp_path: Path) -> None:
    reloader = make_reloader(tmp_path)
    for version in ("v2", "v3"):
        publish(tmp_path, version)
        reloader.look()
    assert (scorer := reloader.take())
    assert (scorer.version, reloader.take()) == ("v3", None)


def test_a_publish_is_taken_up_while_the_thread_watches(tmp_path: Path) -> None:
    publish(tmp_path, "v1")
    reloader = make_reloader(tmp_path)
    reloader.start()
    publish(tmp_path, "v2")
    pause = threading.Event()
    scorer = next((s for _ in range(1_000) if (s := reloader.take()) or pause.wait(0.01)), None)
    reloader.stop()
    assert scorer
    assert scorer.version == "v2"


class NoRoomFor:
    """A device whose memory ends at some point."""

    def __init__(self, *_args: object, **_options: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")


class LetterEncoderWithoutRoom(LetterEncoder):
    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        raise torch.OutOfMemoryError(f"CUDA out of memory for {len(texts)} texts")


@pytest.mark.parametrize("what", ["tensors", "work"])
def test_a_version_that_has_no_room_on_the_device_is_refused(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reloader = make_reloader(tmp_path)
    publish(tmp_path, "v2")
    if what == "tensors":
        monkeypatch.setattr("consumer.registry.loader.Mixture", NoRoomFor)
    else:
        monkeypatch.setattr("consumer.registry.loader.load_encoder", lambda *_, **__: LetterEncoderWithoutRoom())
    reloader.look()
    assert (reloader.take(), outcomes(reloader)) == (None, {"refused": 1})


class RegistryWithAFaultNobodyForesaw(FolderRegistry):
    def read_current(self) -> NoReturn:
        raise RuntimeError("no such fault is known")


def test_a_dead_watching_thread_reaches_the_loop(tmp_path: Path) -> None:
    reloader = make_reloader(tmp_path, RegistryWithAFaultNobodyForesaw(tmp_path))
    reloader.start()
    with pytest.raises(BackgroundFailed, match=r"thread 'reloader' died: RuntimeError.*no such fault is known"):
        wait_until(lambda: reloader.take() is not None, "the thread is dead")


class RegistryThatHangs(FolderRegistry):
    """A shared folder that does not answer, until it is let go."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.let_go = threading.Event()

    def read_current(self) -> str | None:
        self.let_go.wait()
        return super().read_current()


def read_at(reloader: ReloaderWithMetrics) -> float:
    return reloader.metrics.registry.get_sample_value("occustream_registry_read_timestamp_seconds") or 0.0


def empty(root: Path) -> None:
    for path in root.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def garble(root: Path) -> None:
    (root / "CURRENT").write_text("{")


def put_a_file_in_its_place(root: Path) -> None:
    shutil.rmtree(root)
    root.touch()  # the system cannot look into it


@pytest.mark.parametrize(
    ("damage", "reason"),
    [(shutil.rmtree, "missing"), (empty, "missing"), (garble, "pointer"), (put_a_file_in_its_place, "unreadable")],
    ids=["gone", "emptied", "garbled", "unreadable"],
)
def test_a_registry_out_of_reach_is_counted_and_said_once_and_its_last_read_ages(
    damage: Callable[[Path], object], reason: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "registry"
    publish(root, "v1")
    reloader = make_reloader(root)
    reloader.look()
    last_read = read_at(reloader)
    damage(root)
    for _ in range(3):
        reloader.look()
    assert reloader.counts() == {("unavailable", reason): 3}
    assert read_at(reloader) == last_read
    assert [record.message.endswith("the model in service stays") for record in caplog.records] == [True]
    shutil.rmtree(root) if root.is_dir() else root.unlink(missing_ok=True)
    publish(root, "v1")
    with caplog.at_level(logging.INFO):
        reloader.look()
    assert read_at(reloader) > last_read
    assert caplog.records[-1].message == "the registry can be read again"


def test_a_registry_that_hangs_is_told_by_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("consumer.registry.reloader.SILENT_S", 0.1)
    publish(tmp_path, "v1")
    registry = RegistryThatHangs(tmp_path)
    reloader = make_reloader(tmp_path, registry)
    last_read = read_at(reloader)
    reloader.start()
    wait_until(lambda: reloader.take() is None and bool(reloader.counts()), "the loop notices")
    assert (reloader.counts(), reloader.take()) == ({("unavailable", "no_answer"): 1}, None)
    assert "the registry has not answered for 0 s, asked for its pointer" in caplog.text
    assert read_at(reloader) == last_read
    registry.let_go.set()
    wait_until(lambda: read_at(reloader) > last_read, "it is read again")
    reloader.stop()
