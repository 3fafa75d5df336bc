"""Whatever is done to a version or to the pointer: it is refused, the reason is counted, and the model in service serves on."""

import gc
import json
import os
import pickle
import random
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from consumer.errors import REASONS, ArtifactError
from consumer.model.serving_options import AS_TRAINED, ServingOptions
from consumer.registry.artifact import CHECKSUM, MAX_BYTES, checksum
from consumer.registry.folder import FolderRegistry
from consumer.registry.loader import ScorerLoader
from consumer.registry.pointer import MAX_POINTER_BYTES
from faults.tampering import ALL_FILES, Damage, content, cut, flip, lie, moved_out, point, replaced, sign, sparse, tensor
from schemas.artifact import CATEGORIES, EMBEDDINGS, MANIFEST, TITLES, GoldenTitle
from tests.support.brokers import wait_until
from tests.support.tiny_model import (
    THRESHOLDS,
    BodyEncoder,
    LetterEncoder,
    LineEncoder,
    ReloaderWithMetrics,
    category_embeddings,
    load_tiny_encoder,
    parts_with_body,
    publish,
    tensors_with_body,
    tiny_scorer,
)

ALL = parts_with_body()
TITLE, LINE, BODY = (kind.ref.model_dump() for kind in (LetterEncoder, LineEncoder, BodyEncoder))
DEEP = "[" * 200_000
CATEGORY = '{"onet_code": "%s", "onet_title": "%s"}'
NURSE, COOK, DRIVER = (CATEGORY % pair for pair in (("29-1141.00", "N"), ("35-2014.00", "C"), ("53-3032.00", "D")))
WELL = '[["Cook", 1, 1], ["Nurse", 0, 1], ["Driver", 2, 1], '


def good(root: Path, version: str, *, promote: bool = True) -> Path:
    """A version of every part."""
    return publish(root, version, promote=promote, tensors=tensors_with_body(), **ALL)


def make_reloader(root: Path, *, serving: str = "v1", serving_options: ServingOptions = AS_TRAINED) -> ReloaderWithMetrics:
    """Of a consumer that serves a version."""
    return ReloaderWithMetrics(ScorerLoader(FolderRegistry(root), device="cpu", serving_options=serving_options), serving=serving)


def changed(of: str, **changes: Any) -> dict[str, Any]:
    """A part of the manifest as it is, with some of its fields changed."""
    part: dict[str, Any] = ALL[of].model_dump(mode="json")
    return part | changes


def pickled(marker: Path) -> bytes:
    """A pickle that makes a file when it is loaded."""

    class Payload:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
            return os.mkdir, (str(marker),)

    return pickle.dumps(Payload())


def header(text: str, *, claimed: int | None = None) -> bytes:
    """A safetensors file of a header alone."""
    return (len(text) if claimed is None else claimed).to_bytes(8, "little") + text.encode()


MATRICES: dict[str, tuple[str, Callable[[torch.Tensor], torch.Tensor | None]]] = {
    "missing": ("shape", lambda _: None),
    "a row too few": ("shape", lambda t: t[:-1]),
    "a row too many": ("shape", lambda t: torch.cat((t, t[:1]))),
    "a column too few": ("shape", lambda t: t[:, :-1]),
    "one row instead of a matrix": ("shape", lambda t: t[0]),
    "of whole numbers": ("shape", lambda t: t.to(torch.int64)),
    "NaN": ("not_finite", lambda t: torch.where(torch.arange(len(t))[:, None] == 1, float("nan"), t)),
    "infinite": ("not_finite", lambda t: t / 0),
    "beyond single precision": ("not_finite", lambda t: t * 1e30),
    "a row of zeros": ("zero_row", lambda t: t * (torch.arange(len(t))[:, None] != 1)),
    "rows of length 1.1": ("not_unit", lambda t: t * 1.1),
    "rows of length 1e-3": ("zero_row", lambda t: t * 1e-3),
}
ATTACKS: dict[str, tuple[str, Damage]] = {
    "no folder": ("missing", shutil.rmtree),
    "a file where its folder should be": ("unreadable", lambda f: (shutil.rmtree(f), f.write_text(""))),
    **{f"no {name}": ("missing", replaced(name, lambda _: None)) for name in ALL_FILES},
    **{f"{name} is a folder": ("path", replaced(name, Path.mkdir)) for name in ALL_FILES},
    **{f"{name} is a pipe": ("path", replaced(name, os.mkfifo)) for name in ALL_FILES},
    **{f"{name} leads out of the registry": ("path", moved_out(name)) for name in ALL_FILES},
    **{f"{name} leads to a device": ("path", replaced(name, lambda p: p.symlink_to("/dev/zero"))) for name in ALL_FILES},
    **{f"{name} leads to itself": ("path", replaced(name, lambda p: p.symlink_to(p))) for name in ALL_FILES},
    **{f"{name} is huge": ("too_large", replaced(name, sparse(MAX_BYTES[name] + 1))) for name in ALL_FILES},
    **{f"{name} cut short": ("manifest" if name == MANIFEST else "digest", cut(name, 0.9)) for name in ALL_FILES},
    **{f"{name} is empty": ("manifest" if name == MANIFEST else "digest", cut(name, 0)) for name in ALL_FILES},
    # a manifest that lies
    "manifest of a later format": ("format", lie(format=99)),
    "manifest of an earlier format": ("format", lie(format=2)),
    "manifest of a format that is no number": ("format", lie(format="x" * 10_000)),
    "manifest of another version": ("manifest", lie(version="v3")),
    "manifest of a version that is a path": ("manifest", lie(version="../versions/v2")),
    "manifest lists no files": ("manifest", lie(files={})),
    "manifest lists the digests of another file": ("digest", lie(files=dict.fromkeys(ALL_FILES, "0" * 64))),
    "manifest is too deep": ("manifest", replaced(MANIFEST, lambda p: p.write_text(DEEP))),
    "manifest is a list": ("manifest", replaced(MANIFEST, lambda p: p.write_text("[]"))),
    "manifest is a list of names": ("manifest", replaced(MANIFEST, lambda p: p.write_text('["format"]'))),
    "manifest without checksum": ("digest", lambda f: (f / MANIFEST).write_text('{"format": 3}')),
    "manifest of nothing else": (
        "manifest",
        replaced(MANIFEST, lambda p: p.write_text(json.dumps({"format": 3, CHECKSUM: checksum({"format": 3})}))),
    ),
    "manifest is no UTF-8": ("manifest", replaced(MANIFEST, lambda p: p.write_bytes(b'{"a": "\xff"}'))),
    "trained at no time": ("manifest", lie(trained_at="yesterday")),
    "trained in the year 1, somewhere": ("manifest", lie(trained_at="0001-01-01T00:00:00")),
    "without calibration": ("manifest", lie(calibration=None)),
    "a mix without weights": ("manifest", lie(mix={"title_weight": 0})),
    "a mix of NaN": ("manifest", lie(mix=changed("mix", scale=float("nan")))),
    "a weight beyond all floats": ("manifest", lie(mix=changed("mix", body_weight=1e39))),
    "a scale beyond all floats": ("manifest", lie(mix=changed("mix", body_scale=1e39))),
    "a sharpness beyond all floats": (
        "manifest",
        lie(calibration=changed("calibration", body={**THRESHOLDS.model_dump(), "sharpness": 1e39})),
    ),
    "a vote that divides by nothing": ("golden", lie(exemplars=changed("exemplars", temperature=1e-60))),
    "more exemplars than there are": ("shape", lie(exemplars=changed("exemplars", count=4))),
    "more exemplars than anything": ("manifest", lie(exemplars=changed("exemplars", count=10**30))),
    "a taxonomy of a million characters": ("manifest", lie(taxonomy_version="x" * 1_000_000)),
    "a million golden titles": (
        "manifest",
        lie(golden=[GoldenTitle(title="x", onet_code="29-1141.00", score=1).model_dump()] * 1_001),
    ),
    "another template": ("format", lie(template="title-v0")),
    "no golden titles": ("golden", lie(golden=[])),
    "a golden title it gets wrong": (
        "golden",
        lie(golden=[{"title": "Cooks, Restaurant", "onet_code": "29-1141.00", "score": 1}]),
    ),
    "a golden score it does not reach": (
        "golden",
        lie(golden=[{"title": "Cooks, Restaurant", "onet_code": "35-2014.00", "score": 0.9}]),
    ),
    # another encoder
    "an encoder of other dimensions": ("shape", lie(encoder={**TITLE, "dim": 9})),
    "an encoder of lines of other dimensions": ("shape", lie(line_encoder={**LINE, "dim": 9})),
    "an encoder of bodies of other dimensions": ("shape", lie(body_encoder={**BODY, "dim": 9})),
    "an encoder that is nowhere": ("encoder", lie(encoder={**TITLE, "id": "no such/en coder", "sha256": "1"})),
    "an encoder of lines that is nowhere": (
        "encoder",
        lie(line_encoder={**LINE, "id": "token vectors of this", "sha256": "ab" * 32}),
    ),
    "an encoder whose digest is a path": (
        "encoder",
        lie(encoder={**TITLE, "id": "no such/en coder", "sha256": "../../versions"}),
    ),
    "an encoder whose name is longer than any path": ("encoder", lie(encoder={**TITLE, "id": "x" * 900, "sha256": "1"})),
    "an encoder whose name is a million characters": ("manifest", lie(encoder={**TITLE, "id": "x" * 1_000_000})),
    "an encoder whose name holds a NUL": ("encoder", lie(encoder={**TITLE, "id": "a\0b", "sha256": "1"})),
    "an encoder of no dimensions": ("manifest", lie(encoder={**TITLE, "dim": 0})),
    "an encoder that reads without end": ("manifest", lie(encoder={**TITLE, "max_seq_length": 10**30})),
    # categories
    "categories are no JSON": ("content", content(CATEGORIES, "[")),
    "categories are no list": ("content", content(CATEGORIES, "5")),
    "categories are too deep": ("content", content(CATEGORIES, DEEP)),
    "no categories at all": ("content", content(CATEGORIES, "[]")),
    "a category without code": ("content", content(CATEGORIES, '[{"onet_title": "Cooks"}]')),
    "a category twice": ("content", content(CATEGORIES, f"[{NURSE}, {COOK}, {NURSE}]")),
    "a category missing": ("content", content(CATEGORIES, f"[{NURSE}, {COOK}]")),
    "a category too many": ("shape", content(CATEGORIES, f"[{NURSE}, {COOK}, {DRIVER}, {CATEGORY % ('11-1011.00', 'E')}]")),
    "categories in another order": ("golden", content(CATEGORIES, f"[{COOK}, {NURSE}, {DRIVER}]")),
    "a category of a lone surrogate": (
        "content",
        content(CATEGORIES, f"[{NURSE}, {COOK}, {CATEGORY % ('53-3032.00', chr(92) + 'ud800')}]"),
    ),
    "a category of endless postings": ("content", content(CATEGORIES, f'[{NURSE[:-1]}, "postings": 1{"0" * 400}}}]')),
    # known titles
    "titles are no JSON": ("content", content(TITLES, "[")),
    "titles are too deep": ("content", content(TITLES, DEEP)),
    "titles are no list": ("content", content(TITLES, "5")),
    "a title of two columns": ("content", content(TITLES, '[["Cook", 1]]')),
    "a title of a category out of range": ("content", content(TITLES, f'{WELL}["Cook", 3, 1]]')),
    "a title of a negative category": ("content", content(TITLES, f'{WELL}["Cook", -1, 1]]')),
    "a title that weighs NaN": ("content", content(TITLES, f'{WELL}["Cook", 1, NaN]]')),
    "a title that weighs nothing": ("content", content(TITLES, f'{WELL}["Cook", 1, 0]]')),
    "a title that weighs a number without end": ("content", content(TITLES, f'{WELL}["Cook", 1, 1{"0" * 5_000}]]')),
    "fewer titles than exemplars": ("shape", content(TITLES, '[["Cook", 1, 1], ["Chef", 1, 1]]')),
    # embeddings
    "embeddings are no safetensors": ("content", content(EMBEDDINGS, b"pickle")),
    "a header longer than the file": ("content", content(EMBEDDINGS, header("{}", claimed=2**62))),
    "a header of nothing": ("content", content(EMBEDDINGS, header(""))),
    "a header that is too deep": ("content", content(EMBEDDINGS, header(DEEP))),
    "a header that promises a huge matrix": (
        "content",
        content(EMBEDDINGS, header('{"title": {"dtype": "F32", "shape": [4294967295, 4294967295], "data_offsets": [0, 8]}}')),
    ),
    "a header whose matrices overlap": (
        "content",
        content(
            EMBEDDINGS, header(json.dumps({n: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for n in "ab"})) + b"\0" * 4
        ),
    ),
    "a header of a type that nobody knows": (
        "content",
        content(EMBEDDINGS, header('{"title": {"dtype": "X9", "shape": [1], "data_offsets": [0, 4]}}') + b"\0" * 4),
    ),
    **{
        f"{name}: {what}": (reason, tensor(name, change))
        for name in ("title", "line", "exemplars", "body")
        for what, (reason, change) in MATRICES.items()
    },
    "rows in another order": ("golden", tensor("title", lambda t: t.flip(0))),
}


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
        good(root, version)
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
    assert {reason for reason, _ in ATTACKS.values()} == set(REASONS) - {"pointer"}


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
def test_a_pointer_that_is_none_keeps_the_model_until_it_is_mended(kind: str, root: Path) -> None:
    (root / "CURRENT").unlink()
    POINTERS[kind](root / "CURRENT")
    reloader = make_reloader(root)
    reloader.look()
    assert (reloader.take(), reloader.counts()) == (None, {("unavailable", "pointer"): 1})
    FolderRegistry(root).promote("v2")
    reloader.look()
    assert (scorer := reloader.take())
    assert scorer.version == "v2", "promoting mends it, as its error says"


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
