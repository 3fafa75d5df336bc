"""Sections of the report that list levels, confusions, samples and categories. The names of splits are already HTML."""

from collections.abc import Sequence

from trainer.report import plots
from trainer.report.comparisons import NO_FIGURES, Figures, Splits, list_splits_with
from trainer.report.page import escape_text, format_share, section, table

CATEGORY_ROWS = 2_600
"""Categories listed in all splits together, at most: more would make the page larger than 3 MB."""


def render_levels(splits: Splits) -> str:
    """Return the share right at coarser levels of the classification."""
    found = dict(list_splits_with(splits, "rollup"))
    levels: list[Figures] = max((figures["rollup"] for figures in found.values()), key=len, default=[])
    rows = [
        [
            escape_text(level["level"]),
            f"{level['groups']:,}",
            *(_find_right_share(figures["rollup"], level["level"]) for figures in found.values()),
        ]
        for level in levels
    ]
    body = table(["level", "groups", *found], rows, numbers=1) if rows else ""
    intro = "The share right if only the group has to be right. A group's probability is the sum over its codes."
    return section("At coarser levels", intro, body, missing=NO_FIGURES)


def _find_right_share(rows: Sequence[Figures], level: str) -> str:
    return next((format_share(row["right"]) for row in rows if row["level"] == level), "-")


def render_confusions(splits: Splits) -> str:
    """Return the most frequent confusions."""
    parts = []
    for name, figures in list_splits_with(splits, "worst_pairs"):
        rows = [
            [
                _render_occupation(pair, "true"),
                _render_occupation(pair, "predicted"),
                escape_text(pair["example"]),
                str(pair["count"]),
                plots.format_percent(pair["share"]),
            ]
            for pair in figures["worst_pairs"]
        ]
        headings = ["true", "taken for", "for example", "count", "of the true"]
        parts.append(f"<h3>Split: {name}</h3>" + table(headings, rows, numbers=3, limit=30, kind="words"))
    intro = "Which occupation is most often taken for which other, and for how many of its held-out postings."
    return section(
        "Most frequent confusions", intro, "".join(parts), missing="no posting got a wrong code, or none was measured."
    )


def _render_occupation(row: Figures, which: str) -> str:
    return f"{escape_text(row[f'{which}_name'])}<small>{escape_text(row[f'{which}_code'], 12)}</small>"


def render_samples(splits: Splits) -> str:
    """Return some right and some wrong predictions."""
    parts = []
    for name, figures in list_splits_with(splits, "samples"):
        rows = [
            [
                escape_text(row["title"]),
                _render_answer(row),
                "" if row["right"] else _render_occupation(row, "true"),
                escape_text(row["decision"], 20),
                format_share(row["probability"]),
            ]
            for row in figures["samples"]
        ]
        headings = ["title", "the model says", "but it is", "decision", "probability"]
        parts.append(f"<h3>Split: {name}</h3>" + table(headings, rows, numbers=4, limit=50, kind="words"))
    intro = "Right answers are drawn at random. Of the wrong ones, half are the most confident and half are drawn at random."
    return section("Samples", intro, "".join(parts), missing=NO_FIGURES)


def _render_answer(row: Figures) -> str:
    kind, word = ("right", "✓ right") if row["right"] else ("wrong", f"✗ wrong: the true one is at rank {row['rank']}")
    return f'{_render_occupation(row, "predicted")}<span class="{kind}">{word}</span>'


def render_categories(splits: Splits) -> str:
    """Return a folded table of every category that has held-out postings."""
    found = list_splits_with(splits, "by_category")
    limit = CATEGORY_ROWS // max(1, len(found))
    headings = ["code", "name", "training", "held out", "top-1", "top-5"]
    parts = []
    for name, figures in found:
        rows = [
            [
                escape_text(r["code"], 12),
                escape_text(r["name"], 80),
                *(f"{r[k]:,}" for k in ("train_rows", "rows")),
                *(f"{100 * r[k]:.0f}" for k in ("top_1", "top_5")),
            ]
            for r in figures["by_category"][: limit + 1]
        ]
        title = f"Split: {name}, {len(figures['by_category']):,} categories"
        parts.append(f"<details><summary>{title}</summary>{table(headings, rows, numbers=2, limit=limit)}</details>")
    return section("Every category", "Postings in training and held out; shares in per cent.", "".join(parts), missing=NO_FIGURES)
