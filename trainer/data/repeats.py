"""Repeated postings, each of which is kept once, and titles that experts gave different codes."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from schemas.events import LabelledPosting

Place = tuple[str, int]
"""A file's name, and the number of a row in it."""
PlacedPosting = tuple[LabelledPosting, Place]
"""A posting, and the place where it was read."""
DUPLICATE = "duplicate rows"
RELABELLED = "an earlier label of a posting that was labelled again"


def drop_repeats(postings: Iterable[PlacedPosting], on_left_out: Callable[[str, Place], object]) -> list[PlacedPosting]:
    """Return each posting once. Of several labels the last one counts; its posting takes the position of the first.

    Two rows are the same posting if id and title are equal; ids alone need not be unique across files. Rows without an id are
    never compared. `on_left_out` is called with the reason and the place of each row that is left out.
    """
    kept: list[PlacedPosting] = []
    index_of: dict[tuple[str, str], int] = {}
    for posting, place in postings:
        # A posting that is new gets the index of the entry that is about to be appended.
        index = index_of.setdefault((posting.posting_id, posting.title), len(kept)) if posting.posting_id else len(kept)
        if index == len(kept):
            kept.append((posting, place))
        elif (earlier := kept[index])[0].onet_code == posting.onet_code:
            on_left_out(DUPLICATE, place)
        else:
            on_left_out(RELABELLED, earlier[1])
            kept[index] = posting, place
    return kept


def describe_disagreement(titles: Sequence[str], codes: Sequence[str]) -> str | None:
    """Return a sentence on how many titles have more than one code, and which title has most; None if no title has."""
    codes_of: defaultdict[str, set[str]] = defaultdict(set)
    for title, code in zip(titles, codes, strict=True):
        codes_of[title].add(code)
    several = sum(len(found) > 1 for found in codes_of.values())
    if not several:
        return None
    most = max(codes_of, key=lambda title: len(codes_of[title]))
    return f"{several:,} titles have more than one code, most: {most!r} with {len(codes_of[most])}"
