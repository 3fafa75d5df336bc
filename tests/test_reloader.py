"""A new version is taken up between batches; whatever is wrong with it, the model in service stays."""

import dataclasses
import functools
import json
import shutil
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from safetensors.torch import load_file, save_file

from consumer.encoder import file_sha256
from consumer.errors import BackgroundFailed, EncoderError
from consumer.metrics import Metrics
from consumer.mixture import AS_TRAINED, Part, Switches, Tensors
from consumer.registry import FolderRegistry
from consumer.reloader import Reloader, ScorerLoader, wait_for_version
from schemas.artifact import CATEGORIES as CATEGORIES_FILE
from schemas.artifact import EMBEDDINGS, MANIFEST, GoldenTitle
from schemas.artifact import TITLES as TITLES_FILE
from tests.factories import (
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
    return {
        o: int(counter.labels(o)._value.get()) for o in ("loaded", "refused", "unavailable") if counter.labels(o)._value.get()
    }


def point(root: Path, version: str) -> None:
    """Move the pointer with none of the checks that `promote` makes."""
    (root / "CURRENT").write_text(json.dumps({"version": version, "previous": []}))


def rewrite_manifest(folder: Path, **changes: object) -> None:
    """Digests are made anew, so that only the change itself is wrong."""
    fields = json.loads((folder / MANIFEST).read_text())
    fields["files"] = {name: file_sha256(folder / name) for name in (CATEGORIES_FILE, TITLES_FILE, EMBEDDINGS)}
    (folder / MANIFEST).write_text(json.dumps({**fields, **changes}))


def replace_embeddings(folder: Path, embeddings: torch.Tensor | None, name: str = "title") -> None:
    """Store another tensor under `name`, or none."""
    stored = {**load_file(folder / EMBEDDINGS), name: embeddings}
    save_file({key: tensor.contiguous() for key, tensor in stored.items() if tensor is not None}, folder / EMBEDDINGS)
    rewrite_manifest(folder)


def replace_titles(folder: Path, text: str) -> None:
    (folder / TITLES_FILE).write_text(text)
    rewrite_manifest(folder)


def rename_embeddings(folder: Path) -> None:
    save_file({"weights": category_embeddings()}, folder / EMBEDDINGS)
    rewrite_manifest(folder)


def replace_categories(folder: Path, text: str) -> None:
    (folder / CATEGORIES_FILE).write_text(text)
    rewrite_manifest(folder)


def no_categories(folder: Path) -> None:
    (folder / CATEGORIES_FILE).write_text("[]")
    replace_embeddings(folder, torch.zeros(0, 27))


def flip_a_byte(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1  # what only a digest can tell
    path.write_bytes(raw)


ALL = all_parts()
ALL |= {"body_encoder": BodyEncoder.ref, "mix": ALL["mix"].model_copy(update={"body_weight": 4.0})}
ALL |= {"calibration": CALIBRATION.model_copy(update={"body": DECIDE})}
LINE = LineEncoder.ref.model_dump()
NOWHERE = {**LINE, "id": "token vectors of this version", "sha256": "ab" * 32}
WELL = '[["Cook", 1, 1], ["Nurse", 0, 1], ["Driver", 2, 1], '
PARTS: tuple[Part, ...] = ("line", "exemplars", "body")
FAULTS: dict[str, Callable[[torch.Tensor], torch.Tensor | None]] = {
    "missing": lambda _: None,
    "a row too few": lambda tensor: tensor[:-1],
    "a column too few": lambda tensor: tensor[:, :-1],
    "one row instead of a matrix": lambda tensor: tensor[0],
    "NaN": lambda tensor: tensor * float("nan"),
    "of length zero": lambda tensor: tensor * 0,
}


def every_tensor() -> Tensors:
    return dataclasses.replace(all_tensors(), body=category_embeddings())


def mixed(**weights: float) -> dict[str, float]:
    return {**ALL["mix"].model_dump(), **weights}


def replace_part(part: str, change: Callable[[torch.Tensor], torch.Tensor | None], folder: Path) -> None:
    replace_embeddings(folder, change(getattr(every_tensor(), part)), part)


BROKEN: dict[str, Callable[[Path], object]] = {
    "no folder": shutil.rmtree,
    "no manifest": lambda f: (f / MANIFEST).unlink(),
    "manifest cut short": lambda f: (f / MANIFEST).write_bytes((f / MANIFEST).read_bytes()[:100]),
    "manifest is a folder": lambda f: ((f / MANIFEST).unlink(), (f / MANIFEST).mkdir()),
    "manifest of a later format": lambda f: rewrite_manifest(f, format=3),
    "manifest of an earlier format": lambda f: rewrite_manifest(f, format=1),
    "manifest of another version": lambda f: rewrite_manifest(f, version="v3"),
    "manifest lists no files": lambda f: rewrite_manifest(f, files={}),
    "manifest without calibration": lambda f: rewrite_manifest(f, calibration=None),
    "no embeddings": lambda f: (f / EMBEDDINGS).unlink(),
    "embeddings cut short": lambda f: (f / EMBEDDINGS).write_bytes((f / EMBEDDINGS).read_bytes()[:-1]),
    "one bit of embeddings": lambda f: flip_a_byte(f / EMBEDDINGS),
    "one bit of categories": lambda f: flip_a_byte(f / CATEGORIES_FILE),
    "embeddings are no safetensors": lambda f: ((f / EMBEDDINGS).write_bytes(b"pickle"), rewrite_manifest(f)),
    "embeddings under another name": rename_embeddings,
    "embeddings with NaN": lambda f: replace_embeddings(f, category_embeddings() * float("nan")),
    "embeddings of length zero": lambda f: replace_embeddings(f, torch.zeros(3, 27)),
    "a row too few": lambda f: replace_embeddings(f, category_embeddings()[:2]),
    "a column too few": lambda f: replace_embeddings(f, category_embeddings()[:, :26]),
    "rows in another order": lambda f: replace_embeddings(f, category_embeddings().flip(0)),
    "categories are no JSON": lambda f: replace_categories(f, "["),
    "categories are no list": lambda f: replace_categories(f, "5"),
    "a category without code": lambda f: replace_categories(f, '[{"onet_title": "Cooks"}]'),
    "dimensions of another encoder": lambda f: rewrite_manifest(f, encoder={**LetterEncoder.ref.model_dump(), "dim": 9}),
    "an encoder that is nowhere": lambda f: rewrite_manifest(
        f, encoder={**LetterEncoder.ref.model_dump(), "id": "no such/en coder", "sha256": "1"}
    ),
    "another template": lambda f: rewrite_manifest(f, template="title-v0"),
    "no golden titles": lambda f: rewrite_manifest(f, golden=[]),
    "a golden title it gets wrong": lambda f: rewrite_manifest(
        f, golden=[GoldenTitle(title="Cooks, Restaurant", onet_code="29-1141.00", score=1.0).model_dump()]
    ),
    "no categories at all": no_categories,
    "no title table": lambda f: (f / TITLES_FILE).unlink(),
    "title table cut short": lambda f: (f / TITLES_FILE).write_bytes((f / TITLES_FILE).read_bytes()[:-9]),
    "one bit of the title table": lambda f: flip_a_byte(f / TITLES_FILE),
    "manifest lists no title table": lambda f: rewrite_manifest(f, files={n: file_sha256(f / n) for n in (EMBEDDINGS,)}),
    "title table is no JSON": lambda f: replace_titles(f, "["),
    "title table is too deep": lambda f: replace_titles(f, "[" * 200_000),
    "title table is no list": lambda f: replace_titles(f, "5"),
    "a title of two columns": lambda f: replace_titles(f, '[["Cook", 1]]'),
    "a title of a category out of range": lambda f: replace_titles(f, f'{WELL}["Cook", 3, 1]]'),
    "a title of a negative category": lambda f: replace_titles(f, f'{WELL}["Cook", -1, 1]]'),
    "a title that weighs NaN": lambda f: replace_titles(f, f'{WELL}["Cook", 1, NaN]]'),
    "a title that weighs nothing": lambda f: replace_titles(f, f'{WELL}["Cook", 1, 0]]'),
    "fewer titles than exemplars": lambda f: replace_titles(f, '[["Cook", 1, 1], ["Chef", 1, 1]]'),
    "mix without weights": lambda f: rewrite_manifest(f, mix={"title_weight": 0, "exemplar_weight": 0, "line_weight": 0}),
    "mix of NaN": lambda f: rewrite_manifest(f, mix={**ALL["mix"].model_dump(), "scale": float("nan")}),
    **{f"{part}: {fault}": functools.partial(replace_part, part, change) for part in PARTS for fault, change in FAULTS.items()},
    "encoder of lines that is nowhere": lambda f: rewrite_manifest(f, line_encoder={**NOWHERE, "dim": 27}),
    "encoder of bodies that is nowhere": lambda f: rewrite_manifest(f, body_encoder={**NOWHERE, "dim": 27}),
    "encoder of bodies of other dimensions": lambda f: rewrite_manifest(
        f, body_encoder={**BodyEncoder.ref.model_dump(), "dim": 9}
    ),
    "a weight beyond all floats": lambda f: rewrite_manifest(f, mix=mixed(body_weight=1e39)),
    "a scale beyond all floats": lambda f: rewrite_manifest(f, mix=mixed(body_scale=1e39)),
    "a sharpness beyond all floats": lambda f: rewrite_manifest(
        f, calibration=CALIBRATION.model_copy(update={"body": DECIDE.model_copy(update={"sharpness": 1e39})}).model_dump()
    ),
    "a vote that divides by nothing": lambda f: rewrite_manifest(
        f, exemplars={**ALL["exemplars"].model_dump(), "temperature": 1e-60}
    ),
    "encoder of lines of other dimensions": lambda f: rewrite_manifest(f, line_encoder={**LINE, "dim": 9}),
}


@pytest.mark.parametrize("damage", BROKEN)
def test_a_broken_artifact_never_replaces_a_good_one(damage: str, tmp_path: Path) -> None:
    publish(tmp_path, "v1")
    BROKEN[damage](publish(tmp_path, "v2", promote=False, tensors=every_tensor(), **ALL))
    point(tmp_path, "v2")
    reloader = make_reloader(tmp_path)
    for _ in range(3):
        reloader.look()
    assert reloader.take() is None
    assert outcomes(reloader) == {"refused": 1}, "refused once, not tried again until the pointer moves"
    publish(tmp_path, "v3", tensors=every_tensor(), **ALL)
    reloader.look()
    scorer = reloader.take()
    assert scorer
    assert scorer.version == "v3", "the next good version is taken up"


@pytest.mark.parametrize("pointer", ["", "{", '{"version": 5, "previous": 5}', "[]"])
def test_a_broken_pointer_keeps_the_model_until_it_is_mended(pointer: str, tmp_path: Path) -> None:
    publish(tmp_path, "v1")
    publish(tmp_path, "v2", promote=False)
    (tmp_path / "CURRENT").write_text(pointer)
    reloader = make_reloader(tmp_path)
    reloader.look()
    assert (reloader.take(), outcomes(reloader)) == (None, {"unavailable": 1})
    point(tmp_path, "v2")
    reloader.look()
    assert (scorer := reloader.take())
    assert scorer.version == "v2"


@pytest.mark.parametrize("version", ["../v2", "", "/", "v2/", "x" * 300])
def test_a_pointer_to_what_is_no_version_name_is_not_followed(version: str, tmp_path: Path) -> None:
    publish(tmp_path, "v1")
    publish(tmp_path, "v2")
    point(tmp_path, version)
    reloader = make_reloader(tmp_path)
    reloader.look()
    assert (reloader.take(), outcomes(reloader)) == (None, {"unavailable": 1})


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

    monkeypatch.setattr("consumer.reloader.load_encoder", load_encoder)
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
    rewrite_manifest(registry.root / "versions" / version, encoder={**manifest.encoder.model_dump(), "sha256": "ab" * 32})
    with pytest.raises(EncoderError, match="made with another encoder than 'sentence-transformers/all-MiniLM-L6-v2'"):
        ScorerLoader(registry, device="cpu").load(version)


def test_waiting_for_a_first_version_ends_with_it_with_the_time_or_with_the_stop() -> None:
    stop, answers = threading.Event(), iter([None, "v1"])
    assert wait_for_version(lambda: next(answers), timeout_s=60, stop=stop) == "v1"
    assert wait_for_version(lambda: None, timeout_s=0, stop=stop) is None
    stop.set()
    assert wait_for_version(lambda: None, timeout_s=60, stop=stop) is None
