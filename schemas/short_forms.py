"""Writes out abbreviations whose meaning the rest of the title decides. They are listed in `short_forms.txt`.

Abbreviations with one meaning are in `abbreviations.py`; places are told apart in `places.py`.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from importlib import resources

from schemas.job_words import names_clinic, names_job, names_trade

DROPPED = ""
"""What stands for a word that is noise."""
_LEVEL = re.compile(r"(?:[ivx]+|\d)$", re.IGNORECASE)
_ANY_WORD = frozenset("*")


@dataclass(frozen=True)
class Title:
    """A whole title, folded, and all its words."""

    folded: str
    words: list[str]

    @cached_property
    def has_job(self) -> bool:
        """Whether a word names a job by itself."""
        return names_job(self.words)

    @cached_property
    def has_trade(self) -> bool:
        """Whether a word names a job of no clinic and of no rank."""
        return names_trade(self.words)

    @cached_property
    def has_clinic(self) -> bool:
        """Whether a word belongs to health care."""
        return names_clinic(self.words)


@dataclass(frozen=True)
class Part:
    """A part of a title: its folded words and the separators around it."""

    title: Title
    words: list[str]
    before: str
    after: str

    def word(self, at: int) -> str:
        """Return the word at a place, "" where there is none."""
        return self.words[at] if 0 <= at < len(self.words) else ""

    def has_place(self, place: str, at: int) -> bool:
        """Return whether the word at a place of this part stands where a sense wants it."""
        last = len(self.words) - 1
        if place == "any":
            return True
        if place == "last":
            return last > 0 and (at == last or (at == last - 1 and _LEVEL.match(self.words[last]) is not None))
        if place == "first":
            return last > 0 and at == 0
        return last == 0 and (place == "part" or (not self.before and (place == "head" or len(self.title.words) == 1)))


@dataclass(frozen=True)
class Condition:
    """What must hold of the rest of a title, or must not."""

    kind: str
    words: frozenset[str]
    wanted: bool

    def holds(self, part: Part, at: int) -> bool:
        """Return whether it holds for the word at a place of a part."""
        return self._find(part, at) == self.wanted

    def _find(self, part: Part, at: int) -> bool:
        title = part.title
        match self.kind:
            case "job" | "trade" | "clinic":
                return bool(getattr(title, f"has_{self.kind}"))
            case "once":
                return title.folded.count(part.words[at]) == 1
            case "slash":
                return "/" in part.before + part.after
            case "with":
                return not self.words.isdisjoint(title.words)
        beside = part.word(at + 1 if self.kind == "next" else at - 1)
        return bool(beside) and (self.words is _ANY_WORD or beside in self.words)


@dataclass(frozen=True)
class Sense:
    """One meaning of an abbreviation, and where it has it. `meaning` is None where the abbreviation stays."""

    place: str
    conditions: tuple[Condition, ...]
    meaning: str | None

    def holds(self, part: Part, at: int) -> bool:
        """Return whether the word at a place of a part has this meaning."""
        return part.has_place(self.place, at) and all(condition.holds(part, at) for condition in self.conditions)


def find_meaning(word: str, part: Part, at: int) -> str | None:
    """Return what a word stands for at its place: None where it stays, DROPPED where it is noise."""
    senses = _SENSES.get(word) or _SENSES.get(part.words[at], ())
    if len(part.words) == 1 and senses and _is_spelled_out(part.words[at], part):
        return DROPPED
    meaning = next((sense.meaning for sense in senses if sense.holds(part, at)), None)
    return None if meaning == DROPPED and len(part.words) > 1 and _is_spelled_out(part.words[at], part) else meaning


def _is_spelled_out(form: str, part: Part) -> bool:
    """Return whether the first letters of the title's other words contain the abbreviation, so that it repeats them."""
    title = part.title
    if len(title.words) <= len(form) or (not part.before and not title.has_job and title.has_clinic):
        return False
    return form in "".join(word[0] for word in title.words if word != form)


def _parse_condition(text: str) -> Condition:
    kind, _, words = text.lstrip("!").partition(":")
    return Condition(kind, _ANY_WORD if words == "*" else frozenset(words.split(",")), wanted=not text.startswith("!"))


def _parse_senses(text: str) -> dict[str, tuple[Sense, ...]]:
    senses: dict[str, tuple[Sense, ...]] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            form, where, meaning = line.split(" | ")
            place, *conditions = where.split()
            sense = Sense(place, tuple(map(_parse_condition, conditions)), _parse_meaning(meaning))
            senses[form] = (*senses.get(form, ()), sense)
    return senses


def _parse_meaning(text: str) -> str | None:
    return {"-": DROPPED, "=": None}.get(text, text)


_SENSES = _parse_senses(resources.files("schemas").joinpath("short_forms.txt").read_text(encoding="ascii"))
FORMS = frozenset(form.casefold() for form in _SENSES)
"""Every word that may be an abbreviation, folded."""
