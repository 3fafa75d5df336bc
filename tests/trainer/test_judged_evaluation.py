"""`evaluate` on judged postings and on sources that were left out, and the weights of sources in every fit."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from consumer.registry.folder import FolderRegistry
from schemas.events import Decision
from schemas.tables import TableError
from tests.support.training_data import POSTINGS, write_encoder, write_postings, write_release
from trainer.__main__ import main
from trainer.fit.inputs import Titles
from trainer.fit.model import Model, fit_model
from trainer.fit.training_texts import collect_body_texts
from trainer.measure.holdout import measure
from trainer.options import FitOptions, TrainOptions, describe_options
from trainer.prepare import prepare
from trainer.report.report import read_json

COLUMNS = ("TITLE_RAW", "ONET", "SOURCE")
ROWS = [(title, code, "city" if number % 2 else "farm") for number, (title, code) in enumerate(POSTINGS)]
JUDGED = """\
title,accept,set
Nurse K,29-1141.00 35-2014.00,plain
Cook Q,35-,plain
CEO B,29-,plain
We are hiring,-,empty
nan,,empty
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Arguments that name a small encoder, release and file of postings of two sources."""
    folder = tmp_path_factory.mktemp("tiny")
    postings = write_postings(folder / "postings.csv", ROWS, columns=COLUMNS)
    release, encoder = write_release(folder / "release"), write_encoder(folder / "encoder")
    return ["--postings", str(postings), "--onet", str(release), "--encoder", str(encoder), "--device", "cpu", "--epochs", "2"]


def options(tiny: Sequence[str], **changes: object) -> TrainOptions:
    _, postings, _, release, _, encoder, *_ = tiny
    given = {"postings": [postings], "onet": Path(release), "registry": Path("unused"), "encoder": encoder, "device": "cpu"}
    return TrainOptions(**{**given, "fit": FitOptions(epochs=1), **changes})


def test_judged_postings_are_reported_by_set_in_the_line_the_json_and_the_page(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judged, figures, page = tmp_path / "judged.csv", tmp_path / "figures.json", tmp_path / "page.html"
    judged.write_text(JUDGED)
    outputs = ["--json", str(figures), "--html", str(page)]
    assert main(["evaluate", *tiny, "--splits", "title", "--judged", str(judged), str(judged), *outputs]) == 0
    rows = json.loads(capsys.readouterr().out)["judged"]
    assert [(row["file"], row["set"], row["rows"]) for row in rows] == [
        *[(str(judged), "all", 5), (str(judged), "plain", 3), (str(judged), "empty", 2)] * 2,
        ("all files", "all", 10),
    ]
    of_file, plain, empty = rows[:3]
    assert (of_file["job_rows"], of_file["no_job_rows"]) == (3, 2)
    assert of_file["top_1"] == plain["top_1"] == pytest.approx(2 / 3, abs=1e-4), "known titles are answered, one is judged wrong"
    assert "no_job_accept_share" in empty
    assert read_json(figures).judged == rows
    assert "Judged postings" in page.read_text(encoding="utf-8")


def test_the_judged_model_is_the_one_that_train_publishes(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from consumer.registry.loader import ScorerLoader
    from trainer.data.judged import read_judged
    from trainer.measure import judged as module
    from trainer.measure.predict import answer as original

    (tmp_path / "judged.csv").write_text(JUDGED)
    assert main(["train", *tiny, "--registry", str(tmp_path / "registry")]) == 0
    registry = FolderRegistry(tmp_path / "registry")
    scorer = ScorerLoader(registry, device="cpu").load(registry.read_current())
    seen: list[torch.Tensor] = []

    def note(model: Model, titles: Titles) -> tuple[torch.Tensor, list[Decision]]:
        given = original(model, titles)
        seen.append(given[0])
        return given

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "answer", note)
        assert main(["evaluate", *tiny, "--splits", "random", "--judged", str(tmp_path / "judged.csv")]) == 0
    (file,) = read_judged([str(tmp_path / "judged.csv")])
    served = scorer.score([p.title for p in file.postings], [p.body for p in file.postings])
    for answer, probabilities in zip(served, seen[0], strict=True):
        assert answer.occupations[0].probability == pytest.approx(float(probabilities.max()), abs=1e-3)


def test_a_code_outside_the_taxonomy_is_named_with_its_place(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "judged.csv").write_text("title,accept\nNurse,29-1141.00 29-9999\nNurse,29-0000\n")
    assert main(["evaluate", *tiny, "--judged", str(tmp_path / "judged.csv")]) == 1
    assert "judged.csv, row 3, column accept: no code of the taxonomy begins with 29-0000" in capsys.readouterr().err


def test_each_source_is_held_out_in_turn_and_the_mean_is_reported(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *tiny, "--splits", "source"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["splits"].keys() == {"source city split", "source farm split"}
    assert {figures["rows"] for figures in printed["splits"].values()} == {39}
    *sources, mean = printed["methods"]
    assert mean["split"] == "source, mean of 2"
    assert mean["top_1"] == pytest.approx(sum(row["top_1"] for row in sources) / 2, abs=1e-4)


def test_neither_fit_nor_calibration_sees_the_source_that_is_held_out(
    tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainer.measure import holdout

    data, seen = prepare(options(tiny), tmp_path, lambda _: None), []
    city = {posting.title for posting in data.postings if posting.source == "city"}

    def note(name: str, place: int) -> None:
        original = getattr(holdout, name)

        def spy(*arguments: Any, **more: Any) -> Any:
            seen.append((name, set(arguments[place].lines)))
            return original(*arguments, **more)

        monkeypatch.setattr(holdout, name, spy)

    note("fit_model", 0)
    note("make_title_queries", 1)
    trial = measure(data, options(tiny), refit=True, source="city")
    assert trial
    assert set(trial.tested.lines) == city
    assert {name for name, _ in seen} == {"fit_model", "make_title_queries"}
    assert not any(lines & city for _, lines in seen)


def test_a_single_source_cannot_be_held_out_and_the_command_says_why(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = write_postings(tmp_path / "alone.csv", [(*row[:2], "city") for row in ROWS], columns=COLUMNS)
    assert main(["evaluate", *tiny, "--postings", str(alone), "--splits", "source", "random"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["splits"].keys() == {"random split"}
    assert "source city split: no rows can be held out: that takes 30 rows of a source" in err


def test_another_column_can_name_the_sources(tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = str(write_postings(tmp_path / "other.csv", ROWS, columns=("TITLE_RAW", "ONET", "Job Board")))
    given = ["evaluate", *tiny, "--postings", other, "--splits", "source", "random"]
    assert main(given) == 0
    assert json.loads(capsys.readouterr().out)["splits"].keys() == {"random split"}
    assert main([*given, "--source-column", "job_board"]) == 0
    assert json.loads(capsys.readouterr().out)["splits"].keys() == {"random split", "source city split", "source farm split"}
    assert main([*given, "--source-column", "ONET"]) == 1
    assert "--source-column ONET: this column holds the onet_code" in capsys.readouterr().err


def test_weights_reach_the_rows_and_the_manifest(tiny: list[str], tmp_path: Path) -> None:
    weighted = options(tiny, weights={"farm": 0.25})
    data = prepare(weighted, tmp_path, lambda _: None)
    assert [weight for weight, _ in zip(data.titles.rows.weights.tolist(), ROWS, strict=True)] == [
        0.25 if source == "farm" else 1.0 for *_, source in ROWS
    ]
    assert json.loads(json.dumps(describe_options(weighted)))["weights"] == {"farm": 0.25}
    registry = tmp_path / "registry"
    assert main(["train", *tiny, "--registry", str(registry), "--weight", "farm=0.25", "--weight", "city=1"]) == 0
    (manifest,) = FolderRegistry(registry).list_versions()
    assert manifest.training["weights"] == {"farm": 0.25, "city": 1.0}
    assert manifest.training["source_column"] is None


def test_rows_of_weight_0_are_in_no_fit_but_are_measured_on(tiny: list[str], tmp_path: Path) -> None:
    without = options(tiny, weights={"farm": 0.0})
    data = prepare(without, tmp_path, lambda _: None)
    farm = {title for title, _, source in ROWS if source == "farm"}
    alone = data.titles.select(data.titles.rows.weights > 0)
    left_out, never_there = (fit_model(titles, data.inputs, without.fit, "fit") for titles in (data.titles, alone))
    assert torch.equal(left_out.tensors.title, never_there.tensors.title)
    assert left_out.tensors.titles == never_there.tensors.titles
    assert sum(category.postings for category in left_out.tensors.categories) == len(ROWS) - len(farm)
    trial = measure(data, without)
    assert trial
    assert farm & set(trial.tested.lines)


def test_a_known_title_and_a_body_count_by_the_weight_of_their_source(tiny: list[str], tmp_path: Path) -> None:
    rows = [("Nurse", "29-1141.00", "city", "wards"), ("Nurse", "29-1141.00", "farm", "pens"), ("Cook", "35-2014.00", "farm", "")]
    path = write_postings(tmp_path / "a.csv", rows, columns=(*COLUMNS, "BODY"))
    weighted = options(tiny, postings=[str(path)], weights={"farm": 0.25})
    data = prepare(weighted, tmp_path, lambda _: None)
    known = fit_model(data.titles, data.inputs, weighted.fit, "fit").tensors.titles
    assert [(title.title, title.weight) for title in known[:2]] == [("Nurse", 1.25), ("Cook", 0.25)]
    assert collect_body_texts(data.titles, data.inputs)[2].tolist()[:2] == [1.0, 0.25]


@pytest.mark.parametrize(
    ("weights", "why"),
    [
        ({"barn": 0.5}, r"--weight barn: no row has this source; there are: .*city \(39 rows\)"),
        ({"farm": 0.0, "city": 0.0}, "no row is left to learn from"),
    ],
)
def test_weights_that_make_no_sense_are_refused(weights: dict[str, float], why: str, tiny: list[str], tmp_path: Path) -> None:
    with pytest.raises(TableError, match=why):
        prepare(options(tiny, weights=weights), tmp_path, lambda _: None)


@pytest.mark.parametrize("given", ["farm", "=1", "farm=-1", "farm=nan", "farm=11", "farm=half"])
def test_a_weight_is_a_source_and_a_number_from_0_to_10(given: str, tiny: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["evaluate", *tiny, "--weight", given])
    assert "SOURCE=WEIGHT with a weight from 0 to 10" in capsys.readouterr().err
