"""`evaluate` measures and publishes nothing; its report is one HTML file with the same figures as the JSON."""

import json
import re
import shlex
import shutil
from collections import Counter
from pathlib import Path

import pytest

from schemas.text import plain_text
from tests.support.paths import ROOT
from tests.support.training_data import POSTINGS, write_encoder, write_postings, write_release
from trainer.__main__ import main
from trainer.cli.parser import make_parser
from trainer.data.cleaned_titles import cached_clean_title
from trainer.evaluate import METHODS
from trainer.measure.holdout import measure
from trainer.measure.split import hold_out
from trainer.options import TrainOptions
from trainer.prepare import prepare
from trainer.report.report import read_json

DOCS = ROOT / "docs" / "accuracy.md"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Arguments that name a small encoder, release and file of dated postings."""
    folder = tmp_path_factory.mktemp("tiny")
    rows = [(title, code, f"2025-{1 + n % 12:02d}-01") for n, (title, code) in enumerate(POSTINGS)]
    postings = write_postings(folder / "postings.csv", rows, columns=("TITLE_RAW", "ONET", "POSTED"))
    release, encoder = write_release(folder / "release"), write_encoder(folder / "encoder")
    return ["--postings", str(postings), "--onet", str(release), "--encoder", str(encoder), "--device", "cpu"]


def test_every_kind_of_split_is_measured_and_reported_as_json_and_as_a_page(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures, page = tmp_path / "figures.json", tmp_path / "report.html"
    assert main(["evaluate", *tiny, "--json", str(figures), "--html", str(page)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert set(printed["splits"]) == {"random split", "title split", "time split"}
    report = read_json(figures)
    for name, split in report.splits.items():
        assert printed["splits"][name]["top_1"] == split["summary"]["top_1"]
        assert len(report.curves[name]) == 6, "an entry per epoch"
    text = page.read_text(encoding="utf-8")
    assert text.lstrip().startswith("<!")
    assert "://" not in text.replace("http://www.w3.org", "")
    again = tmp_path / "again.html"
    assert main(["report", str(figures), "--output", str(again)]) == 0
    assert again.read_bytes() == page.read_bytes()


def test_methods_are_compared_on_the_same_splits(tiny: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", *tiny, "--splits", "random", "--compare", "--epochs", "1"]) == 0
    rows = json.loads(capsys.readouterr().out)["methods"]
    assert {row["rows"] for row in rows} == {rows[0]["rows"]}
    names = [row["method"] for row in rows]
    assert names[0] == "this model"
    assert len(set(names)) == len(names) == 11


def test_without_cleaning_the_same_rows_are_held_out(tmp_path: Path) -> None:
    rows = [(text, code) for title, code in POSTINGS for text in (title, f"{title} - $20/hr - Full Time")]
    options = TrainOptions(
        postings=[str(write_postings(tmp_path / "postings.csv", rows))],
        onet=write_release(tmp_path / "release"),
        registry=tmp_path / "unused",
        encoder=str(write_encoder(tmp_path / "encoder")),
        device="cpu",
        split="title",
        fit=METHODS["mean: class means, shrunk"],
    )
    as_posted, clean = (
        measure(prepare(options, tmp_path, lambda _: None, clean_text=text), options) for text in (plain_text, cached_clean_title)
    )
    assert as_posted
    assert clean
    assert list(as_posted.tested.lines) == list(clean.tested.lines)
    assert as_posted.tested.clean != clean.tested.clean
    assert all(lines == 2 for lines in Counter(as_posted.tested.keys).values()), "both spellings are on one side"


def test_another_encoder_is_measured_from_its_folder_and_the_report_names_it(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    folder, figures, page = tmp_path / "our encoder", tmp_path / "figures.json", tmp_path / "report.html"
    SentenceTransformer(str(write_encoder(tmp_path / "transformer")), device="cpu").save_pretrained(str(folder))
    shutil.rmtree(tmp_path / "transformer")
    given = ["--encoder", str(folder), "--postings", "starter", "--splits", "random", "--device", "cpu", "--epochs", "1"]
    assert main(["evaluate", *given, "--json", str(figures), "--html", str(page)]) == 0
    report = read_json(figures)
    assert report.data["encoder"] == str(folder)
    assert report.command == shlex.join(["occustream-trainer", "evaluate", *given, "--json", str(figures), "--html", str(page)])
    assert str(folder) in page.read_text(encoding="utf-8")
    summary = report.splits["random split"]["summary"]
    assert summary["rows"] == 229
    assert all(0 <= summary[name] <= 1 for name in ("top_1", "top_5", "mrr", "macro_top_1", "ece"))


def test_help_says_how_to_compare_encoders(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    shown = capsys.readouterr().out
    for text in ("Nothing is published", "--encoder BAAI/bge-small-en-v1.5", "paraphrase-multilingual-MiniLM-L12-v2", "a folder"):
        assert text in shown
    commands = re.findall(r"^ +(occustream-trainer evaluate .*)$", shown.replace(" \\\n", ""), re.MULTILINE)
    assert len(commands) == 4
    for command in commands:
        assert make_parser().parse_args(shlex.split(command)[1:]).json
        assert re.sub(r"\s+", " ", command) in re.sub(r" \\\n\s+", " ", DOCS.read_text(encoding="utf-8")), (
            "the same as in the docs"
        )


def test_undated_postings_leave_the_time_split_out_and_say_so(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    undated = write_postings(tmp_path / "undated.csv")
    assert main(["evaluate", *tiny, "--postings", str(undated), "--splits", "time", "random"]) == 0
    out, err = capsys.readouterr()
    assert set(json.loads(out)["splits"]) == {"random split"}
    assert "time split: no rows can be held out: a time split needs dates" in err


@pytest.mark.parametrize("content", ["", "{", "[]", '{"title": 5}'])
def test_a_report_of_something_else_is_refused_by_name(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "figures.json").write_text(content)
    assert main(["report", str(tmp_path / "figures.json"), "--output", str(tmp_path / "page.html")]) == 2
    assert "no report of" in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()


def test_a_figure_file_that_cannot_be_written_is_refused_before_any_work(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *tiny, "--json", str(tmp_path / "no" / "figures.json")]) == 2
    assert "there is no folder" in capsys.readouterr().err


def test_the_latest_days_are_held_out_whole_and_undated_rows_train() -> None:
    dates = ["2025-01-01", "2025-03-01", None, "2025-03-01T08:00", "soon", "2025-02-01"]
    held = hold_out("abcdef", list("abcdef"), share=0.25, seed=0, kind="time", dates=dates)
    assert held == [False, True, False, True, False, False]
