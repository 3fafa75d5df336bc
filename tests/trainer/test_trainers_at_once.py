"""Several trainers share a registry, and some are killed: the pointer stays valid and every version complete."""

import multiprocessing
import random
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from consumer.errors import ArtifactError, CurrentMoved, RegistryError
from consumer.model.encoder_folder import weights_sha256
from consumer.registry.folder import FolderRegistry
from consumer.registry.writers_lock import hold_lock
from tests.support.tiny_model import TENSORS, make_manifest, publish
from tests.support.waiting import wait_until

TURNS, TRAINERS = 12, 3
WAIT_S = 120.0


def train(root: Path, name: str, turns: int, at_work: Event) -> None:
    """Store, promote, roll back and prune versions, as a trainer's process does; says so when the first is stored."""
    registry, rng = FolderRegistry(root), random.Random(name)
    for turn in range(turns):
        version = f"{name}-{turn}"
        if rng.random() < 0.5:
            registry.release(make_manifest(version), TENSORS)
        else:
            registry.publish(make_manifest(version), TENSORS)
            unless("no artifact at", lambda version=version: registry.promote(version))  # another trainer has pruned it
        if rng.random() < 0.3:
            unless("knows no earlier version", registry.roll_back)
        if rng.random() < 0.5:
            registry.prune(TRAINERS + 2)
        at_work.set()


def unless(message: str, act: Callable[[], object]) -> None:
    """Call `act`, which may be refused with this message only."""
    try:
        act()
    except (ArtifactError, RegistryError) as error:
        if message not in str(error):
            raise


def start_trainer(root: Path, name: str, turns: int = TURNS) -> tuple[ForkServerProcess, Event]:
    """Start a trainer, forked from a process that has imported PyTorch; the event says that it is at work."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["faults.preload"])
    at_work = context.Event()
    process = context.Process(target=train, args=(root, name, turns, at_work))
    process.start()
    return process, at_work


def wait(process: ForkServerProcess) -> int | None:
    process.join(WAIT_S)
    return process.exitcode


def look(registry: FolderRegistry) -> str:
    """Load the version in service, as a consumer does; tries again if that version was replaced and pruned meanwhile."""
    while True:
        version = registry.read_current() or ""
        try:
            assert registry.load(version).manifest.version == version
        except ArtifactError:
            if registry.read_current() == version:
                raise
        else:
            return version


def leftovers(root: Path) -> list[str]:
    return [path.name for path in root.glob(".*") if path.name != ".lock"]


def test_trainers_at_once_leave_a_valid_pointer_at_every_look_and_whole_versions(tmp_path: Path) -> None:
    publish(tmp_path, "first")
    registry, seen = FolderRegistry(tmp_path), set()
    trainers = [start_trainer(tmp_path, f"t{number}") for number in range(TRAINERS)]
    while any(process.exitcode is None for process, _at_work in trainers):
        seen.add(look(registry))
    assert [wait(process) for process, _at_work in trainers] == [0] * TRAINERS
    assert len(seen) > 1, "the reader looked while they wrote"
    names = {path.name for path in (tmp_path / "versions").iterdir()}
    assert {registry.load(name).manifest.version for name in names} == names
    assert look(registry) in names
    assert not leftovers(tmp_path)


def test_trainers_killed_at_any_moment_leave_nothing_half_and_nothing_behind(tmp_path: Path) -> None:
    publish(tmp_path, "first")
    registry, rng = FolderRegistry(tmp_path), random.Random(0)
    trainers = [start_trainer(tmp_path, f"killed{number}", turns=100_000) for number in range(6)]
    assert all(at_work.wait(WAIT_S) for _process, at_work in trainers)
    for process, _at_work in trainers:
        for _ in range(rng.randrange(20)):
            look(registry)
        process.kill()
        wait(process)
    for path in (tmp_path / "versions").iterdir():
        assert registry.load(path.name).manifest.version == path.name
    publish(tmp_path, "last")
    assert (look(registry), leftovers(tmp_path)) == ("last", [])


def test_what_a_killed_writer_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    publish(tmp_path, "v1")
    for name in (".staging-x", ".removed-x"):
        (tmp_path / name / "inner").mkdir(parents=True)
        (tmp_path / name / "inner" / "file").write_text("half")
    (tmp_path / ".new-CURRENT-x").write_text("{")
    FolderRegistry(tmp_path).promote("v1")
    assert not leftovers(tmp_path)


def test_what_a_writer_at_work_has_begun_is_left_alone(tmp_path: Path) -> None:
    with hold_lock(tmp_path):
        (tmp_path / ".staging-x").mkdir()
        waiting, _at_work = start_trainer(tmp_path, "waiting", turns=1)
        wait_until(lambda: blocked(waiting.pid), "it waits for the lock")
        assert (tmp_path / ".staging-x").is_dir()
    assert wait(waiting) == 0
    assert not leftovers(tmp_path)


def blocked(pid: int | None) -> bool:
    """Return whether a process waits for a lock, which /proc/locks marks with an arrow."""
    return any("->" in line and f" {pid} " in line for line in Path("/proc/locks").read_text().splitlines())


def test_a_version_replaces_only_the_one_that_it_was_compared_with(tmp_path: Path) -> None:
    registry = FolderRegistry(tmp_path)
    registry.release(make_manifest("v1"), TENSORS, instead_of=None)
    with pytest.raises(CurrentMoved, match="version v1 is in service by now, not None"):
        registry.release(make_manifest("v2"), TENSORS, instead_of=None)
    registry.release(make_manifest("v3"), TENSORS, instead_of="v1")
    with pytest.raises(CurrentMoved, match="version v3 is in service by now, not v1"):
        registry.release(make_manifest("v4"), TENSORS, instead_of="v1")
    registry.release(make_manifest("v5"), TENSORS)
    assert [m.version for m in registry.list_versions()] == ["v1", "v3", "v5"], "nothing is stored of what came too late"
    assert registry.read_current() == "v5"


def test_an_encoder_that_cannot_be_copied_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "source" / "gone").symlink_to("nowhere")
    assert weights_sha256(tmp_path / "source")
    with pytest.raises(RegistryError, match="cannot be written"):
        FolderRegistry(tmp_path / "registry").add_encoder(tmp_path / "source")
    assert not leftovers(tmp_path / "registry")
