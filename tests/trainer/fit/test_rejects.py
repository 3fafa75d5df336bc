"""Reject examples move thresholds, but no likelihood, and become a category only on request."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tests.support.tiny_model  # noqa: F401 - sets the pace of hypothesis
from consumer.registry.folder import FolderRegistry
from schemas.artifact import Mix
from tests.support.trainer_data import OCCUPATIONS, POSTINGS, write_encoder, write_postings, write_release
from tests.trainer.fit.test_calibration import MIX, group_by_decision, make_held_out, make_queries, mixture
from trainer.__main__ import main
from trainer.fit.calibration import (
    NEVER,
    REJECT,
    HeldOutParts,
    calibrate,
    choose_known_prior,
    choose_mix_weights,
    choose_scale,
    compute_held_out_parts,
    join_held_out_parts,
)
from trainer.measure.rejects import reject_figures

COSINES = st.sampled_from([0.99, 0.9, 0.8, 0.75, 0.72])
REJECTS = [(f"Great job {word}", "Unclassified") for word in "abcdefghijklmnopqrstuvwxyz"]
NEW = [(f"Prompt {word}", "15-9999.00", "Prompt Engineers") for word in "abcdefghijklmnopqrstuvwxyz"]


def add_rejects(data: HeldOutParts, cosines: list[float], key: str | None = None) -> HeldOutParts:
    """Return the postings, followed by reject examples with these cosines to category 0."""
    more = make_held_out([(cosine, False) for cosine in cosines], [key or f"reject {i}" for i in range(len(cosines))])
    return join_held_out_parts([data, replace(more, labels=torch.full_like(more.labels, REJECT))])


@given(
    postings=st.lists(st.tuples(COSINES, st.booleans()), min_size=1, max_size=200),
    rejects=st.lists(COSINES, max_size=100),
    precision=st.sampled_from([0.5, 0.75, 0.9]),
)
def test_a_reject_example_counts_as_wrong_in_the_promise(
    postings: list[tuple[float, bool]], rejects: list[float], precision: float
) -> None:
    calibration = calibrate(MIX, add_rejects(make_held_out(postings), rejects), precision=precision)
    accepted = group_by_decision([*postings, *((cosine, False) for cosine in rejects)], calibration)["accept"]
    assert sum(accepted) >= precision * len(accepted) - 1e-9


@given(postings=st.lists(st.tuples(COSINES, st.booleans()), min_size=30, max_size=100), rejects=st.lists(COSINES, max_size=100))
def test_a_reject_example_has_no_part_in_any_likelihood(postings: list[tuple[float, bool]], rejects: list[float]) -> None:
    plain, mix = make_held_out(postings, ["met"] * len(postings)), Mix(scale=2.0, known_prior=3.0)
    data = add_rejects(plain, rejects, "met")
    assert choose_scale(data.parts.title, data) == choose_scale(plain.parts.title, plain)
    assert choose_mix_weights(mix, data) == choose_mix_weights(mix, plain)
    assert choose_known_prior(mix, data) == choose_known_prior(mix, plain)
    assert calibrate(mix, data, precision=0.9).known.sharpness == calibrate(mix, plain, precision=0.9).known.sharpness


def test_a_reject_example_takes_no_weight_from_the_postings_of_its_title() -> None:
    queries, labels = make_queries([(0.9, True)] * 4, ["new", "new", "new", "other"])
    labels[1:3] = REJECT
    weights = compute_held_out_parts(mixture(), queries, labels).weights
    assert weights[labels != REJECT].tolist() == [1, 1]


def test_nothing_is_accepted_where_as_many_reject_examples_look_the_same() -> None:
    plain = make_held_out([(0.99, True)] * 100)
    assert calibrate(MIX, plain, precision=0.9).new.accept_at <= 1
    assert calibrate(MIX, add_rejects(plain, [0.99] * 100), precision=0.9).new.accept_at == NEVER


def test_a_stratum_of_reject_examples_alone_shares_the_other_ones_thresholds() -> None:
    calibration = calibrate(MIX, add_rejects(make_held_out([(0.99, True)] * 60), [0.72] * 60, "met"), precision=0.9)
    assert calibration.known == calibration.new


def test_figures_are_shares_of_the_reject_examples() -> None:
    said = ["accept", "unclassified", "unclassified", "review"]
    assert reject_figures(said) == {"reject_rows": 4, "reject_accept_share": 0.25, "reject_unclassified_share": 0.5}
    assert reject_figures([]) == {}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Arguments that name a small encoder, release and file of postings with reject examples and a new category."""
    folder = tmp_path_factory.mktemp("tiny")
    rows = [*((*row, "") for row in (*POSTINGS, *REJECTS)), *NEW]
    postings = write_postings(folder / "postings.csv", rows, columns=("TITLE_RAW", "ONET", "ONET_NAME"))
    release, encoder = write_release(folder / "release"), write_encoder(folder / "encoder")
    return ["--postings", str(postings), "--onet", str(release), "--encoder", str(encoder), "--device", "cpu"]


@pytest.fixture
def train(tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[dict[str, Any], str]]:
    """Train into `tmp_path`; returns what was printed on standard output and error."""

    def run(*arguments: str) -> tuple[dict[str, Any], str]:
        status = main(["train", *tiny, "--registry", str(tmp_path), "--method", "mean", *arguments])
        out, err = capsys.readouterr()
        assert status == 0, err
        return json.loads(out), err

    return run


@pytest.mark.parametrize("split", ["random", "title"])
def test_reject_examples_are_held_out_in_their_share_measured_and_never_a_category(
    split: str, train: Callable[..., tuple[dict[str, Any], str]], tmp_path: Path
) -> None:
    printed, reported = train("--split", split)
    assert (printed["categories"], printed["rows"]) == (len(OCCUPATIONS), len(POSTINGS))
    assert 1 <= printed["metrics"]["reject_rows"] <= 12
    assert 0 <= printed["metrics"]["reject_accept_share"] <= 1
    assert "reject examples: 26 rows labelled Unclassified" in reported
    manifest = FolderRegistry(tmp_path).load(printed["version"]).manifest
    assert manifest.metrics == printed["metrics"]
    assert manifest.training["unclassified"] == "reject"


def test_ignored_reject_examples_are_counted_and_nothing_else(train: Callable[..., tuple[dict[str, Any], str]]) -> None:
    printed, reported = train("--unclassified", "ignore")
    assert "left out: 26 rows with the label Unclassified, first at postings.csv, row 80 (Unclassified)" in reported
    assert not any(name.startswith("reject") for name in printed["metrics"])


def test_categories_of_ones_own_are_served_in_code_order_beside_the_taxonomys(
    train: Callable[..., tuple[dict[str, Any], str]], tmp_path: Path
) -> None:
    printed, reported = train("--unclassified", "category", "--new-categories")
    categories = FolderRegistry(tmp_path).load(printed["version"]).tensors.categories
    codes = [category.onet_code for category in categories]
    assert codes == sorted({*OCCUPATIONS, "15-9999.00", "99-9999.00"})
    made = {category.onet_code: (category.onet_title, category.postings) for category in categories}
    assert (made["15-9999.00"], made["99-9999.00"]) == (("Prompt Engineers", 26), ("Unclassified", 26))
    assert printed["rows"] == len(POSTINGS) + 52
    assert "new category: 15-9999.00 'Prompt Engineers'" in reported


def test_evaluate_tells_what_became_of_the_reject_examples(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "report.html"
    assert main(["evaluate", *tiny, "--splits", "random", "--epochs", "1", "--html", str(page), "--new-categories"]) == 0
    figures = json.loads(capsys.readouterr().out)["splits"]["random split"]
    assert {"reject_rows", "reject_accept_share", "reject_unclassified_share"} <= figures.keys()
    text = page.read_text(encoding="utf-8")
    assert "reject examples accepted" in text
    assert "--new-categories" in text


@pytest.mark.parametrize("flags", [[], ["--unclassified", "category", "--new-categories"], ["--unclassified", "ignore"]])
def test_the_gate_judges_a_second_version_whatever_is_made_of_unclassified(
    flags: list[str], tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ["--registry", str(tmp_path / "registry"), "--state", str(tmp_path / "state")]
    served = ["serve", "--once", *tiny, *folders, "--epochs", "1", "--min-new", "1", "--gate-ece", "0.99"]
    assert main([*served, *flags]) == 0
    more = write_postings(tmp_path / "more.csv", [("Nurse Again", "29-1141.00"), ("Great job again", "Unclassified")])
    assert main([*served, *flags, "--postings", tiny[1], str(more)]) in {0, 3}
    versions = FolderRegistry(tmp_path / "registry").list_versions()
    assert [version.training["triggers"] for version in versions] == [["first"], ["postings"]]
    assert versions[1].training["compared_with"] == versions[0].version
    assert main([*served, *flags, "--postings", tiny[1], str(more)]) == 0
    assert len(FolderRegistry(tmp_path / "registry").list_versions()) == 2, "nothing was new"
