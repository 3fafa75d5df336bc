"""Whatever is done to a version or to the pointer: it is refused, the reason is counted, and the old model goes on serving."""

import gc
import os
import pickle
import random
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from consumer.errors import REFUSAL_REASONS, ArtifactError
from consumer.model.serving_options import AS_TRAINED, ServingOptions
from consumer.registry.folder import FolderRegistry
from consumer.registry.loader import ScorerLoader
from consumer.registry.pointer import MAX_POINTER_BYTES
from faults.tampering import ALL_FILES, content, flip, point, sign, sparse, tensor
from schemas.artifact import CATEGORIES, EMBEDDINGS, TITLES
from tests.support.attacks import ATTACKS, pickled
from tests.support.tiny_model import (
    ReloaderWithMetrics,
    category_embeddings,
    load_tiny_encoder,
    parts_with_body,
    publish,
    tensors_with_body,
    tiny_scorer,
)
from tests.support.waiting import wait_until


def publish_good(root: Path, version: str, *, promote: bool = True) -> Path:
    """A version of every part."""
    return publish(root, version, promote=promote, tensors=tensors_with_body(), **parts_with_body())


def make_reloader(root: Path, *, serving: str = "v1", serving_options: ServingOptions = AS_TRAINED) -> ReloaderWithMetrics:
    """Of a consumer that serves a version."""
    return ReloaderWithMetrics(ScorerLoader(FolderRegistry(root), device="cpu", serving_options=serving_options), serving=serving)


@pytest.fixture(autouse=True)
def tiny_encoders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load no real encoder, and collect no garbage after a reload: beside all that tests import, that takes longest."""
    monkeypatch.setattr("consumer.registry.loader.load_encoder", load_tiny_encoder)
    monkeypatch.setattr(gc, "collect", lambda *_: 0)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with the good versions v1, v2 and v3; to be copied."""
    root = tmp_path_factory.mktemp("published")
    for version in ("v3", "v2", "v1"):
        publish_good(root, version)
    return root


@pytest.fixture
def root(published: Path, tmp_path: Path) -> Path:
    """A registry that serves v1 and has v2 and v3, all of them good."""
    return Path(shutil.copytree(published, tmp_path / "registry"))


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attacked_version_never_replaces_a_good_one(attack: str, root: Path) -> None:
    serving, before = tiny_scorer("v1"), tiny_scorer("v1").score(["Staff Nurse", "Cook"])
    reason, damage = ATTACKS[attack]
    damage(root / "versions" / "v2")
    point(root, "v2")
    reloader = make_reloader(root)
    for _ in range(3):
        reloader.look()
        assert reloader.take() is None
        assert serving.score(["Staff Nurse", "Cook"]) == before
    assert reloader.counts() == {("refused", reason): 1}, "refused once, not tried again until the pointer moves"
    point(root, "v3")
    reloader.look()
    scorer = reloader.take()
    assert scorer
    assert scorer.version == "v3", "the next good version is taken up"


def test_every_reason_is_one_that_an_attack_is_refused_for() -> None:
    assert {reason for reason, _ in ATTACKS.values()} == set(REFUSAL_REASONS) - {"pointer", "no_answer"}


@pytest.mark.parametrize("name", ALL_FILES)
def test_no_bit_of_any_file_can_be_turned(name: str, root: Path) -> None:
    folder = root / "versions" / "v1"
    whole, registry = (folder / name).read_bytes(), FolderRegistry(root)
    for bit in random.Random(name).sample(range(len(whole) * 8), 400):
        flip(folder / name, bit)
        with pytest.raises(ArtifactError):
            registry.load("v1")
        (folder / name).write_bytes(whole)
    assert registry.load("v1").manifest.version == "v1"


@pytest.mark.parametrize("name", ALL_FILES)
def test_no_file_can_be_cut_anywhere(name: str, root: Path) -> None:
    folder = root / "versions" / "v1"
    whole, registry = (folder / name).read_bytes(), FolderRegistry(root)
    for length in random.Random(name).sample(range(len(whole.rstrip())), min(100, len(whole.rstrip()))):
        (folder / name).write_bytes(whole[:length])
        with pytest.raises(ArtifactError):
            registry.load("v1")


POINTERS: dict[str, Callable[[Path], object]] = {
    "empty": lambda p: p.write_text(""),
    "cut short": lambda p: p.write_text("{"),
    "numbers": lambda p: p.write_text('{"version": 5, "previous": 5}'),
    "a list": lambda p: p.write_text("[]"),
    "no UTF-8": lambda p: p.write_bytes(b"\xff\xfe\x00"),
    "too deep": lambda p: p.write_text("[" * 60_000),
    "huge": sparse(MAX_POINTER_BYTES + 1),
    "a folder": Path.mkdir,
    "a pipe": os.mkfifo,
    "a socket": lambda p: socket.socket(socket.AF_UNIX).bind(str(p)),
    "a device": lambda p: p.symlink_to("/dev/zero"),
    "a link out of the registry": lambda p: (
        p.parent.with_name("pointer").write_text('{"version": "v2"}'),
        p.symlink_to(p.parent.with_name("pointer")),
    ),
    "a version out of the registry": lambda p: point(p.parent, "../v2"),
    "a version of no name": lambda p: point(p.parent, ""),
    "a version that is a folder": lambda p: point(p.parent, "v2/"),
    "a version of a long name": lambda p: point(p.parent, "x" * 300),
    "a version of two lines": lambda p: point(p.parent, "v2\n"),
}


@pytest.mark.parametrize("kind", POINTERS)
def test_a_file_that_is_no_pointer_keeps_the_model_until_a_promotion_repairs_it(kind: str, root: Path) -> None:
    (root / "CURRENT").unlink()
    POINTERS[kind](root / "CURRENT")
    reloader = make_reloader(root)
    reloader.look()
    assert (reloader.take(), reloader.counts()) == (None, {("unavailable", "pointer"): 1})
    FolderRegistry(root).promote("v2")
    reloader.look()
    assert (scorer := reloader.take())
    assert scorer.version == "v2", "promoting repairs it, as its error says"


def test_a_pointer_to_nothing_is_refused(root: Path) -> None:
    point(root, "v9")
    reloader = make_reloader(root)
    reloader.look()
    assert (reloader.take(), reloader.counts()) == (None, {("refused", "missing"): 1})


def test_a_version_whose_folder_leads_out_of_the_registry_is_refused(root: Path, tmp_path: Path) -> None:
    (root / "versions" / "v2").rename(tmp_path / "v2")
    (root / "versions" / "v2").symlink_to(tmp_path / "v2")
    point(root, "v2")
    reloader = make_reloader(root)
    reloader.look()
    assert (reloader.take(), reloader.counts()) == (None, {("refused", "path"): 1})


def test_a_registry_reached_through_a_link_is_read_like_any_other(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    point(root, "v2")
    reloader = make_reloader(tmp_path / "link")
    reloader.look()
    assert reloader.take()


def test_a_pickle_in_place_of_safetensors_is_never_loaded(root: Path, tmp_path: Path) -> None:
    marker = tmp_path / "loaded"
    pickle.loads(pickled(marker))  # noqa: S301 - ours
    assert marker.is_dir(), "the payload works"
    marker.rmdir()
    for version, name in (("v1", CATEGORIES), ("v2", EMBEDDINGS), ("v3", TITLES)):
        content(name, pickled(marker))(root / "versions" / version)
        point(root, version)
        reloader = make_reloader(root, serving="v0")
        reloader.look()
        assert (reloader.take(), reloader.counts()) == (None, {("refused", "content"): 1})
    torch.save({"title": category_embeddings()}, root / "versions" / "v2" / EMBEDDINGS)
    sign(root / "versions" / "v2")
    point(root, "v2")
    (reloader := make_reloader(root)).look()
    assert reloader.counts() == {("refused", "content"): 1}
    assert not marker.exists()


def test_a_running_reloader_outlives_every_attack_and_takes_up_the_next_good_version(root: Path) -> None:
    reloader = make_reloader(root)
    reloader.start()
    for turn, (_reason, damage) in enumerate(ATTACKS.values()):
        before = sum(reloader.counts().values())
        bad = Path(shutil.copytree(root / "versions" / "v3", root / "versions" / f"bad-{turn}"))
        sign(bad, version=bad.name)
        damage(bad)
        point(root, f"bad-{turn}")
        wait_until(lambda before=before: sum(reloader.counts().values()) > before, "it is refused")
        assert reloader.take() is None
    point(root, "v2")
    found: list[str] = []
    wait_until(lambda: bool((s := reloader.take()) and not found.append(s.version)), "the good version is taken up")
    reloader.stop()
    assert found == ["v2"]


def test_parts_switched_off_and_a_prior_do_not_let_a_broken_version_in(root: Path) -> None:
    tensor("line", lambda t: t * float("nan"))(root / "versions" / "v2")
    point(root, "v2")
    reloader = make_reloader(root, serving_options=ServingOptions(frozenset(("line",)), prior_adjustment=0.5))
    reloader.look()
    assert (reloader.take(), reloader.counts()) == (None, {("refused", "not_finite"): 1})
