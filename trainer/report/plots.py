"""Plots as inline SVG. Their text stays text, and their colours follow the page's light or dark theme.

Each plot is drawn 480 wide, so that a narrow screen shows it at its own size.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 480
COLOURS = 6
"""The number of series that can be told apart; `page.STYLE` has a colour for each."""
FEW = 20
"""A curve of no more points shows each of them as a dot."""
DASHES = ("", "7 4", "2 3", "9 3 2 3", "4 4", "12 3")
Point = tuple[float, float]
Label = Callable[[float], str]


def format_percent(value: float) -> str:
    """Return a share as a whole percentage."""
    return f"{100 * value:.0f} %"


def format_tenths(value: float) -> str:
    """Return a share as a percentage with one decimal."""
    return f"{100 * value:.1f} %"


def format_number(value: float) -> str:
    """Return a number in few digits."""
    return f"{value:.4g}"


def choose_ticks(low: float, high: float, *, count: int = 5) -> list[float]:
    """Return about `count` round numbers from `low` to `high`; high > low."""
    raw = (high - low) / count
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= raw * 0.999)
    return [i * step for i in range(math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6) + 1)]


@dataclass(frozen=True)
class Frame:
    """The rectangle of a plot, with the ranges of its two axes."""

    x: tuple[float, float]
    y: tuple[float, float]
    height: int = 300
    left: int = 68
    right: int = 24
    top: int = 12
    bottom: int = 44

    def at(self, x: float, y: float) -> Point:
        """Return the place of a point in the picture."""
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return (
            round(self.left + across * (WIDTH - self.left - self.right), 1),
            round(self.height - self.bottom - up * (self.height - self.top - self.bottom), 1),
        )

    def grid(self, y_ticks: Sequence[float], y_label: Label) -> str:
        """Draw a grid line and a number at each tick of the y axis."""
        found = []
        for value in y_ticks:
            (x0, y), (x1, _) = self.at(self.x[0], value), self.at(self.x[1], value)
            found.append(
                f'<line class="grid" x1="{x0}" y1="{y}" x2="{x1}" y2="{y}"/>{text(x0 - 6, y + 4, y_label(value), "end")}'
            )
        return "".join(found)

    def x_axis(self, x_ticks: Sequence[float], x_label: Label) -> str:
        """Draw the numbers below the x axis."""
        base = self.height - self.bottom
        return "".join(text(self.at(value, self.y[0])[0], base + 16, x_label(value)) for value in x_ticks)

    def titles(self, x: str, y: str) -> str:
        """Draw the names of both axes."""
        middle = (self.top + self.height - self.bottom) / 2
        upright = f'<text transform="translate(12 {middle}) rotate(-90)" text-anchor="middle">{escape(y)}</text>'
        return text((self.left + WIDTH - self.right) / 2, self.height - 6, x) + upright


def text(x: float, y: float, words: str, anchor: str = "middle") -> str:
    """Draw words at a place."""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(words)}</text>'


def render_legend(names: Sequence[str]) -> str:
    """Return the names of the series (already HTML) with their colours; "" for a single series."""
    if len(names) < 2:  # noqa: PLR2004 - a single series needs no legend
        return ""
    keys = [f'<span><i class="key s{i}"></i>{name}</span>' for i, name in enumerate(names)]
    return f'<p class="legend">{"".join(keys)}</p>'


def draw_lines(
    series: Mapping[str, Sequence[Point]],
    *,
    x: str,
    y: str,
    y_range: tuple[float, float] | None = None,
    x_range: tuple[float, float] | None = None,
    x_label: Label = format_number,
    y_label: Label = format_number,
    x_ticks: Sequence[float] | None = None,
    marks: Mapping[str, Point] | None = None,
    level: float | None = None,
) -> str:
    """Draw at most COLOURS curves through their points. The keys are their names, already HTML.

    `marks` holds the place of a ring for the curve of a name; `level` is the height of a dashed line across the plot.
    """
    shown = dict(list(series.items())[:COLOURS])
    points = [point for curve in shown.values() for point in curve]
    frame = Frame(x_range or _pad_range([p[0] for p in points]), y_range or _pad_range([p[1] for p in points]))
    parts = [
        frame.grid(choose_ticks(*frame.y), y_label),
        frame.x_axis(x_ticks or choose_ticks(*frame.x), x_label),
        frame.titles(x, y),
    ]
    if level is not None:
        (x0, at), (x1, _) = frame.at(frame.x[0], level), frame.at(frame.x[1], level)
        parts.append(f'<line class="level" x1="{x0}" y1="{at}" x2="{x1}" y2="{at}"/>')
    for i, (name, curve) in enumerate(shown.items()):
        parts.append(_draw_curve(i, [frame.at(*point) for point in curve]))
        if marks and name in marks:
            mx, my = frame.at(*marks[name])
            parts.append(f'<circle class="ring s{i}" cx="{mx}" cy="{my}" r="7"/>')
    return render_legend(list(shown)) + _wrap_svg(frame.height, f"{y} by {x}", parts)


def draw_bars(
    labels: Sequence[tuple[str, str]], series: Mapping[str, Sequence[float | None]], *, x: str, y: str, x_note: bool = True
) -> str:
    """Draw shares as groups of at most COLOURS upright bars. Each group has two lines of label; None leaves a gap."""
    shown = dict(list(series.items())[:COLOURS])
    frame = Frame((0, len(labels)), (0, 1), bottom=58 if x_note else 44)
    parts = [frame.grid(choose_ticks(0, 1), format_percent), frame.titles(x, y)]
    wide = 0.8 / len(shown)
    for i, values in enumerate(shown.values()):
        for at, value in enumerate(values):
            if value is not None:
                (x0, y0), (x1, y1) = frame.at(at + 0.1 + i * wide, value), frame.at(at + 0.1 + (i + 1) * wide, 0)
                parts.append(f'<rect class="s{i}" x="{x0}" y="{y0}" width="{max(x1 - x0 - 1.5, 1):.1f}" height="{y1 - y0:.1f}"/>')
                parts.append(text((x0 + x1) / 2, y0 - 3, f"{100 * value:.0f}"))
    for at, (label, note) in enumerate(labels):
        middle, base = frame.at(at + 0.5, 0)
        parts += [text(middle, base + 15, label), text(middle, base + 29, note)]
    return render_legend(list(shown)) + _wrap_svg(frame.height, f"{y} by {x}", parts)


def draw_reliability(bins: Sequence[tuple[float, float, int, float]]) -> str:
    """Draw bins (low, high, count, share right): the shares with the diagonal of perfect calibration, and the counts below."""
    most = max(count for *_, count, _ in bins)
    frame = Frame((0, 1), (0, 1), height=380, bottom=150)
    low = Frame((0, 1), (0, most), height=380, top=262, bottom=44)
    (dx0, dy0), (dx1, dy1) = frame.at(0, 0), frame.at(1, 1)
    parts = [
        frame.grid(choose_ticks(0, 1), format_percent),
        low.x_axis(choose_ticks(0, 1), format_percent),
        low.titles("probability the model states", ""),
    ]
    parts.append('<text transform="translate(12 121) rotate(-90)" text-anchor="middle">share right</text>')
    parts.append('<text transform="translate(12 299) rotate(-90)" text-anchor="middle">postings</text>')
    for start, end, count, right in bins:
        if count:
            parts += [_draw_box(frame, start, end, right, 0), _draw_box(low, start, end, count, 1)]
            top = low.at((start + end) / 2, count)
            parts.append(text(top[0], top[1] - 3, str(count) if count < 10_000 else f"{count // 1000}k"))  # noqa: PLR2004
    parts.append(f'<line class="level" x1="{dx0}" y1="{dy0}" x2="{dx1}" y2="{dy1}"/>')
    return _wrap_svg(380, "share right by probability the model states", parts)


def _draw_box(frame: Frame, start: float, end: float, value: float, colour: int) -> str:
    (x0, y0), (x1, y1) = frame.at(start, value), frame.at(end, 0)
    return f'<rect class="s{colour}" x="{x0 + 1:g}" y="{y0}" width="{x1 - x0 - 2:.1f}" height="{y1 - y0:.1f}"/>'


def _draw_curve(colour: int, points: Sequence[Point]) -> str:
    path = " ".join(f"{x},{y}" for x, y in points)
    few = points if len(points) <= FEW else ()  # more dots would run into each other
    dots = "".join(f'<circle class="s{colour}" cx="{x}" cy="{y}" r="2.6"/>' for x, y in few)
    return f'<polyline class="s{colour}" stroke-dasharray="{DASHES[colour]}" points="{path}"/>{dots}'


def _pad_range(values: Sequence[float]) -> tuple[float, float]:
    """Return the least and the greatest value with a little room around them. The two differ even if all values are equal."""
    low, high = min(values), max(values)
    room = (high - low) * 0.04 or max(abs(high) * 0.1, 1e-6)
    return low - room, high + room


def _wrap_svg(height: int, name: str, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(name)}">{"".join(parts)}</svg>'
