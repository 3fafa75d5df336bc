"""The sections of a report: each takes the figures it shows and returns HTML. The names of splits are HTML already."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trainer import plots
from trainer.page import figure, section, side, table, text

Figures = dict[str, Any]
Splits = Mapping[str, Figures]
EACH = "no split has these figures: nothing was held out, or no posting was left to measure on."
CATEGORY_ROWS = 3_600
"""Rows of the tables per category in all splits together: what keeps the page below 3 MB."""
MEANT = {
    "random": "held-out postings",
    "title": "new titles (none of them was in training)",
}
BEST: dict[str, Callable[..., float]] = {
    **dict.fromkeys(("top_1", "top_3", "top_5", "macro_top_1"), max),
    **dict.fromkeys(("ece", "train_seconds", "score_seconds"), min),
}
"""Figures of which the greatest, or least, is best. What is accepted is not: its share and precision are a bargain."""
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


def seconds(value: float | None) -> str:
    """Return a time in words; "-" for none."""
    if value is None:
        return "-"
    return f"{int(value) // 60} min {int(value) % 60} s" if value >= 60 else f"{value:.3g} s"  # noqa: PLR2004 - a minute


def share(value: float | None) -> str:
    """Return a share as a percentage; "-" for none."""
    return "-" if value is None else plots.percent_1(value)


def headline(splits: Splits) -> str:
    """Return the main figures of each split in plain words."""
    cards = [_card(name, figures) for name, figures in _with(splits, "summary").items() if "top_1" in figures["summary"]]
    return section("In short", "", side(cards), missing=EACH)


def _card(name: str, figures: Figures) -> str:
    it, ranges = figures["summary"], figures.get("intervals", {})
    lines = [f"Of 100 {MEANT.get(name, 'held-out postings')}, {_of_100(it['top_1'])} get the right code first"]
    lines[0] += f", {_of_100(it['top_5'])} within the first five."
    if it.get("accept_share"):
        said = f"{_of_100(it['accept_share'])} of 100 are accepted without a person; of 100 such, "
        lines.append(f"{said}{_of_100(it.get('accept_precision', 0))} are right (promised: {_of_100(it.get('precision', 0.9))}).")
    else:
        lines.append("None is accepted without a person: no threshold kept the promised precision.")
    if "macro_top_1" in it:
        lines.append(f"Where every occupation counts the same, rare ones as much as frequent ones, {_of_100(it['macro_top_1'])}.")
    if "ece" in it:
        lines.append(f"A stated probability is off by {100 * it['ece']:.1f} points on average (ECE{_range(ranges.get('ece'))}).")
    big = f'<b class="big">{share(it["top_1"])}</b>top-1{_range(ranges.get("top_1"))}'
    big += f'<br><b class="big">{share(it["top_5"])}</b>top-5{_range(ranges.get("top_5"))}'
    rows = f'<p class="soft">{it["rows"]:,} postings of {it.get("categories", 0):,} categories were measured on.</p>'
    return f'<div class="card"><h3>Split: {name}</h3>{big}{"".join(f"<p>{line}</p>" for line in lines)}{rows}</div>'


def comparison(methods: Sequence[Figures]) -> str:
    """Return one table of all methods, the best figure of each split in bold."""
    shown = [name for name in COLUMNS if any(row.get(name) is not None for row in methods)]
    rows = [
        [text(row.get("method", "-"), 60), text(row.get("split", "-"), 40), *(_cell(row, name, methods) for name in shown)]
        for row in methods
    ]
    intro = (
        "Shares of held-out postings. Macro: the mean over categories. ECE: how far stated probabilities are off. The best of a "
        "split is in bold; small figures are 95 % intervals."
    )
    body = table(["method", "split", *(COLUMNS[name] for name in shown)], rows, numbers=2) if rows else ""
    return section("Methods compared", intro, body, missing="one method was measured alone; nothing to compare it with.")


def _cell(row: Figures, name: str, methods: Sequence[Figures]) -> str:
    value, interval = row.get(name), (row.get("intervals") or {}).get(name)
    words = seconds(value) if name.endswith("seconds") else share(value)
    rivals = [other[name] for other in methods if other.get("split") == row.get("split") and other.get(name) is not None]
    if len(rivals) > 1 and name in BEST and value == BEST[name](rivals):
        words = f"<b>{words}</b>"
    return words + (f"<small>{100 * interval[0]:.1f}-{100 * interval[1]:.1f}</small>" if interval else "")


def top_n(splits: Splits) -> str:
    """Return how often the right code is among the first N."""
    tops = range(1, 11)
    series = {
        name: [(top, figures["summary"][f"top_{top}"]) for top in tops if f"top_{top}" in figures["summary"]]
        for name, figures in _with(splits, "summary").items()
    }
    found = {name: points for name, points in series.items() if points}
    if not found:
        return section("Right among the first N", "", "", missing=EACH)
    low = min(y for points in found.values() for _, y in points)
    picture = plots.lines(
        found, x="N best codes looked at", y="share right", y_range=(int(low * 10) / 10, 1), y_label=plots.percent, x_ticks=tops
    )
    rows = [
        [name, *(f"{100 * dict(points)[top]:.1f}" if top in dict(points) else "-" for top in tops)]
        for name, points in found.items()
    ]
    values = table(["split", *(str(top) for top in tops)], rows, numbers=1)
    body = side([f"<figure>{picture}</figure>", f"<figure><h3>In per cent</h3>{values}</figure>"])
    return section("Right among the first N", "What a person who looks at the first N suggestions finds.", body, missing=EACH)


def bucket(splits: Splits) -> str:
    """Return accuracy by how many training postings a category had."""
    intro = "Top-1 of postings by how many training postings their occupation had, beside O*NET's own titles."
    return section(
        "By size of category",
        intro,
        side(_bucket(name, f["by_bucket"]) for name, f in _filled(splits, "by_bucket")),
        missing=EACH,
    )


def _bucket(name: str, rows: Sequence[Figures]) -> str:
    if not any(row["rows"] for row in rows):
        return ""
    labels = [(row["train_rows"], f"n = {row['rows']:,}") for row in rows]
    series = {"top-1": [row.get("top_1") for row in rows], "top-5": [row.get("top_5") for row in rows]}
    empty = [row["train_rows"] for row in rows if not row["rows"]]
    note = f"No held-out postings with {', '.join(empty)} training postings." if empty else ""
    picture = plots.bars(labels, series, x="training postings of the occupation", y="share right")
    return figure(f"Split: {name}", picture, text(note))


def major_group(splits: Splits) -> str:
    """Return accuracy by major group of the SOC, as bars beside names."""
    cards = [figure(f"Split: {name}", _groups(f["by_major_group"])) for name, f in _filled(splits, "by_major_group")]
    intro = "Dark: the right code first. Light: within the first five. At the right: both in per cent, and postings."
    return section("By SOC major group", intro, side(cards), missing=EACH)


def _groups(rows: Sequence[Figures]) -> str:
    return "".join(
        f'<div class="group"><span>{text(row["code"], 12)} {text(row["name"], 60)}</span>'
        f"<span>{100 * row['top_1']:.0f} / {100 * row['top_5']:.0f} &nbsp; n = {row['rows']:,}</span></div>"
        f'<div class="bar"><i class="five" style="width:{100 * row["top_5"]:.1f}%"></i>'
        f'<i class="one" style="width:{100 * row["top_1"]:.1f}%"></i></div>'
        for row in rows[:60]
    )


def calibration(splits: Splits) -> str:
    """Return reliability diagrams with counts."""
    cards = []
    for name, figures in _filled(splits, "reliability"):
        bins = [(b["low"], b["high"], b["count"], b.get("right", 0.0)) for b in figures["reliability"]]
        if any(count for _, _, count, _ in bins):
            cards.append(figure(f"Split: {name}", plots.reliability(bins)))
    intro = "Bars on the dashed line: the model is right as often as it says. Above it is too modest, below it too sure."
    return section("Are the probabilities honest?", intro, side(cards), missing=EACH)


def risk(splits: Splits) -> str:
    """Return the error among the most confident rows against their share, with what is accepted."""
    found = dict(_filled(splits, "risk_coverage"))
    series = {name: [(row["coverage"], row["error"]) for row in figures["risk_coverage"]] for name, figures in found.items()}
    summaries = {name: figures.get("summary", {}) for name, figures in found.items()}
    marks = {
        name: (it["accept_share"], 1 - it["accept_precision"])
        for name, it in summaries.items()
        if it.get("accept_precision") is not None
    }
    notes = [f"{name}: {share(x)} accepted, {share(y)} of them wrong." for name, (x, y) in marks.items()]
    notes += [f"{name}: nothing is accepted, so there is no ring." for name in found if name not in marks]
    promised = {1 - it["precision"] for it in summaries.values() if "precision" in it}
    if not series:
        return section("Fewer answers, fewer errors", "", "", missing=EACH)
    level = promised.pop() if len(promised) == 1 else None
    most = max([y for curve in series.values() for _, y in curve] + [y for _, y in marks.values()] + [level or 0, 0.02])
    picture = plots.lines(
        series, x="share answered, most confident first", y="share wrong of these", x_range=(0, 1), y_range=(0, most * 1.08),
        x_label=plots.percent, y_label=plots.percent, marks=marks, level=level,
    )  # fmt: skip
    intro = (
        "How many answers are wrong if only the surest are given. Ring: what is accepted. Dashed: the promised share of errors."
    )
    body = side([f"<figure>{picture}<figcaption>{'<br>'.join(notes)}</figcaption></figure>"])
    return section("Fewer answers, fewer errors", intro, body, missing=EACH)


def rollup(splits: Splits) -> str:
    """Return the share right at coarser levels of the classification."""
    found = dict(_filled(splits, "rollup"))
    levels = max((figures["rollup"] for figures in found.values()), key=len, default=[])
    rows = [
        [text(level["level"]), f"{level['groups']:,}", *(_right(figures["rollup"], level["level"]) for figures in found.values())]
        for level in levels
    ]
    body = table(["level", "groups", *found], rows, numbers=1) if rows else ""
    intro = "Share right where only the group counts. A group's probability is the sum over its codes."
    return section("At coarser levels", intro, body, missing=EACH)


def _right(rows: Sequence[Figures], level: str) -> str:
    return next((share(row["right"]) for row in rows if row["level"] == level), "-")


def confusions(splits: Splits) -> str:
    """Return the most frequent confusions."""
    parts = []
    for name, figures in _filled(splits, "worst_pairs"):
        rows = [
            [
                _occupation(pair, "true"),
                _occupation(pair, "predicted"),
                text(pair["example"]),
                str(pair["count"]),
                plots.percent(pair["share"]),
            ]  # fmt: skip
            for pair in figures["worst_pairs"]
        ]
        headings = ["true", "taken for", "for example", "count", "of the true"]
        parts.append(f"<h3>Split: {name}</h3>" + table(headings, rows, numbers=3, limit=30, kind="words"))
    intro = "Which occupation is most often taken for which, and for how many of its held-out postings."
    return section(
        "Most frequent confusions", intro, "".join(parts), missing="no posting got a wrong code, or none was measured."
    )


def _occupation(row: Figures, which: str) -> str:
    return f"{text(row[f'{which}_name'])}<small>{text(row[f'{which}_code'], 12)}</small>"


def examples(splits: Splits) -> str:
    """Return some right and some wrong predictions."""
    parts = []
    for name, figures in _filled(splits, "samples"):
        rows = [
            [
                text(row["title"]),
                _verdict(row),
                "" if row["right"] else _occupation(row, "true"),
                text(row["decision"], 20),
                share(row["probability"]),
            ]  # fmt: skip
            for row in figures["samples"]
        ]
        headings = ["title", "the model says", "but it is", "decision", "probability"]
        parts.append(f"<h3>Split: {name}</h3>" + table(headings, rows, numbers=4, limit=50, kind="words"))
    intro = "Right ones drawn at random. Of the wrong ones, half are those the model was surest of, half were drawn at random."
    return section("Samples", intro, "".join(parts), missing=EACH)


def _verdict(row: Figures) -> str:
    kind, word = ("right", "✓ right") if row["right"] else ("wrong", f"✗ wrong: the true one is at rank {row['rank']}")
    return f'{_occupation(row, "predicted")}<span class="{kind}">{word}</span>'


def categories(splits: Splits) -> str:
    """Return a table of every category with held-out postings, folded away."""
    found = _filled(splits, "by_category")
    limit = CATEGORY_ROWS // max(1, len(found))
    headings = ["code", "name", "training", "held out", "top-1", "top-5"]
    parts = []
    for name, figures in found:
        rows = [
            [
                text(r["code"], 12),
                text(r["name"], 80),
                *(f"{r[k]:,}" for k in ("train_rows", "rows")),
                *(f"{100 * r[k]:.0f}" for k in ("top_1", "top_5")),
            ]
            for r in figures["by_category"][: limit + 1]
        ]
        title = f"Split: {name}, {len(figures['by_category']):,} categories"
        parts.append(f"<details><summary>{title}</summary>{table(headings, rows, numbers=2, limit=limit)}</details>")
    return section("Every category", "Postings in training and held out; shares in per cent.", "".join(parts), missing=EACH)


OF_SPLITS = (top_n, bucket, major_group, calibration, risk, rollup, confusions, examples, categories)


def _with(splits: Splits, part: str) -> dict[str, Figures]:
    return {name: figures for name, figures in splits.items() if figures.get(part)}


def _filled(splits: Splits, part: str) -> list[tuple[str, Figures]]:
    return list(_with(splits, part).items())


def _of_100(value: float) -> str:
    return f"{100 * value:.0f}"


def _range(interval: Sequence[float] | None) -> str:
    return f', <span class="soft">95 % interval {100 * interval[0]:.1f} to {100 * interval[1]:.1f}</span>' if interval else ""
