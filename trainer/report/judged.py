"""The section of the report on judged postings: figures in, HTML out."""

from collections.abc import Sequence
from typing import Any

from trainer.report.page import escape_text, format_share, section, table

COLUMNS = {
    "top_1": "top-1",
    "top_3": "top-3",
    "top_5": "top-5",
    "accept_share": "accepted",
    "accept_precision": "right of these",
    "accept_wrong_group": "wrong group",
    "no_job_accept_share": "no job, accepted",
}
"""The headings of the figures. Each is a share."""


def render_judged(rows: Sequence[dict[str, Any]]) -> str:
    """Return the figures of judged postings, for each file and set."""
    cells = [
        [
            escape_text(row.get("file", "-"), 40),
            escape_text(row.get("set", "-"), 40),
            *(f"{row.get(name, 0):,}" for name in ("job_rows", "no_job_rows")),
            *(_render_figure(row, name) for name in COLUMNS),
        ]
        for row in rows
    ]
    intro = (
        "Answers of the model that is fitted on all rows. An answer is right if it is among the codes that a judge would accept. "
        "Wrong group: the share of the accepted postings whose answer is in the major group of no such code. No job: titles "
        "that name none, of which nothing should be accepted. Small figures are 95 % intervals."
    )
    body = table(["file", "set", "jobs", "no job", *COLUMNS.values()], cells, numbers=2) if cells else ""
    return section("Judged postings", intro, body, missing="no files of judged postings were given.")


def _render_figure(row: dict[str, Any], name: str) -> str:
    interval = (row.get("intervals") or {}).get(name)
    return format_share(row.get(name)) + (f"<small>{100 * interval[0]:.1f}-{100 * interval[1]:.1f}</small>" if interval else "")
