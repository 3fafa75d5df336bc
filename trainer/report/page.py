"""The HTML elements of a report. All text must go through `escape_text`: titles come from strangers."""

import re
from collections.abc import Iterable, Sequence
from html import escape

LONGEST_TEXT = 120
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")

STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--paper:#fff;--panel:#f6f8fa;--line:#d0d7de;--good:#1a7f37;
--bad:#b42318;
--s0:#0072b2;--s1:#c8590a;--s2:#00805d;--s3:#a8488a;--s4:#7a6a00;--s5:#5b5fc7}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9aa5b1;--paper:#0d1117;--panel:#161b22;--line:#30363d;
--good:#56d364;--bad:#ff8a80;
--s0:#58b4f0;--s1:#ff9f50;--s2:#45d1a3;--s3:#e792c8;--s4:#d9c84a;--s5:#a5a8ff}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1120px;padding:16px;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
h1{margin:8px 0;font-size:1.6em}h2{margin:40px 0 4px;font-size:1.25em;border-top:1px solid var(--line);padding-top:16px}
h3{margin:8px 0;font-size:1em}p{margin:6px 0;max-width:80ch}.soft,figcaption,.missing{color:var(--soft)}
.missing{font-style:italic}
.side{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));gap:16px}
.side>*{min-width:0}figure,.card{margin:8px 0;padding:12px;background:var(--panel);border:1px solid var(--line);
border-radius:8px}
.card b.big{font-size:1.9em;line-height:1.2;margin-right:6px}
figcaption{margin-top:8px;font-size:.92em}figure>svg{display:block;width:100%;max-width:560px;height:auto}
svg text{fill:var(--soft);font:11.5px system-ui,sans-serif}.grid{stroke:var(--line);stroke-width:1}
.level{stroke:var(--ink);stroke-width:1.5;stroke-dasharray:6 4}rect{opacity:.8}
polyline{fill:none;stroke-width:2}.ring{stroke-width:2.5}
.legend{display:flex;flex-wrap:wrap;gap:2px 16px;font-size:.9em}
.key{display:inline-block;width:12px;height:12px;margin-right:5px;border-radius:3px}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.92em}
th,td{padding:4px 8px;text-align:left;vertical-align:top;border-bottom:1px solid var(--line);overflow-wrap:break-word}
th{color:var(--soft);font-weight:600;overflow-wrap:normal}
td.n,th.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
td small{display:block;color:var(--soft)}td b{color:var(--good)}
.words td:not(.n){min-width:10.5em;overflow-wrap:anywhere}.right{color:var(--good)}
.wrong{color:var(--bad)}
.bar{position:relative;height:10px;margin:2px 0 7px;background:var(--line);border-radius:3px;overflow:hidden}
.bar i{position:absolute;inset:0 auto 0 0}.bar i.five{background:var(--s0);opacity:.4}.bar i.one{background:var(--s0)}
.group{display:flex;justify-content:space-between;gap:8px;font-size:.9em;line-height:1.3}
.group span:last-child{white-space:nowrap;color:var(--soft)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 16px;margin:8px 0}dt{color:var(--soft)}
dd{margin:0;overflow-wrap:anywhere}
pre{padding:12px;background:var(--panel);border:1px solid var(--line);border-radius:8px;white-space:pre-wrap;
overflow-wrap:anywhere}
""" + "".join(
    f"polyline.s{i},.ring.s{i}{{stroke:var(--s{i})}}.ring.s{i}{{fill:none}}"
    f"rect.s{i},circle.s{i}:not(.ring){{fill:var(--s{i})}}.key.s{i}{{background:var(--s{i})}}"
    for i in range(6)
)


def escape_text(value: object, longest: int = LONGEST_TEXT) -> str:
    """Return a value as HTML text of at most `longest` characters, without control characters."""
    words = UNPRINTABLE.sub(" ", str(value)[: 2 * longest])
    return escape(words if len(words) <= longest else words[: longest - 1] + "…")


def format_seconds(value: float | None) -> str:
    """Return a duration in words; "-" for None."""
    if value is None:
        return "-"
    return f"{int(value) // 60} min {int(value) % 60} s" if value >= 60 else f"{value:.3g} s"  # noqa: PLR2004 - a minute


def format_share(value: float | None) -> str:
    """Return a share as a percentage; "-" for None."""
    return "-" if value is None else f"{100 * value:.1f} %"


def wrap_page(title: str, body: str) -> str:
    """Return a whole document. It loads nothing and runs nothing."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape_text(title)}</title><style>{STYLE}</style></head><body>{body}</body></html>\n"
    )


def section(heading: str, intro: str, body: str, *, missing: str) -> str:
    """Return a section of the page; if it has no body, its heading and why the body is missing."""
    shown = f"<p>{intro}</p>{body}" if body else f'<p class="missing">Not shown: {missing}</p>'
    return f"<section><h2>{heading}</h2>{shown}</section>"


def side_by_side(parts: Iterable[str]) -> str:
    """Return parts that stand beside each other if there is room; "" without parts."""
    found = "".join(parts)
    return f'<div class="side">{found}</div>' if found else ""


def figure(caption: str, picture: str, below: str = "") -> str:
    """Return a picture with its caption; `caption` and `below` are already HTML."""
    return f"<figure><h3>{caption}</h3>{picture}{f'<figcaption>{below}</figcaption>' if below else ''}</figure>"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: int = 0, limit: int = 100, kind: str = "") -> str:
    """Return a table of HTML cells with at most `limit` rows; columns from number `numbers` on are aligned to the right."""
    cell = ["" if i < numbers else ' class="n"' for i in range(len(headings))]
    head = "".join(f"<th{c}>{heading}" for c, heading in zip(cell, headings, strict=True))
    body = "".join("<tr>" + "".join(f"<td{c}>{value}" for c, value in zip(cell, row, strict=True)) for row in rows[:limit])
    more = f'<p class="soft">{len(rows) - limit:,} more rows are left out.</p>' if len(rows) > limit else ""
    return f'<div class="wide"><table class="{kind}"><thead><tr>{head}<tbody>{body}</table></div>{more}'
