"""Without labelled postings, a first model is trained on O*NET's job titles, and calibrated on titles that were held out."""

import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumer.registry.folder import FolderRegistry
from consumer.registry.loader import ScorerLoader
from tests.support.training_data import OCCUPATIONS, write_encoder, write_release
from trainer.__main__ import main
from trainer.data.listed_titles import SOURCE, list_unambiguous_titles
from trainer.data.onet import read_taxonomy

ROLES = {"11-1011.00": "Chief", "29-1141.00": "Nurse", "35-2014.00": "Cook", "53-3032.00": "Trucker"}


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release with many job titles for each occupation, of which one stands under two."""
    folder = write_release(tmp_path_factory.mktemp("first") / "release")
    with (folder / "Alternate Titles.txt").open("a", encoding="utf-8") as file:
        file.writelines("\t".join(row) + "\n" for row in list_rows())
    return folder


def list_rows() -> Iterator[tuple[str, str, str, str]]:
    for code, role in ROLES.items():
        yield from ((code, f"{first}{second} {role}", "n/a", "01") for first in string.ascii_uppercase for second in "aeiou")
        yield code, "Team Leader", "n/a", "01"


@pytest.fixture(scope="module")
def registry(release: Path, tmp_path_factory: pytest.TempPathFactory) -> FolderRegistry:
    """The registry of a model that was trained without postings."""
    folder = tmp_path_factory.mktemp("model")
    given = ["--onet", str(release), "--encoder", str(write_encoder(folder / "encoder")), "--device", "cpu"]
    assert main(["train", *given, "--registry", str(folder / "registry")]) == 0
    return FolderRegistry(folder / "registry")


def test_titles_that_stand_under_one_code_take_the_place_of_postings(release: Path) -> None:
    rows = list_unambiguous_titles(read_taxonomy(release))
    titles = {posting.title: posting for posting in rows.postings}
    assert "Team Leader" not in titles
    assert not set(OCCUPATIONS.values()) & set(titles), "the names of categories are no job titles"
    assert (titles["Ba Cook"].onet_code, titles["Ba Cook"].source) == ("35-2014.00", SOURCE)


def test_the_model_is_in_service_measured_and_calibrated_on_titles_held_out(registry: FolderRegistry) -> None:
    current = registry.read_current()
    assert current is not None
    manifest = registry.load(current).manifest
    assert manifest.metrics["rows"] >= 100
    assert manifest.metrics["accept_share"] > 0, "held-out titles show that some answers may be accepted"
    assert manifest.calibration.new.accept_at <= 1
    assert manifest.training["postings"] == []


def test_a_listed_title_is_known_by_onets_list_and_not_as_a_posting(registry: FolderRegistry) -> None:
    scorer = ScorerLoader(registry, device="cpu").load(registry.read_current() or "")
    answer = scorer.score(["Ba Cook"])[0]
    assert answer.occupations[0].onet_code == "35-2014.00"
    assert answer.evidence.exact_title is False
    assert all(category.postings == 0 for category in scorer.categories)
    assert all(title.weight < 1 for title in scorer.mixture.titles)


def test_with_nothing_to_learn_from_both_ways_out_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--registry", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "--postings" in error
    assert "--onet" in error


def test_a_release_without_job_titles_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    release = write_release(tmp_path / "release")
    for name in ("Alternate Titles.txt", "Sample of Reported Titles.txt"):
        header = (release / name).read_text(encoding="utf-8").splitlines()[0]
        (release / name).write_text(header + "\n", encoding="utf-8")
    assert main(["train", "--onet", str(release), "--registry", str(tmp_path / "registry")]) == 1
    assert "no job title" in capsys.readouterr().err
