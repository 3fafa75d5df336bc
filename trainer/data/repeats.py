"""Postings that come more than once, and titles that experts gave different codes."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from schemas.events import LabelledPosting

Place = tuple[str, int]
"""A file's name, and a row of it."""
PlacedPosting = tuple[LabelledPosting, Place]
DUPLICATE = "duplicate rows"
RELABELLED = "an earlier label of a posting that was labelled again"


def drop_repeats(rows: Iterable[PlacedPosting], on_left_out: Callable[[str, Place], object]) -> list[PlacedPosting]:
    """Return the rows, each posting once: of labels that differ the last stands, at the place of the first.

    A posting is known by its id and its title: ids need not be unique across files. Rows without an id are never compared.
    `on_left_out` is told why and which place each time.
    """
    kept: list[PlacedPosting] = []
    met: dict[tuple[str, str], int] = {}
    for posting, place in rows:
        # What is not met yet gets the number of the row that is about to be added.
        number = met.setdefault((posting.posting_id, posting.title), len(kept)) if posting.posting_id else len(kept)
        if number == len(kept):
            kept.append((posting, place))
        elif (earlier := kept[number])[0].onet_code == posting.onet_code:
            on_left_out(DUPLICATE, place)
        else:
            on_left_out(RELABELLED, earlier[1])
            kept[number] = posting, place
    return kept


def describe_disagreement(titles: Sequence[str], codes: Sequence[str]) -> str | None:
    """Return a sentence on how many titles have more than one code, and which has most; None where none has."""
    codes_of: defaultdict[str, set[str]] = defaultdict(set)
    for title, code in zip(titles, codes, strict=True):
        codes_of[title].add(code)
    several = sum(len(found) > 1 for found in codes_of.values())
    if not several:
        return None
    most = max(codes_of, key=lambda title: len(codes_of[title]))
    return f"{several:,} titles have more than one code, most: {most!r} with {len(codes_of[most])}"
