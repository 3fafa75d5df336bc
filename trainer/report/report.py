"""The report on a trained model: one HTML file for people. `write_json` writes the same figures for programs.

The page loads and runs nothing. If a report lacks a part, the page has a sentence that says why.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from trainer.report import plots
from trainer.report.comparisons import (
    render_buckets,
    render_comparison,
    render_headline,
    render_major_groups,
    render_top_n,
)
from trainer.report.confidence import render_reliability, render_risk
from trainer.report.judged import render_judged
from trainer.report.listings import render_categories, render_confusions, render_levels, render_samples
from trainer.report.page import escape_text, format_seconds, section, side_by_side, table, wrap_page

Figures = dict[str, Any]
SPLIT_SECTIONS = (
    render_top_n,
    render_buckets,
    render_major_groups,
    render_reliability,
    render_risk,
    render_levels,
    render_confusions,
    render_samples,
    render_categories,
)


@dataclass(frozen=True)
class Report:
    """The figures of a report as plain data, ready for JSON. Each part may be empty."""

    title: str
    created_at: str
    data: dict[str, str | int | float] = field(default_factory=dict)
    """The data that was measured on: rows, categories, O*NET titles, split kind, seed, encoder, ..."""
    methods: list[Figures] = field(default_factory=list)
    """Rows {method, split, top_1, top_3, top_5, macro_top_1, ece, accept_share, accept_precision, train_seconds,
    score_seconds}, and perhaps intervals: {figure: [low, high]}"""
    curves: dict[str, list[tuple[int, float | None, float | None]]] = field(default_factory=dict)
    """(epoch, loss, held-out top-1) of each fit, by the name of the fit"""
    splits: dict[str, Figures] = field(default_factory=dict)
    """The result of `figures.compute_figures` for each split, by the name of the split"""
    judged: list[Figures] = field(default_factory=list)
    """Rows {file, set, ...} with the figures of judged postings, see `judgements.judged_figures`"""
    timing: dict[str, float] = field(default_factory=dict)
    """The seconds of each step"""
    command: str = ""
    """The command that makes this report again"""


def write_report(path: Path, report: Report) -> None:
    """Write the page as UTF-8, at most 3 MB. Raises OSError."""
    path.write_bytes(render_page(report).encode("utf-8", "xmlcharrefreplace"))


def write_json(path: Path, report: Report) -> None:
    """Write the figures as JSON. Numbers that JSON lacks (NaN, infinity) become null. Raises OSError."""
    path.write_text(json.dumps(_replace_infinite(asdict(report)), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Report:
    """Read a file that `write_json` wrote. Raises OSError, and ValueError if the file holds something else."""
    return TypeAdapter(Report).validate_python(json.loads(path.read_text(encoding="utf-8")))


def render_page(report: Report) -> str:
    """Return the page of a report."""
    report = TypeAdapter(Report).validate_python(_replace_infinite(asdict(report)))
    splits = {escape_text(name, 40): figures for name, figures in list(report.splits.items())[: plots.COLOURS]}
    parts = [
        f'<h1>{escape_text(report.title)}</h1><p class="soft">{escape_text(report.created_at)}</p>',
        f"<dl>{''.join(f'<dt>{escape_text(k, 40)}<dd>{escape_text(v)}' for k, v in list(report.data.items())[:50])}</dl>",
        render_headline(splits),
        render_comparison(report.methods),
        render_judged(report.judged),
        *(part(splits) for part in SPLIT_SECTIONS),
        _render_epochs(report.curves),
        _render_timing(report.timing),
        _render_command(report.command),
    ]
    return wrap_page(report.title, "".join(parts))


def _render_epochs(curves: Mapping[str, Sequence[tuple[int, float | None, float | None]]]) -> str:
    named = {escape_text(name, 40): _thin_out(curve) for name, curve in list(curves.items())[: plots.COLOURS]}
    pictures = []
    for column, name in ((1, "training loss"), (2, "held-out top-1")):
        series = {fit: [(row[0], value) for row in curve if (value := row[column]) is not None] for fit, curve in named.items()}
        found = {fit: points for fit, points in series.items() if points}
        if found:
            label = plots.format_tenths if column == 2 else plots.format_number  # noqa: PLR2004
            picture = plots.draw_lines(found, x="epoch", y=name, y_label=label, x_ticks=_whole_ticks(found))
            pictures.append(f"<figure>{picture}</figure>")
    left_out = len(curves) - len(named)
    intro = "Each line is one fit." + (f" {left_out} more fits are left out." if left_out else "")
    missing = "no fit of this run has epochs, or none was recorded."
    return section("Loss and accuracy over epochs", intro, side_by_side(pictures), missing=missing)


def _thin_out(curve: Sequence[tuple[int, float | None, float | None]]) -> list[tuple[int, float | None, float | None]]:
    """Return about 200 epochs at most, the last one among them."""
    step = max(1, len(curve) // 100)
    return list(curve[:-1:step]) + list(curve[-1:])


def _whole_ticks(series: Mapping[str, Sequence[plots.Point]]) -> list[float]:
    """Return ticks at whole epochs."""
    epochs = [x for curve in series.values() for x, _ in curve]
    low, high = min(epochs), max(epochs)
    return [tick for tick in plots.choose_ticks(low, high) if tick == round(tick)] if high > low else [low]


def _render_timing(timing: Mapping[str, float]) -> str:
    rows = [[escape_text(step), format_seconds(value)] for step, value in timing.items()]
    body = table(["step", "time"], rows, numbers=1) if rows else ""
    return section("Timing", "Wall-clock time on the machine that made this report.", body, missing="no times were recorded.")


def _render_command(command: str) -> str:
    body = f"<pre><code>{escape_text(command, 2_000)}</code></pre>" if command else ""
    return section(
        "How to reproduce", "The same data, seed and versions give the same figures.", body, missing="no command was given."
    )


def _replace_infinite(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return a JSON value in which numbers that are not finite are None, and tuples are lists."""
    if isinstance(value, dict):
        return {str(name): _replace_infinite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_replace_infinite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
