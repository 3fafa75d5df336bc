"""A version is published only if it passes the consumer's own check; it is stored completely or not at all."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from consumer.errors import ArtifactError
from consumer.model.encoder_folder import weights_sha256
from consumer.model.mixture import Tensors
from consumer.registry.folder import FolderRegistry
from schemas.artifact import Category, GoldenTitle, KnownTitle, Mix
from tests.support.tiny_model import CALIBRATION, CATEGORIES, TENSORS, LetterEncoder, LineEncoder, all_parts, all_tensors
from trainer.fit.category_embeddings import EmbeddedRows
from trainer.fit.encoders import Encoders
from trainer.fit.inputs import Titles
from trainer.fit.model import Model
from trainer.measure.golden_titles import golden_titles
from trainer.publish import make_manifest, make_scorer, publish

GOLDEN = tuple(GoldenTitle(title=c.onet_title, onet_code=c.onet_code, score=1.0) for c in CATEGORIES)
ENCODER = LetterEncoder()


def make_model(tensors: Tensors) -> Model:
    return Model("test", tensors, Encoders(ENCODER), Mix(known_prior=1.0), None, CALIBRATION)


MODEL = make_model(TENSORS)


def choose_golden(titles: list[str], labels: list[int], model: Model = MODEL) -> list[tuple[str, str]]:
    rows = EmbeddedRows(ENCODER.encode(titles), torch.tensor(labels), torch.ones(len(titles)))
    golden = golden_titles(model, Titles(titles, titles, rows, ENCODER.ref.sha256))
    return [(g.onet_code, g.title) for g in golden]


def test_there_is_one_golden_title_per_major_group_by_the_widest_margin() -> None:
    titles = ["Registered Nurses", "Registered Nurse", "Heavy Truck Drivers", "Cooks, Restaurant"]
    assert choose_golden(titles, [0, 0, 2, 1]) == [
        ("29-1141.00", "Registered Nurses"),
        ("35-2014.00", "Cooks, Restaurant"),
        ("53-3032.00", "Heavy Truck Drivers"),
    ]
    assert choose_golden(titles[:2], [0, 0]) == [("29-1141.00", "Registered Nurses")]


def test_two_occupations_of_one_major_group_share_a_golden_title() -> None:
    categories = (*CATEGORIES[:2], Category(onet_code="35-1011.00", onet_title="Chefs"))
    encoded = ENCODER.encode([c.onet_title for c in categories])
    model = make_model(Tensors(categories, encoded))
    assert [code[:2] for code, _ in choose_golden(["Registered Nurses", "Cooks, Restaurant", "Chefs"], [0, 1, 2], model)] == [
        "29",
        "35",
    ]


def test_a_wrongly_answered_title_is_never_golden() -> None:
    assert choose_golden(["Registered Nurses", "Cooks, Restaurant"], [1, 1]) == [("35-2014.00", "Cooks, Restaurant")]
    with pytest.raises(ValueError, match="gets none of its own training titles right"):
        choose_golden(["Registered Nurses"], [1])
    met = KnownTitle(title="Registered Nurses", category=2, weight=1_000)
    other_parts_say_drivers = make_model(replace(TENSORS, titles=(met,)))
    assert choose_golden(["Registered Nurses", "Cooks, Restaurant"], [0, 1], other_parts_say_drivers) == [
        ("35-2014.00", "Cooks, Restaurant")
    ]


@pytest.mark.parametrize("promote", [True, False])
def test_a_version_is_stored_and_in_service_only_if_asked(promote: bool, tmp_path: Path) -> None:
    registry = FolderRegistry(tmp_path)
    manifest = publish(registry, MODEL, make_manifest(MODEL, golden=GOLDEN), promote=promote)
    assert registry.read_current() == (manifest.version if promote else None)
    artifact = registry.load(manifest.version)
    assert (artifact.manifest, artifact.tensors.categories) == (manifest, CATEGORIES)
    assert torch.equal(artifact.tensors.title, MODEL.tensors.title)


def test_an_encoder_that_only_this_model_has_is_kept_with_it(tmp_path: Path) -> None:
    (tmp_path / "line").mkdir()
    (tmp_path / "line" / "model.safetensors").write_bytes(b"weights")
    parts = all_parts()
    line: Any = LineEncoder()
    model = Model(
        "test",
        all_tensors(),
        Encoders(ENCODER, line, None, (tmp_path / "line",)),
        parts["mix"],
        parts["exemplars"],
        CALIBRATION,
    )
    registry = FolderRegistry(tmp_path / "registry")
    manifest = publish(registry, model, make_manifest(model, golden=GOLDEN), promote=True)
    assert (manifest.line_encoder, manifest.exemplars) == (LineEncoder.ref, parts["exemplars"])
    assert (registry.find_encoder(weights_sha256(tmp_path / "line")) or Path()).joinpath("model.safetensors").is_file()


@pytest.mark.parametrize(
    ("golden", "complaint"),
    [
        ((), "has no golden titles"),
        ((GOLDEN[0].model_copy(update={"onet_code": "35-2014.00"}),), "fails on golden title 'Registered Nurses'"),
        ((GOLDEN[0].model_copy(update={"score": 0.5}),), "fails on golden title"),
    ],
)
def test_what_a_consumer_would_refuse_is_not_stored(golden: tuple[GoldenTitle, ...], complaint: str, tmp_path: Path) -> None:
    registry = FolderRegistry(tmp_path / "registry")
    with pytest.raises(ArtifactError, match=complaint):
        publish(registry, MODEL, make_manifest(MODEL, golden=golden), promote=True)
    assert not (tmp_path / "registry").exists()


def test_versions_made_in_one_second_differ_and_name_their_encoder() -> None:
    manifests = [make_manifest(MODEL) for _ in range(20)]
    assert len({m.version for m in manifests}) == 20
    assert {m.encoder for m in manifests} == {ENCODER.ref}
    assert [m.version[:16] for m in manifests] == sorted(m.version[:16] for m in manifests)


def test_a_candidate_is_scored_as_it_will_be_served() -> None:
    scored = make_scorer(MODEL, top_n=2).score(["registered  nurses"])[0]
    assert [m.rank for m in scored.occupations] == [1, 2]
    assert scored.occupations[0].onet_code == "29-1141.00"
