"""A new version is taken up between batches; whatever is wrong with it, the model in service stays."""

import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest
import torch

from consumer.errors import BackgroundFailed
from consumer.registry.folder import FolderRegistry
from consumer.registry.loader import ScorerLoader
from consumer.registry.reloader import wait_for_version
from tests.support.brokers import wait_until
from tests.support.tiny_model import LetterEncoder, ReloaderWithMetrics, load_tiny_encoder, publish


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


def test_waiting_for_a_first_version_ends_with_it_with_the_time_or_with_the_stop() -> None:
    stop, answers = threading.Event(), iter([None, "v1"])
    assert wait_for_version(lambda: next(answers), timeout_s=60, stop=stop) == "v1"
    assert wait_for_version(lambda: None, timeout_s=0, stop=stop) is None
    stop.set()
    assert wait_for_version(lambda: None, timeout_s=60, stop=stop) is None
