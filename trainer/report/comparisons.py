"""Sections of the report that compare and draw: figures in, HTML out. The names of splits are already HTML."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trainer.report import plots
from trainer.report.page import escape_text, figure, format_seconds, format_share, section, side_by_side, table

Figures = dict[str, Any]
Splits = Mapping[str, Figures]
NO_FIGURES = "no split has these figures: nothing was held out, or no posting was left to measure on."
ROWS_OF_SPLIT = {
    "random": "held-out postings",
    "title": "new titles (none of them was in training)",
}
BETTER: dict[str, Callable[..., float]] = {
    **dict.fromkeys(("top_1", "top_3", "top_5", "macro_top_1"), max),
    **dict.fromkeys(("ece", "train_seconds", "score_seconds"), min),
}
"""Which value of a figure is best. Share and precision of what is accepted are a trade-off: neither has a best value."""
COLUMNS = {
    "top_1": "top-1",
    "top_3": "top-3",
    "top_5": "top-5",
    "macro_top_1": "macro top-1",
    "ece": "ECE",
    "accept_share": "accepted",
    "accept_precision": "right of these",
    "train_seconds": "training",
    "score_seconds": "scoring",
}


def render_headline(splits: Splits) -> str:
    """Return the main figures of each split in plain words."""
    cards = [
        _render_card(name, figures) for name, figures in list_splits_with(splits, "summary") if "top_1" in figures["summary"]
    ]
    return section("In short", "", side_by_side(cards), missing=NO_FIGURES)


def _render_card(name: str, figures: Figures) -> str:
    summary, intervals = figures["summary"], figures.get("intervals", {})
    lines = _explain_summary(name, summary, intervals)
    big = f'<b class="big">{format_share(summary["top_1"])}</b>top-1{_format_interval(intervals.get("top_1"))}'
    big += f'<br><b class="big">{format_share(summary["top_5"])}</b>top-5{_format_interval(intervals.get("top_5"))}'
    rows = f'<p class="soft">Measured on {summary["rows"]:,} postings of {summary.get("categories", 0):,} categories.</p>'
    return f'<div class="card"><h3>Split: {name}</h3>{big}{"".join(f"<p>{line}</p>" for line in lines)}{rows}</div>'


def _explain_summary(name: str, summary: Figures, intervals: Figures) -> list[str]:
    """Return the main figures of a split as sentences."""
    of_100 = {figure: f"{100 * value:.0f}" for figure, value in summary.items() if isinstance(value, int | float)}
    rows = ROWS_OF_SPLIT.get(name, "held-out postings")
    lines = [f"Of 100 {rows}, {of_100['top_1']} get the right code first, {of_100['top_5']} within the first five."]
    if summary.get("accept_share"):
        accepted = f"{of_100['accept_share']} of 100 are accepted without a person; of 100 such, "
        right, promised = of_100.get("accept_precision", "0"), of_100.get("precision", "90")
        lines.append(f"{accepted}{right} are right (promised: {promised}).")
    else:
        lines.append("None is accepted without a person: no threshold kept the promised precision.")
    if "macro_top_1" in summary:
        lines.append(f"If every occupation counts the same, rare or frequent: {of_100['macro_top_1']} of 100.")
    if "ece" in summary:
        interval = _format_interval(intervals.get("ece"))
        lines.append(f"A stated probability is off by {100 * summary['ece']:.1f} points on average (ECE{interval}).")
    return lines


def render_comparison(methods: Sequence[Figures]) -> str:
    """Return one table of all methods, the best figure of each split in bold."""
    shown = [name for name in COLUMNS if any(row.get(name) is not None for row in methods)]
    rows = [
        [
            escape_text(row.get("method", "-"), 60),
            escape_text(row.get("split", "-"), 40),
            *(_render_cell(row, name, methods) for name in shown),
        ]
        for row in methods
    ]
    intro = (
        "Shares of held-out postings. Macro: the mean over categories. ECE: how far stated probabilities are off on average. The "
        "best figure of each split is in bold. Small figures are 95 % intervals."
    )
    body = table(["method", "split", *(COLUMNS[name] for name in shown)], rows, numbers=2) if rows else ""
    return section(
        "Methods compared", intro, body, missing="only one method was measured, so there is nothing to compare it with."
    )


def _render_cell(row: Figures, name: str, methods: Sequence[Figures]) -> str:
    value, interval = row.get(name), (row.get("intervals") or {}).get(name)
    words = format_seconds(value) if name.endswith("seconds") else format_share(value)
    rivals = [other[name] for other in methods if other.get("split") == row.get("split") and other.get(name) is not None]
    if len(rivals) > 1 and name in BETTER and value == BETTER[name](rivals):
        words = f"<b>{words}</b>"
    return words + (f"<small>{100 * interval[0]:.1f}-{100 * interval[1]:.1f}</small>" if interval else "")


def render_top_n(splits: Splits) -> str:
    """Return how often the right code is among the first N suggestions."""
    tops = range(1, 11)
    series = {
        name: [(top, figures["summary"][f"top_{top}"]) for top in tops if f"top_{top}" in figures["summary"]]
        for name, figures in list_splits_with(splits, "summary")
    }
    found = {name: points for name, points in series.items() if points}
    if not found:
        return section("Right among the first N", "", "", missing=NO_FIGURES)
    low = min(y for points in found.values() for _, y in points)
    picture = plots.draw_lines(
        found,
        x="N best codes looked at",
        y="share right",
        y_range=(min(int(low * 10) / 10, 0.9), 1),
        y_label=plots.format_percent,
        x_ticks=tops,
    )
    rows = [[str(top), *(format_share(dict(points).get(top)) for points in found.values())] for top in tops]
    values = table(["N", *found], rows, numbers=1)
    body = side_by_side([f"<figure>{picture}</figure>", f"<figure>{values}</figure>"])
    return section(
        "Right among the first N",
        "How often a person who looks at the first N suggestions finds the right code among them.",
        body,
        missing=NO_FIGURES,
    )


def render_buckets(splits: Splits) -> str:
    """Return accuracy by the number of training postings of a category."""
    intro = "Accuracy by the number of training postings of the occupation. O*NET's own titles are not counted."
    return section(
        "By size of category",
        intro,
        side_by_side(_render_bucket(name, f["by_bucket"]) for name, f in list_splits_with(splits, "by_bucket")),
        missing=NO_FIGURES,
    )


def _render_bucket(name: str, rows: Sequence[Figures]) -> str:
    if not any(row["rows"] for row in rows):
        return ""
    labels = [(row["train_rows"], f"n = {row['rows']:,}") for row in rows]
    series = {"top-1": [row.get("top_1") for row in rows], "top-5": [row.get("top_5") for row in rows]}
    empty = [row["train_rows"] for row in rows if not row["rows"]]
    note = f"No held-out postings with {', '.join(empty)} training postings." if empty else ""
    picture = plots.draw_bars(labels, series, x="training postings of the occupation", y="share right")
    return figure(f"Split: {name}", picture, escape_text(note))


def render_major_groups(splits: Splits) -> str:
    """Return accuracy by SOC major group, as bars beside the groups' names."""
    cards = [
        figure(f"Split: {name}", _render_groups(f["by_major_group"])) for name, f in list_splits_with(splits, "by_major_group")
    ]
    intro = "Dark: the right code is first. Light: it is within the first five. At the right: both in per cent, and the postings."
    return section("By SOC major group", intro, side_by_side(cards), missing=NO_FIGURES)


def _render_groups(rows: Sequence[Figures]) -> str:
    return "".join(
        f'<div class="group"><span>{escape_text(row["code"], 12)} {escape_text(row["name"], 60)}</span>'
        f"<span>{100 * row['top_1']:.0f} / {100 * row['top_5']:.0f} &nbsp; n = {row['rows']:,}</span></div>"
        f'<div class="bar"><i class="five" style="width:{100 * row["top_5"]:.1f}%"></i>'
        f'<i class="one" style="width:{100 * row["top_1"]:.1f}%"></i></div>'
        for row in rows[:60]
    )


def render_reliability(splits: Splits) -> str:
    """Return reliability diagrams with counts."""
    cards = []
    for name, figures in list_splits_with(splits, "reliability"):
        bins = [(b["low"], b["high"], b["count"], b.get("right", 0.0)) for b in figures["reliability"]]
        if any(count for _, _, count, _ in bins):
            cards.append(figure(f"Split: {name}", plots.draw_reliability(bins)))
    intro = (
        "Where a bar ends on the dashed line, the model is right as often as it states. Above the line it is too modest, below "
        "it too sure."
    )
    return section("Are the probabilities honest?", intro, side_by_side(cards), missing=NO_FIGURES)


def render_risk(splits: Splits) -> str:
    """Return the error among the most confident rows by their share, and the shares of the decisions."""
    found = dict(list_splits_with(splits, "risk_coverage"))
    series = {name: [(row["coverage"], row["error"]) for row in figures["risk_coverage"]] for name, figures in found.items()}
    summaries = {name: figures.get("summary", {}) for name, figures in found.items()}
    marks = {
        name: (it["accept_share"], 1 - it["accept_precision"])
        for name, it in summaries.items()
        if it.get("accept_precision") is not None
    }
    promised = {1 - it["precision"] for it in summaries.values() if "precision" in it}
    if not series:
        return section("Fewer answers, fewer errors", "", "", missing=NO_FIGURES)
    level = promised.pop() if len(promised) == 1 else None
    most = max([y for curve in series.values() for _, y in curve] + [y for _, y in marks.values()] + [level or 0, 0.02])
    picture = plots.draw_lines(
        series,
        x="share answered, most confident first",
        y="share wrong of these",
        x_range=(0, 1),
        y_range=(0, most * 1.08),
        x_label=plots.format_percent,
        y_label=plots.format_percent,
        marks=marks,
        level=level,
    )
    intro = (
        "How many answers are wrong if only the most confident are given. Ring: the accepted ones. Dashed: the promised share of "
        "errors."
    )
    body = side_by_side([f"<figure>{picture}</figure>", _render_decisions(summaries)])
    return section("Fewer answers, fewer errors", intro, body, missing=NO_FIGURES)


def _render_decisions(summaries: Mapping[str, Figures]) -> str:
    names = {
        "accept_share": "accepted",
        "accept_precision": "right of the accepted",
        "precision": "promised",
        "reachable_share": "could be accepted at that precision, with hindsight",
        "review_share": "for review",
        "unclassified_share": "unclassified",
    }
    if any(it.get("reject_rows") for it in summaries.values()):
        names |= {"reject_accept_share": "reject examples accepted", "reject_unclassified_share": "reject examples unclassified"}
    rows = [[words, *(format_share(it.get(name)) for it in summaries.values())] for name, words in names.items()]
    note = "" if all("accept_precision" in it for it in summaries.values()) else "There is no ring where nothing is accepted."
    return figure("Decisions", table(["", *summaries], rows, numbers=1), note)


def list_splits_with(splits: Splits, part: str) -> list[tuple[str, Figures]]:
    """Return the name and figures of each split that has this part."""
    return [(name, figures) for name, figures in splits.items() if figures.get(part)]


def _format_interval(interval: Sequence[float] | None) -> str:
    return f', <span class="soft">95 % interval {100 * interval[0]:.1f} to {100 * interval[1]:.1f}</span>' if interval else ""
