"""What the label of a posting means: a code of the taxonomy, of an older one, of a new category, or that no occupation fits."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from schemas.artifact import Category
from schemas.events import LabelledPosting
from schemas.text import plain_text
from trainer.data.cleaned_titles import cached_clean_title
from trainer.data.onet import CODE_PATTERN
from trainer.data.packaged import older_codes

UNCLASSIFIED = "Unclassified"
"""A label that says no occupation fits."""
UNCLASSIFIED_CODE = "99-9999.00"
"""Its code where it is to be a category like any other."""
Unclassified = Literal["reject", "ignore", "category"]
"""Such a posting shows what not to accept; teaches nothing; or is of a category of its own."""

SOC_CODE = re.compile(r"[0-9]{2}-[0-9]{4}")
OUTSIDE_TAXONOMY = "a label outside the taxonomy"
SPLIT_CODE = "a code of an older O*NET-SOC that was split"
NO_NEW_CATEGORY = f"{OUTSIDE_TAXONOMY} that makes no new category: that takes a code such as 29-1141.00 and a name"
FROM_OLDER_CODE, FROM_SIX_DIGITS = "from codes of an older O*NET-SOC", "from six-digit SOC codes"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRules:
    """What is made of labels outside the taxonomy, and of `Unclassified`."""

    new_categories: bool = False
    unclassified: Unclassified = "reject"


@dataclass(frozen=True, slots=True)
class Label:
    """The code that a row is learned under, UNCLASSIFIED for a reject example; or why it is left out.

    `mapped` says whence the code was mapped, `title` what the row is to be named instead of what it says.
    """

    code: str = ""
    title: str = ""
    left_out: str = ""
    mapped: str = ""


class LabelReader:
    """Reads labels by a taxonomy, a mapping of codes to titles."""

    def __init__(self, names: Mapping[str, str], rules: LabelRules) -> None:
        self._names = names
        self._rules = rules
        self._older = older_codes()

    def read(self, posting: LabelledPosting) -> Label:
        """Return what a posting is learned as. A code of the taxonomy is always taken as it is."""
        if not cached_clean_title(posting.title):
            return Label(left_out="no title")
        if is_unclassified(posting.onet_code) or is_unclassified(posting.onet_title):
            return self._read_unclassified()
        if posting.onet_code in self._names:
            return Label(posting.onet_code)
        return self._map_older_code(posting) or self._read_outside(posting)

    def _read_unclassified(self) -> Label:
        match self._rules.unclassified:
            case "reject":
                return Label(UNCLASSIFIED)
            case "category":
                return Label(UNCLASSIFIED_CODE, title=UNCLASSIFIED)
            case "ignore":
                return Label(left_out=f"the label {UNCLASSIFIED}")

    def _map_older_code(self, posting: LabelledPosting) -> Label | None:
        short = bool(SOC_CODE.fullmatch(posting.onet_code))
        code = f"{posting.onet_code}.00" if short else posting.onet_code
        if code in self._names:
            return Label(code, mapped=FROM_SIX_DIGITS)
        successors = self._older.get(code, ())
        if len(successors) > 1:
            named = (posting.onet_title or "").strip().casefold()
            chosen = [new for new in successors if self._names.get(new, "").casefold() == named != ""]
        else:
            chosen = [new for new in successors if new in self._names]
        if chosen:
            return Label(chosen[0], mapped=FROM_OLDER_CODE)
        return Label(left_out=SPLIT_CODE) if len(successors) > 1 else None

    def _read_outside(self, posting: LabelledPosting) -> Label:
        if not self._rules.new_categories:
            return Label(left_out=OUTSIDE_TAXONOMY)
        return Label(posting.onet_code) if CODE_PATTERN.fullmatch(posting.onet_code) else Label(left_out=NO_NEW_CATEGORY)


def is_unclassified(label: str | None) -> bool:
    """Return whether a code or a name says that no occupation fits."""
    return label is not None and label.strip().casefold() == UNCLASSIFIED.casefold()


def make_new_categories(postings: Iterable[LabelledPosting], names: Mapping[str, str]) -> dict[str, Category]:
    """Return the categories of codes outside `names`, each titled as most of its postings say; a code without a name has none."""
    said: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for posting in postings:
        if posting.onet_code not in names and (name := plain_text(posting.onet_title or "")):
            said[posting.onet_code][name] += 1
    return {code: Category(onet_code=code, onet_title=found.most_common(1)[0][0]) for code, found in said.items()}
