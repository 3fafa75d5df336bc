"""A training run publishes a model of its data and prints one line of JSON; the same seed gives the same model."""

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import normalize

from consumer.model.encoder_folder import DEFAULT_ENCODER, DEFAULT_ENCODER_SHA256
from consumer.registry.artifact import Artifact
from consumer.registry.folder import FolderRegistry
from consumer.registry.loader import ScorerLoader
from schemas.artifact import Category
from tests.support.command_line import Cli
from tests.support.tiny_model import LetterEncoder
from tests.support.training_data import ALTERNATE, OCCUPATIONS, POSTINGS, write_encoder, write_postings, write_release
from trainer.__main__ import main
from trainer.data.onet import read_taxonomy
from trainer.fit.calibration import NEVER
from trainer.fit.category_embeddings import EmbeddedRows
from trainer.fit.inputs import FitInputs, Titles
from trainer.fit.model import fit_model
from trainer.options import Finetuning, FitOptions, TrainOptions, describe_options

METHODS = ("direct", "mean", "hinge", "softmax")
Train = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Arguments that name a small encoder, release and file of postings."""
    folder = tmp_path_factory.mktemp("tiny")
    release, encoder = write_release(folder / "release"), write_encoder(folder / "encoder")
    postings = write_postings(folder / "postings.csv")
    return ["--postings", str(postings), "--onet", str(release), "--encoder", str(encoder), "--device", "cpu"]


@pytest.fixture
def train(tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Train:
    """Train in this process into `tmp_path`; returns what was printed, with standard error under `report`."""

    def run(*arguments: str, rows: Sequence[tuple[str, str]] | None = None) -> dict[str, Any]:
        given = [*tiny, "--registry", str(tmp_path), *arguments]
        if rows is not None:
            given += ["--postings", str(write_postings(tmp_path / "rows.csv", rows))]
        status = main(["train", *given])
        out, err = capsys.readouterr()
        assert status == 0, err
        assert out.count("\n") == 1
        return {**json.loads(out), "report": err}

    return run


def embeddings(registry: Path, version: str) -> torch.Tensor:
    return FolderRegistry(registry).load(version).tensors.title


def test_the_starter_data_make_a_model_of_the_whole_taxonomy(starter_registry: Path) -> None:
    registry = FolderRegistry(starter_registry)
    artifact: Artifact = registry.load(registry.read_current() or "")
    known = [(category.onet_code, category.onet_title) for category in read_taxonomy(None).categories]
    assert [(category.onet_code, category.onet_title) for category in artifact.tensors.categories] == known
    assert sum(category.postings for category in artifact.tensors.categories) == artifact.manifest.training["rows"]
    assert (artifact.manifest.encoder.id, artifact.manifest.encoder.sha256) == (DEFAULT_ENCODER, DEFAULT_ENCODER_SHA256)
    assert torch.allclose(artifact.tensors.title.norm(dim=1), torch.ones(1_016), atol=1e-5)
    assert len(artifact.tensors.title.unique(dim=0)) == 1_016
    metrics = artifact.manifest.metrics
    assert 0.3 < metrics["top_1"] < metrics["top_3"] < metrics["top_5"] < 1
    assert len({golden.onet_code[:2] for golden in artifact.manifest.golden}) == len(artifact.manifest.golden) >= 20
    files = {path.name for path in (starter_registry / "versions" / artifact.manifest.version).iterdir()}
    assert files == {"manifest.json", "categories.json", "titles.json", "embeddings.safetensors"}


def test_two_trainers_at_once_with_one_seed_publish_the_same_model_twice(
    cli: Cli, tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("trainer", "train", *tiny, "--registry", str(tmp_path), "--seed", "3")
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda _: cli(*arguments), range(2)))
    assert [r.returncode for r in results] == [0, 0], results
    summaries = [json.loads(r.stdout.splitlines()[-1]) for r in results]
    first, second = (summary["version"] for summary in summaries)
    one, other = (FolderRegistry(tmp_path).load(version) for version in (first, second))
    assert torch.equal(one.tensors.title, other.tensors.title)
    assert (one.tensors.titles, one.manifest.mix) == (other.tensors.titles, other.manifest.mix)
    assert one.manifest.line_encoder == other.manifest.line_encoder, "token vectors, too, are one seed's"
    assert summaries[0]["metrics"] == summaries[1]["metrics"]
    pointer = json.loads((tmp_path / "CURRENT").read_text())
    assert {pointer["version"], *pointer["previous"]} == {first, second}
    assert main(["list", "--registry", str(tmp_path)]) == 0
    listed = capsys.readouterr().out
    assert all(text in listed for text in (first, second, "* in service"))


@pytest.mark.parametrize("method", METHODS)
def test_the_last_line_says_what_was_published(method: str, train: Train, tmp_path: Path) -> None:
    printed = train("--method", method)
    assert FolderRegistry(tmp_path).read_current() == printed["version"]
    assert (printed["method"], printed["categories"], printed["rows"]) == (method, len(OCCUPATIONS), len(POSTINGS))
    assert {"top_1", "top_3", "top_5", "macro_top_1"} <= set(printed["metrics"])
    assert printed["seconds"] >= 0
    manifest = FolderRegistry(tmp_path).load(printed["version"]).manifest
    assert manifest.metrics == printed["metrics"]
    assert f"published version {printed['version']}" in printed["report"]


@pytest.mark.parametrize("method", ["hinge", "softmax"])
def test_one_seed_makes_one_model_and_another_seed_another(method: str, train: Train, tmp_path: Path) -> None:
    made = [embeddings(tmp_path, train("--method", method, "--seed", seed)["version"]) for seed in ("5", "5", "6")]
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


@pytest.mark.parametrize("method", METHODS)
def test_a_category_without_a_posting_is_found_by_its_name(
    method: str, train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.prepare.load_encoder", lambda *_, **__: LetterEncoder())
    made = embeddings(tmp_path, train("--method", method, "--epochs", "40")["version"])
    assert int((LetterEncoder().encode([OCCUPATIONS["53-3032.00"]]) @ made.T).argmax()) == 3


@pytest.mark.parametrize("method", METHODS)
def test_a_category_without_postings_takes_none_from_those_that_have_them(method: Any) -> None:
    """As with real titles, all vectors lie in one narrow cone, so that any name is somewhat like any title."""
    directions = normalize(torch.randn(81 + 240, 384, generator=torch.Generator().manual_seed(0)), dim=1)
    centres = normalize(1.5 * directions[:1] + directions[1:81], dim=1)  # 40 categories with postings, 40 without
    labels = torch.arange(240) % 40
    titles = normalize(centres[labels] + 0.7 * directions[81:], dim=1)
    categories = tuple(Category(onet_code=f"11-{i:04d}.00", onet_title=f"{i}") for i in range(80))
    names = [category.onet_title for category in categories]
    onet = Titles(names, names, EmbeddedRows(centres, torch.arange(80), torch.full((80,), 0.3)), LetterEncoder.ref.sha256)
    inputs = FitInputs("", categories, onet, LetterEncoder(), "letters", None, Path())
    texts = [f"title {i}" for i in range(240)]
    postings = Titles(texts, texts, EmbeddedRows(titles, labels, torch.ones(240)), LetterEncoder.ref.sha256)
    model = fit_model(postings, inputs, FitOptions(method=method), "")
    made = model.tensors.title
    assert ((titles @ made.T).argmax(dim=1) == labels).float().mean() > 0.95


def test_publishing_without_promotion_waits_for_promote_and_rollback_undoes_it(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = FolderRegistry(tmp_path)
    first, second = train("--method", "mean")["version"], train("--method", "direct", "--no-promote")["version"]
    assert registry.read_current() == first
    assert main(["promote", second, "--registry", str(tmp_path)]) == 0
    assert registry.read_current() == second
    assert main(["rollback", "--registry", str(tmp_path)]) == 0
    assert registry.read_current() == first
    assert capsys.readouterr().out == f"version {second} is in service\nversion {first} is in service again\n"


def test_a_version_without_held_out_rows_replaces_no_version_in_service(train: Train, tmp_path: Path) -> None:
    alone = train("--split", "time", "--method", "mean")
    assert "a time split needs dates such as 2025-06-30 in POSTED" in alone["report"]
    assert FolderRegistry(tmp_path).read_current() == alone["version"], "better than none"
    second = train("--split", "time", "--method", "mean")
    assert f"version {alone['version']} stays in service" in second["report"]
    assert FolderRegistry(tmp_path).read_current() == alone["version"]
    judged = train("--method", "mean")
    assert FolderRegistry(tmp_path).read_current() == judged["version"]


@pytest.mark.parametrize(
    "rows",
    [
        [("Nurse", "29-1141.00")],
        [(f"Nurse {place}", "29-1141.00") for place in "abcdefgh"],
        [("Nurse", "29-1141.00"), ("Nurse", "35-2014.00")],
        [("Nurse", "29-1141.00")] * 3,
        [("n" * 100_000, "29-1141.00"), ("\U0001f469\u200d\U0001f373", "35-2014.00")],
    ],
    ids=["one row", "one category", "one title, two labels", "one title, three times", "strange titles"],
)
@pytest.mark.parametrize("method", METHODS)
def test_little_data_make_a_model_that_promises_nothing(
    method: str, rows: list[tuple[str, str]], train: Train, tmp_path: Path
) -> None:
    printed = train("--method", method, "--epochs", "1", rows=rows)
    assert printed["rows"] == len(rows)
    assert FolderRegistry(tmp_path).load(printed["version"]).manifest.calibration.new.accept_at == NEVER


@pytest.mark.parametrize("split", ["random", "title"])
def test_the_asked_share_is_held_out_and_measured_on(split: str, train: Train) -> None:
    printed = train("--split", split, "--holdout", "0.5", "--method", "mean")
    assert printed["metrics"]["rows"] == pytest.approx(len(POSTINGS) / 2, abs=3)


def test_rows_left_out_are_reported_with_their_first_place(train: Train) -> None:
    rows = [*POSTINGS, ("Nurse", "Unclassified"), ("", "29-1141.00"), ("Nurse", "99-1111.00")]
    printed = train("--method", "direct", rows=rows)
    assert printed["rows"] == len(POSTINGS)
    for line in (
        "reject examples: 1 rows labelled Unclassified",
        "1 rows with no title",
        "row 82 (99-1111.00); --new-categories keeps",
    ):
        assert line in printed["report"]


@pytest.mark.parametrize(("limit", "used"), [("1", 3), ("2", 4), ("60", 5)])
def test_of_every_category_so_many_onet_titles_are_used_and_its_name(limit: str, used: int, train: Train, tmp_path: Path) -> None:
    assert sum(map(len, ALTERNATE.values())) + 1 == 5  # and one reported title
    manifest = FolderRegistry(tmp_path).load(train("--method", "mean", "--onet-titles", limit)["version"]).manifest
    assert manifest.training["onet_rows"] == len(OCCUPATIONS) + used


def test_the_manifest_tells_enough_to_train_again(train: Train, tiny: list[str], tmp_path: Path) -> None:
    training = FolderRegistry(tmp_path).load(train("--seed", "4", "--epochs", "2")["version"]).manifest.training
    given = {"postings": [tiny[1]], "onet": tiny[3], "encoder": tiny[5], "method": "softmax", "seed": 4, "epochs": 2}
    assert {name: training[name] for name in given} == given
    assert {*TrainOptions.__dataclass_fields__, *FitOptions.__dataclass_fields__} - {"fit"} <= set(training)
    assert "fit" not in training


@pytest.mark.parametrize("left_out", [(), ("line",), ("exemplars", "known"), ("exemplars", "line", "known", "head")])
def test_a_consumer_loads_what_was_trained_without_the_parts_left_out(
    left_out: tuple[str, ...], train: Train, tiny: list[str], tmp_path: Path
) -> None:
    registry = FolderRegistry(tmp_path)
    artifact = registry.load(train("--without", *left_out)["version"])
    manifest = artifact.manifest
    assert (manifest.line_encoder is None) == ("line" in left_out)
    assert (manifest.exemplars is None) == ("exemplars" in left_out)
    assert (manifest.mix.known_prior is None) == ("known" in left_out)
    assert (manifest.mix.head_weight == 0) == ("head" in left_out)
    assert bool(artifact.tensors.titles) == (not {"exemplars", "known", "head"} <= {*left_out})
    scored = ScorerLoader(registry, encoder=tiny[5], device="cpu").load(manifest.version).score(["Nurse A"])[0]
    assert scored.evidence.exact_title == bool(artifact.tensors.titles)
    assert bool(scored.evidence.nearest) == ("exemplars" not in left_out)


def test_a_bound_on_exemplars_leaves_the_table_of_titles_whole(train: Train, tmp_path: Path) -> None:
    tensors = FolderRegistry(tmp_path).load(train("--max-exemplars", "7")["version"]).tensors
    assert tensors.exemplars is not None
    assert len(tensors.exemplars) == 7 < len(tensors.titles)


def test_an_option_within_an_option_need_not_be_utf_8_either() -> None:
    fit = FitOptions(finetune=Finetuning(Path(os.fsdecode(b"f\xff"))))
    described = describe_options(TrainOptions(postings=[], onet=None, registry=Path(), fit=fit))
    assert described["finetune"] == {"folder": "f\ufffd", "epochs": 2}


def test_a_file_name_need_not_be_utf_8(train: Train, tiny: list[str], tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.csv")
    Path(path).write_bytes(Path(tiny[1]).read_bytes())
    assert train("--method", "direct", "--postings", path)["rows"] == len(POSTINGS)


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_body_of_50_megabytes_is_no_reason_to_stop(ending: str, train: Train, tmp_path: Path) -> None:
    path, body = tmp_path / f"long.{ending}", "x" * 50_000_000
    columns = ("TITLE_RAW", "ONET", "BODY")
    rows = [(*POSTINGS[0], body), *((*row, "short") for row in POSTINGS[1:])]
    if ending == "csv":
        write_postings(path, rows, columns=columns)
    else:
        path.write_text("".join(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in rows))
    printed = train("--method", "direct", "--postings", str(path))
    assert printed["rows"] == len(POSTINGS)
    assert "cut: 1 rows with a body of more than 20,000 characters, first at long." in printed["report"]
    path.unlink()


def test_titles_that_experts_disagree_on_are_reported(train: Train) -> None:
    rows = [*POSTINGS, ("Nurse A", "35-2014.00"), ("nurse  a", "11-1011.00")]
    assert "1 titles have more than one code, most: 'nurse a' with 3" in train("--method", "direct", rows=rows)["report"]
