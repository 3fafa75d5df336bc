"""Sections of the report on confidence: reliability, and the errors that a threshold avoids. Names of splits are already HTML."""

from collections.abc import Mapping

from trainer.report import plots
from trainer.report.comparisons import NO_FIGURES, Figures, Splits, list_splits_with
from trainer.report.page import figure, format_share, section, side_by_side, table


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
    if not found:
        return section("Fewer answers, fewer errors", "", "", missing=NO_FIGURES)
    series = {name: [(row["coverage"], row["error"]) for row in figures["risk_coverage"]] for name, figures in found.items()}
    summaries = {name: figures.get("summary", {}) for name, figures in found.items()}
    intro = (
        "How many answers are wrong if only the most confident are given. Ring: the accepted ones. Dashed: the promised share of "
        "errors."
    )
    body = side_by_side([f"<figure>{_draw_risk(series, summaries)}</figure>", _render_decisions(summaries)])
    return section("Fewer answers, fewer errors", intro, body, missing=NO_FIGURES)


def _draw_risk(series: Mapping[str, list[plots.Point]], summaries: Mapping[str, Figures]) -> str:
    """Draw the share wrong by the share answered, with a ring at what each split accepts."""
    marks = {
        name: (summary["accept_share"], 1 - summary["accept_precision"])
        for name, summary in summaries.items()
        if summary.get("accept_precision") is not None
    }
    promised = {1 - summary["precision"] for summary in summaries.values() if "precision" in summary}
    level = promised.pop() if len(promised) == 1 else None
    most = max([y for curve in series.values() for _, y in curve] + [y for _, y in marks.values()] + [level or 0, 0.02])
    return plots.draw_lines(
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


def _render_decisions(summaries: Mapping[str, Figures]) -> str:
    names = {
        "accept_share": "accepted",
        "accept_precision": "right of the accepted",
        "precision": "promised",
        "reachable_share": "could be accepted at that precision, with hindsight",
        "review_share": "for review",
        "unclassified_share": "unclassified",
    }
    if any(summary.get("reject_rows") for summary in summaries.values()):
        names |= {"reject_accept_share": "reject examples accepted", "reject_unclassified_share": "reject examples unclassified"}
    rows = [[words, *(format_share(summary.get(name)) for summary in summaries.values())] for name, words in names.items()]
    note = (
        ""
        if all("accept_precision" in summary for summary in summaries.values())
        else "There is no ring where nothing is accepted."
    )
    return figure("Decisions", table(["", *summaries], rows, numbers=1), note)
