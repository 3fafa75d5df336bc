"""Bodies have a part of their own: trained if enough labelled postings have bodies, joined in last, and left out otherwise."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.registry.folder import FolderRegistry
from consumer.registry.loader import ScorerLoader
from schemas.text import MAX_BODY_CHARS, body_text
from tests.conftest import Cli
from tests.support.trainer_data import write_encoder, write_postings, write_release
from trainer.__main__ import main
from trainer.fit.model import MIN_BODIES

SAYS = {"11-1011.00": "board budget strategy", "29-1141.00": "patients hospital ward", "35-2014.00": "kitchen grill menu"}
"""The words in bodies of a code; the titles do not depend on the code."""
TASKS = "O*NET-SOC Code\tTask ID\tTask\n53-3032.00\t1\tDrive trucks over long distances.\n35-2014.00\t2\tn/a\n"


@given(st.text(max_size=300))
def test_the_text_of_a_body_is_plain_short_and_encodable(body: str) -> None:
    text = body_text(body)
    assert text == " ".join(text.split())
    text.encode()


def test_tags_and_entities_are_no_text_and_what_looks_like_a_tag_only_is() -> None:
    assert body_text("<p class='x'>Cooks &amp; bakers</p>\n\n<ul><li>5 < 7</li></ul><!-- none -->") == "Cooks & bakers 5 < 7"
    assert body_text("\ud800lone") == "lone"
    assert body_text("ab" * MAX_BODY_CHARS) == "ab" * (MAX_BODY_CHARS // 2)
    assert body_text("") == ""


@pytest.mark.parametrize(
    "hostile",
    [
        "&#" + "9" * 5_000,  # Python reads no number of more than 4,300 digits
        "a" + "\u0301\u0323" * 10_000,
        "a" + "\u05b0\u0591" * 10_000,
        "a" + "\u0f73" * 20_000,
        "a" + "\uff9e\u0301" * 10_000,
        "&#x301;&#x323;" * 1_428,
        "\ufdfa" * 20_000,  # eighteen characters each
        "<a" * 10_000,
        "&" * 20_000,
    ],
)
def test_no_body_stops_or_holds_up_the_stream(hostile: str) -> None:
    started = time.process_time()
    assert len(body_text(hostile)) <= MAX_BODY_CHARS
    assert time.process_time() - started < 0.25


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Arguments that name a small encoder, release and file of postings of which nearly all have a body."""
    folder = tmp_path_factory.mktemp("tiny")
    rows = [
        (f"Opening {number % 9}", code, f"<p>{words} {number}</p>" if number else "")
        for code, words in SAYS.items()
        for number in range(MIN_BODIES)
    ]
    postings = write_postings(folder / "postings.csv", rows, columns=("TITLE_RAW", "ONET", "BODY"))
    release, encoder = write_release(folder / "release"), write_encoder(folder / "encoder")
    (release / "Task Statements.txt").write_text(TASKS)
    return ["--postings", str(postings), "--onet", str(release), "--encoder", str(encoder), "--device", "cpu"]


def test_where_titles_say_nothing_bodies_decide_and_serving_looks_at_them(
    tiny: list[str], tmp_path: Path, cli: Cli, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *tiny, "--registry", str(tmp_path / "registry")]) == 0
    printed = json.loads(capsys.readouterr().out)
    registry = FolderRegistry(tmp_path / "registry")
    manifest = registry.load(printed["version"]).manifest
    assert manifest.mix.body_weight > 0
    assert manifest.calibration.body is not None
    assert manifest.body_encoder is not None
    assert printed["metrics"]["top_1"] > 0.9
    assert {"reliability", "risk_coverage"} == manifest.curves.keys()
    scorer = ScorerLoader(registry, encoder=tiny[5], device="cpu").load(printed["version"])
    bodies = [*SAYS.values(), None]
    answers = [scored.occupations[0] for scored in scorer.score(["Opening"] * 4, bodies)]
    assert [answer.onet_code for answer in answers[:3]] == list(SAYS)
    assert answers[3].probability < min(answer.probability for answer in answers[:3])
    rows = write_postings(tmp_path / "in.csv", [("Opening", body or "") for body in bodies], columns=("title", "body"))
    done = cli("consumer", "score", "--registry", str(registry.root), "--input", str(rows), "--encoder", tiny[5])
    assert done.returncode == 0, done.stderr
    served = [json.loads(line)["occupations"][0] for line in done.stdout.splitlines()]
    assert [match["onet_code"] for match in served] == [answer.onet_code for answer in answers]


def test_title_body_and_both_are_compared_on_the_same_postings(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lottery = [(f"Opening {number}", "Unclassified", "win the lottery") for number in range(20)]
    more = write_postings(tmp_path / "rejects.csv", lottery, columns=("TITLE_RAW", "ONET", "BODY"))
    postings, rest = tiny[:2], tiny[2:]
    assert main(["evaluate", *postings, str(more), *rest, "--splits", "random", "--accept-precision", "0.8"]) == 0
    rows = {row["method"]: row for row in json.loads(capsys.readouterr().out)["methods"]}
    assert set(rows) == {"this model", "this model, title alone", "this model, body alone"}
    assert rows["this model, title alone"]["top_1"] < 0.6
    assert rows["this model, body alone"]["top_1"] > 0.9
    assert rows["this model"]["top_1"] > 0.9
    assert {row["precision"] for row in rows.values()} == {0.8}
    assert [name for name, row in rows.items() if "reject_rows" in row] == ["this model"], "no other was asked about rejects"


def test_bodies_that_say_nothing_are_not_looked_at_in_serving(
    tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("trainer.fit.model.MIN_BODIES", 20)
    rows = [(f"{words} {number}", code, "we are an employer") for code, words in SAYS.items() for number in range(40)]
    postings = write_postings(tmp_path / "same.csv", rows, columns=("TITLE_RAW", "ONET", "BODY"))
    assert main(["train", *tiny, "--postings", str(postings), "--registry", str(tmp_path / "registry")]) == 0
    manifest = FolderRegistry(tmp_path / "registry").load(json.loads(capsys.readouterr().out)["version"]).manifest
    assert (manifest.body_encoder, manifest.calibration.body, manifest.mix.body_weight) == (None, None, 0)


@pytest.mark.parametrize("flags", [["--without", "body"], []])
def test_without_bodies_or_without_the_part_the_model_has_none(
    flags: list[str], tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = write_postings(tmp_path / "few.csv", [(f"Nurse {i}", "29-1141.00") for i in range(MIN_BODIES)])
    postings = tiny[1] if flags else str(few)
    assert main(["train", *tiny, "--postings", postings, "--registry", str(tmp_path / "registry"), *flags]) == 0
    manifest = FolderRegistry(tmp_path / "registry").load(json.loads(capsys.readouterr().out)["version"]).manifest
    assert (manifest.body_encoder, manifest.calibration.body, manifest.mix.body_weight) == (None, None, 0)
