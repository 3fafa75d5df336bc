"""A page is whole, loads and runs nothing, shows strangers' text as text, and says what it leaves out."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.__main__ import main
from trainer.measure import figures
from trainer.measure.predictions import Predictions
from trainer.report import plots
from trainer.report.page import LONGEST_TEXT, escape_text
from trainer.report.report import Report, read_json, render_page, write_json, write_report

HOSTILE = [
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "🧑‍⚕️ nurse",
    "x" * 10_000,
    "\x00\u202e\ud800",
    "&lt;b&gt;",
    "",
]
VOID = {"meta", "line", "circle", "polyline", "rect", "br"}
TEXT = {
    "html",
    "head",
    "title",
    "style",
    "body",
    "section",
    "h1",
    "h2",
    "h3",
    "p",
    "div",
    "span",
    "b",
    "i",
    "small",
    "pre",
    "code",
}
TABLES = {
    "dl",
    "dt",
    "dd",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "figure",
    "figcaption",
    "svg",
    "text",
    "details",
    "summary",
}


class Page(HTMLParser):
    """What a browser would see of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.words += data


def split(titles: list[str], *, names: tuple[str, ...] = ("nurse", "clerk")) -> dict[str, Any]:
    """Figures of rows of which the first is right, the others wrong."""
    rows = len(titles)
    return figures.compute_figures(
        Predictions(
            probabilities=torch.tensor([[0.8, 0.2]] + [[0.3, 0.7]] * (rows - 1)),
            labels=torch.zeros(rows, dtype=torch.int64),
            decisions=["accept"] + ["review"] * (rows - 1),
            codes=("29-1141.00", "43-9061.00"),
            names=names,
            titles=titles,
            train_counts=torch.tensor([3, 60]),
        ),
        seed=0,
    )


def full() -> Report:
    """Everything a report can hold."""
    method = {"method": "softmax", "split": "random", "top_1": 0.7, "train_seconds": 75.0, "intervals": {"top_1": [0.65, 0.75]}}
    return Report(
        title="A report",
        created_at="2025-06-01",
        data={"postings": 4},
        methods=[method, {**method, "method": "mean", "top_1": 0.6, "train_seconds": 1.0, "intervals": None}],
        curves={"softmax": [(1, 3.0, 0.5), (2, 2.0, 0.6)], "static": [(1, 4.0, None)]},
        splits={"random": split(["a", "b", "c"]), "title": split(["d"])},
        judged=[
            {
                "file": "judged.jsonl",
                "set": "all",
                "job_rows": 8,
                "no_job_rows": 2,
                "top_1": 0.625,
                "intervals": {"top_1": [0.5, 0.75]},
            }
        ],
        timing={"embed": 93.4},
        command="occustream-trainer evaluate",
    )


def test_a_full_report_leaves_nothing_out() -> None:
    page = render_page(full())
    assert "Not shown" not in page
    seen = Page(page)
    assert seen.tags.count("svg") == 8  # first N, two buckets, two reliabilities, risk, loss, accuracy
    assert seen.tags.count("details") == 2
    for words in (
        "Of 100 held-out postings, 33 get the right code first, 100 within",
        "1 min 33 s",
        "judged.jsonlall8262.5 %50.0-75.0-",
        "occustream-trainer evaluate",
    ):
        assert words in seen.words


def test_the_best_of_a_split_is_in_bold_with_its_interval() -> None:
    page = render_page(full())
    assert "<b>70.0 %</b><small>65.0-75.0</small>" in page
    assert "<b>60.0 %</b>" not in page
    assert "<b>1 s</b>" in page  # of times the least


def test_a_method_alone_is_not_the_best() -> None:
    assert "<b>70.0 %</b>" not in render_page(Report("t", "now", methods=full().methods[:1]))


def test_an_empty_report_says_why_each_part_is_missing() -> None:
    page = Page(render_page(Report("Nothing", "now")))
    assert page.words.count("Not shown: ") == page.tags.count("h2")
    assert "svg" not in page.tags


def test_one_row_of_one_category_makes_a_page() -> None:
    one = Predictions(torch.ones(1, 1), torch.tensor([0]), ["review"], ("11-1011.00",), ("Chief",), ["ceo"], torch.tensor([0]))
    words = Page(render_page(Report("t", "now", splits={"random": figures.compute_figures(one, seed=0)}))).words
    assert "100.0 %" in words
    assert "None is accepted without a person" in words


def test_a_split_without_rows_has_no_pictures() -> None:
    none = Predictions(torch.ones(0, 1), torch.zeros(0).long(), [], ("11-1011.00",), ("Chief",), [], torch.tensor([0]))
    assert "svg" not in Page(render_page(Report("t", "now", splits={"random": figures.compute_figures(none, seed=0)}))).tags


@pytest.mark.parametrize("hostile", HOSTILE)
def test_strangers_text_is_shown_as_text_wherever_it_stands(hostile: str, tmp_path: Path) -> None:
    report = Report(
        title=hostile,
        created_at=hostile,
        data={hostile: hostile},
        methods=[{"method": hostile, "split": hostile}] * 2,
        curves={hostile: [(1, 1.0, 1.0)], "b": [(1, 1.0, 0.5)]},
        splits={hostile: split([hostile] * 3, names=(hostile, hostile)), "b": split(["b"])},
        timing={hostile: 1.0},
        command=hostile,
    )
    write_report(tmp_path / "report.html", report)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "\x00" not in page
    seen = Page(page)
    assert set(seen.tags) <= VOID | TEXT | TABLES
    assert not [name for name, _ in seen.attributes if name.startswith("on") or name in {"src", "href"}]
    shown = Page(escape_text(hostile)).words
    assert shown in seen.words
    assert len(shown) <= LONGEST_TEXT


@given(words=st.text(max_size=300))
def test_text_never_opens_a_tag_and_is_bounded(words: str) -> None:
    found = escape_text(words)
    assert not re.search("[<>\"']", found)
    assert len(Page(found).words) <= LONGEST_TEXT


def test_a_page_loads_and_runs_nothing() -> None:
    page = render_page(full())
    assert "default-src 'none'" in page
    assert not re.search(r"https?:|url\(|@import|<script|<link", page)


def test_every_element_that_must_be_closed_is() -> None:
    page = render_page(full())
    optional = VOID | {"tr", "td", "th", "thead", "tbody", "dt", "dd"}
    for tag in set(Page(page).tags) - optional:
        assert len(re.findall(f"<{tag}[ >]", page)) == page.count(f"</{tag}>"), tag


def test_a_page_stays_below_3_mb_however_much_it_is_given(tmp_path: Path) -> None:
    many = split(["'" * 10_000] * 3, names=("'" * 10_000,) * 2)
    many["by_category"] = many["by_category"] * 600
    many |= {name: many[name] * 40 for name in ("worst_pairs", "samples", "by_major_group")}
    curve = [(epoch, 1.0 / (epoch + 1), 0.5) for epoch in range(1_000)]
    words = "'" * 10_000
    report = Report(
        title=words,
        created_at=words,
        data={f"{i}": words for i in range(1_000)},
        methods=[{"method": words, "split": "x", "top_1": 0.5}] * 1_000,
        curves={f"fit {i}": curve for i in range(8)},
        splits={f"split {i}": many for i in range(9)},
        timing={f"{i}": 1.0 for i in range(1_000)},
        command=words,
    )
    write_report(tmp_path / "report.html", report)
    assert (tmp_path / "report.html").stat().st_size < 3_000_000
    assert "more rows are left out" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_what_is_dumped_loads_as_it_was(tmp_path: Path) -> None:
    write_json(tmp_path / "report.json", full())
    assert read_json(tmp_path / "report.json") == full()


def test_a_loss_that_ran_away_is_null_in_json_and_left_out_of_the_picture(tmp_path: Path) -> None:
    report = Report("t", "now", curves={"fit": [(1, 2.0, 0.5), (2, float("nan"), 0.4), (3, float("inf"), 0.3)]})
    write_json(tmp_path / "report.json", report)
    assert json.loads((tmp_path / "report.json").read_text())["curves"]["fit"][1] == [2, None, 0.4]
    assert render_page(read_json(tmp_path / "report.json")) == render_page(report)
    assert not re.search(r"\b(nan|inf)\b", render_page(report))


def test_something_else_is_not_loaded(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text('{"title": 1}')
    with pytest.raises(ValueError, match="created_at"):
        read_json(tmp_path / "report.json")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "Expecting property name"),
        ('{"title": 1}', "'evaluate --json' did not write this file: title: Input should be a valid string"),
        ('{"title": "t", "created_at": "now", "methods": [{"method": 5, "top_1": "x", "intervals": 7}]}', "no attribute 'get'"),
    ],
)
def test_what_is_no_report_is_said_in_a_line(content: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "report.json"
    path.write_text(content)
    assert main(["report", str(path), "--output", str(tmp_path / "page.html")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"occustream-trainer: no report of {path}: ")
    assert said in line
    assert not (tmp_path / "page.html").exists()


numbers = st.floats(-1e6, 1e6, allow_nan=False)


@settings(deadline=None)
@given(low=numbers, span=st.floats(1e-3, 1e6))
def test_ticks_are_a_few_and_within(low: float, span: float) -> None:
    found = plots.choose_ticks(low, low + span)
    assert 2 <= len(found) <= 7
    assert all(low - span * 1e-3 <= tick <= low + span * 1.001 for tick in found)


@settings(deadline=None)
@given(curve=st.lists(st.tuples(numbers, numbers), min_size=1, max_size=30))
def test_any_curve_is_drawn_inside_the_picture(curve: list[tuple[float, float]]) -> None:
    drawn = re.search(r'points="([^"]*)"', plots.draw_lines({"a": curve}, x="x", y="y"))
    assert drawn
    points = [tuple(map(float, pair.split(","))) for pair in drawn[1].split()]
    assert len(points) == len(curve)
    assert all(0 <= x <= plots.WIDTH and 0 <= y <= 300 for x, y in points)


def test_a_gap_among_bars_has_no_bar() -> None:
    picture = plots.draw_bars([("a", ""), ("b", "")], {"s": [0.5, None]}, x="x", y="y")
    assert picture.count("<rect") == 1
