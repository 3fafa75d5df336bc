"""The meaning of a label: a code of the taxonomy, an older code, the code of a new category, or that no occupation fits."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from schemas.artifact import Category
from schemas.events import LabelledPosting
from schemas.text import plain_text
from trainer.data.cleaned_titles import cached_clean_title
from trainer.data.codes import read_code
from trainer.data.onet import CODE_PATTERN
from trainer.data.packaged import read_older_codes

UNCLASSIFIED = "Unclassified"
"""The label of a posting that no occupation fits."""
UNCLASSIFIED_CODE = "99-9999.00"
"""The code of the category that such postings form with the rule `category`."""
Unclassified = Literal["reject", "ignore", "category"]
"""`reject`: such postings are examples of what not to accept. `ignore`: they are left out. `category`: they form a category."""

SOC_CODE = re.compile(r"[0-9]{2}-[0-9]{4}")
NO_CODE = "a label that is no O*NET-SOC code"
OUTSIDE_TAXONOMY = "a label outside the taxonomy"
SPLIT_CODE = "a code of an older O*NET-SOC that was split"
NO_NEW_CATEGORY = f"{OUTSIDE_TAXONOMY} that makes no new category: that takes a code such as 29-1141.00 and a name"
FROM_OLDER_CODE, FROM_SIX_DIGITS = "from codes of an older O*NET-SOC", "from six-digit SOC codes"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRules:
    """How to read labelled rows.

    `new_categories`: whether codes outside the taxonomy make new categories. `unclassified`: what UNCLASSIFIED means.
    `source_column`: the column of the source, before the usual names of it.
    """

    new_categories: bool = False
    unclassified: Unclassified = "reject"
    source_column: str | None = None


@dataclass(frozen=True, slots=True)
class Label:
    """The meaning of a row's label.

    `code`: the code to learn the row under, UNCLASSIFIED for a reject example. `title`: the occupation title that replaces the
    row's own, if any. `left_out`: the reason why the row is left out, else "". `mapped_from`: the kind of code that the row had,
    if its code was mapped, else "".
    """

    code: str = ""
    title: str = ""
    left_out: str = ""
    mapped_from: str = ""


class LabelReader:
    """A reader of labels by a taxonomy. `names` are its codes with their titles."""

    def __init__(self, names: Mapping[str, str], rules: LabelRules) -> None:
        self._names = names
        self._rules = rules
        self._older = read_older_codes()
        self._older_groups = _group_by_soc_code(self._older)

    def read(self, posting: LabelledPosting) -> Label:
        """Return the meaning of a posting's label, however its code is spelled. A code of the taxonomy is never mapped."""
        if not cached_clean_title(posting.title):
            return Label(left_out="no title")
        if is_unclassified(posting.onet_code) or is_unclassified(posting.onet_title):
            return self._read_unclassified()
        code = read_code(posting.onet_code)
        if code in self._names:
            return Label(code)
        return self._map_code(code, posting.onet_title) or self._read_outside(code)

    def _read_unclassified(self) -> Label:
        match self._rules.unclassified:
            case "reject":
                return Label(UNCLASSIFIED)
            case "category":
                return Label(UNCLASSIFIED_CODE, title=UNCLASSIFIED)
            case "ignore":
                return Label(left_out=f"the label {UNCLASSIFIED}")

    def _map_code(self, given: str, title: str | None) -> Label | None:
        """Map a code of six digits or of an older O*NET-SOC. A code that was split needs the title of one of its successors."""
        is_short = bool(SOC_CODE.fullmatch(given))
        code = f"{given}.00" if is_short else given
        if code in self._names:
            return Label(code, mapped_from=FROM_SIX_DIGITS)
        successors = self._older.get(code, ())
        if is_short and not successors:
            successors = self._older_groups.get(given, ())
        chosen = self._choose(successors, title)
        if chosen:
            return Label(chosen, mapped_from=FROM_OLDER_CODE)
        return Label(left_out=SPLIT_CODE) if len(successors) > 1 else None

    def _choose(self, successors: Sequence[str], title: str | None) -> str | None:
        """Return the one successor that the title names, that the taxonomy has, or that covers all others; else None."""
        known = [code for code in successors if code in self._names]
        named = (title or "").strip().casefold()
        if match := [code for code in known if self._names[code].casefold() == named]:
            return match[0]
        if len(known) == len(successors) > 1:
            known = [code for code in known if code.endswith(".00") and all(one[:7] == code[:7] for one in known)]
        return known[0] if len(known) == 1 else None

    def _read_outside(self, code: str) -> Label:
        is_code = CODE_PATTERN.fullmatch(code) is not None
        if self._rules.new_categories:
            return Label(code) if is_code else Label(left_out=NO_NEW_CATEGORY)
        return Label(left_out=OUTSIDE_TAXONOMY if is_code or SOC_CODE.fullmatch(code) else NO_CODE)


def _group_by_soc_code(older: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Return the successors of all older codes that share their first six digits."""
    groups: defaultdict[str, dict[str, None]] = defaultdict(dict)  # a set that keeps its order
    for code, successors in older.items():
        groups[code[:7]].update(dict.fromkeys(successors))
    return {code: tuple(successors) for code, successors in groups.items()}


def is_unclassified(label: str | None) -> bool:
    """Return whether a code or an occupation title says that no occupation fits."""
    return label is not None and label.strip().casefold() == UNCLASSIFIED.casefold()


def make_new_categories(postings: Iterable[LabelledPosting], names: Mapping[str, str]) -> dict[str, Category]:
    """Return a category for each code outside `names`, under the title that most of its postings give; none without a title."""
    titles_of: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for posting in postings:
        if posting.onet_code not in names and (title := plain_text(posting.onet_title or "")):
            titles_of[posting.onet_code][title] += 1
    return {code: Category(onet_code=code, onet_title=titles.most_common(1)[0][0]) for code, titles in titles_of.items()}
