"""Reject examples: postings that no occupation fits. They are never trained on; they say what not to accept."""

from collections.abc import Sequence

RejectFigures = dict[str, float]


def reject_figures(decisions: Sequence[str]) -> RejectFigures:
    """Return what was decided of held-out reject examples: `reject_rows`, the share wrongly accepted, the share unclassified.

    {} where none was held out.
    """
    if not decisions:
        return {}
    shares = {f"reject_{kind}_share": round(decisions.count(kind) / len(decisions), 4) for kind in ("accept", "unclassified")}
    return {"reject_rows": len(decisions), **shares}
