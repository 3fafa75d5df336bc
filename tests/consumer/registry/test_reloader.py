"""A new version is taken up between batches; whatever is wrong with it, the model in service stays."""

import dataclasses
import shutil
import threading
import weakref
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest
import torch

from consumer.errors import BackgroundFailed, EncoderError
from consumer.metrics import RELOADS, Metrics
from consumer.model.mixture import Tensors
from consumer.model.serving_options import AS_TRAINED, Part, Switches
from consumer.registry.folder import FolderRegistry
from consumer.registry.reloader import Reloader, ScorerLoader, wait_for_version
from faults.tampering import sign
from tests.support.tiny_model import (
    CALIBRATION,
    DECIDE,
    BodyEncoder,
    LetterEncoder,
    LineEncoder,
    all_parts,
    all_tensors,
    category_embeddings,
    publish,
)


def make_reloader(root: Path, registry: FolderRegistry | None = None, *, interval_s: float = 0.01) -> Reloader:
    """Of a consumer that serves v1 and has LetterEncoder loaded."""
    loader = ScorerLoader(registry or FolderRegistry(root), device="cpu")
    loader._encoders = {kind.ref: kind() for kind in (LetterEncoder, LineEncoder, BodyEncoder)}
    return Reloader(loader, serving="v1", metrics=Metrics(), interval_s=interval_s)


def outcomes(reloader: Reloader) -> dict[str, int]:
    counter = reloader._metrics.reloads
    counts = Counter({outcome: 0 for outcome, _ in RELOADS})
    for outcome, reason in RELOADS:
        counts[outcome] += int(counter.labels(outcome, reason)._value.get())
    return dict(+counts)


ALL = all_parts()
ALL |= {"body_encoder": BodyEncoder.ref, "mix": ALL["mix"].model_copy(update={"body_weight": 4.0})}
ALL |= {"calibration": CALIBRATION.model_copy(update={"body": DECIDE})}
PARTS: tuple[Part, ...] = ("line", "exemplars", "body")


def every_tensor() -> Tensors:
    return dataclasses.replace(all_tensors(), body=category_embeddings())


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


def test_a_version_of_every_part_is_taken_up_with_parts_switched_off_or_not(tmp_path: Path) -> None:
    publish(tmp_path, "v2", tensors=every_tensor(), **ALL)
    for switches in (AS_TRAINED, Switches(frozenset(PARTS), prior_adjustment=0.5)):
        loader = ScorerLoader(FolderRegistry(tmp_path), device="cpu", switches=switches)
        loader._encoders = {kind.ref: kind() for kind in (LetterEncoder, LineEncoder, BodyEncoder)}
        scorer = loader.load("v2")
        assert scorer.mixture.uses_line == scorer.mixture.uses_body == (switches == AS_TRAINED)
        assert bool(scorer.score(["Cook"])[0].evidence.nearest) == (switches == AS_TRAINED)


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

    monkeypatch.setattr("consumer.registry.reloader.load_encoder", load_encoder)
    loader = ScorerLoader(FolderRegistry(tmp_path), device="cpu")
    for number in range(1, 6):
        publish(tmp_path, f"v{number}", encoder=LetterEncoder.ref.model_copy(update={"sha256": f"{number}" * 64}))
        serving = loader.load(f"v{number}")
    assert serving.version == "v5"
    assert len(made) <= 2, "the one that serves, and the one that served until it came"


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
        monkeypatch.setattr("consumer.registry.reloader.Mixture", NoRoomFor)
    else:
        reloader._loader._encoders = {LetterEncoder.ref: LetterEncoderWithoutRoom()}
    reloader.look()
    assert (reloader.take(), outcomes(reloader)) == (None, {"refused": 1})


class RegistryWithAFaultNobodyForesaw(FolderRegistry):
    def current(self) -> NoReturn:
        raise RuntimeError("no such fault is known")


def test_a_dead_watching_thread_reaches_the_loop(tmp_path: Path) -> None:
    reloader = make_reloader(tmp_path, RegistryWithAFaultNobodyForesaw(tmp_path))
    reloader.start()
    reloader._thread.join(30)
    with pytest.raises(BackgroundFailed, match=r"thread 'reloader' died: RuntimeError.*no such fault is known"):
        reloader.take()


def test_an_artifact_of_another_encoder_is_refused_by_the_weights_not_the_name(starter_registry: Path, tmp_path: Path) -> None:
    shutil.copytree(starter_registry, tmp_path / "registry")
    registry = FolderRegistry(tmp_path / "registry")
    version = registry.current() or ""
    manifest = registry.load(version).manifest
    sign(registry.root / "versions" / version, encoder={**manifest.encoder.model_dump(), "sha256": "ab" * 32})
    with pytest.raises(EncoderError, match="made with another encoder than 'sentence-transformers/all-MiniLM-L6-v2'"):
        ScorerLoader(registry, device="cpu").load(version)


def test_waiting_for_a_first_version_ends_with_it_with_the_time_or_with_the_stop() -> None:
    stop, answers = threading.Event(), iter([None, "v1"])
    assert wait_for_version(lambda: next(answers), timeout_s=60, stop=stop) == "v1"
    assert wait_for_version(lambda: None, timeout_s=0, stop=stop) is None
    stop.set()
    assert wait_for_version(lambda: None, timeout_s=60, stop=stop) is None
