"""Finds the fields of a posting in a message. By default they are found by their names; other finders keep the same protocol."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from consumer.feeds.json_values import is_nan
from consumer.feeds.names import NAMES
from consumer.feeds.values import is_body, is_id, is_id_told, is_long_text, is_missing, is_title
from schemas.tables import column_key

Check = Callable[[Any], bool]
MAX_RANKED = 256
"""How many sets of names are kept with their order."""
MAX_KEYS = 4_096
"""How many names are kept with the keys under which their spellings meet."""
MAX_NAME_CHARS = 40
"""A longer name is no other spelling of one of ours."""
_UNDERSTOOD = frozenset({"title", "body", "posting_id"})


@dataclass(frozen=True, slots=True)
class FoundFields:
    """The fields that were found in a message.

    `values` holds the raw value of each field that was found, by the field's name in `JobPosting`. `consumed` names the fields at
    the top of the message that are used up by them: all others are passed through.
    """

    values: Mapping[str, Any]
    consumed: frozenset[str] | set[str]


class FieldFinder(Protocol):
    """Finds the fields of a posting. `title_names` says where it looks for a title, for people."""

    title_names: tuple[str, ...]

    def find(self, fields: dict[str, Any]) -> FoundFields:
        """Return what was found. A field that is missing or empty is left out.

        Raises InvalidMessage where it would take too long on this message, and nothing else.
        """
        ...


class ByNames:
    """Finds fields at the top of a message by their names, best name first.

    Where a name holds nothing, or no readable title, body or identifier, the next one counts. If no name has a better one, an
    unreadable title or identifier counts, so that the posting can be refused for it. An unreadable body is left where it is.
    Where title, body or identifier are missing, names in another case and with other signs between their words count, too:
    `Job-Title`.
    """

    def __init__(self, names: Mapping[str, tuple[str, ...]] = NAMES) -> None:
        self.title_names = names["title"]
        self._field_of = {name: field for field, choices in names.items() for name in choices}
        self._known = frozenset(self._field_of)
        self._looked_for = {field for field in _UNDERSTOOD if names[field]}
        ranked = reversed(list(enumerate(self._field_of.items())))  # of two spellings of one name, the better one's rank counts
        self._by_key = {column_key(name): (rank, field) for rank, (name, field) in ranked if field in _UNDERSTOOD}
        self._ranked = lru_cache(MAX_RANKED)(self._rank)  # most messages of a feed have the same names

    def find(self, fields: dict[str, Any]) -> FoundFields:
        """See `FieldFinder`."""
        values: dict[str, Any] = {}
        consumed = set()
        second_best: dict[str, str] = {}
        for name, field, is_good in self._ranked(self._known.intersection(fields)):
            value = fields[name]
            if value is None or field in values:
                continue
            if is_good(value):
                values[field] = value
                consumed.add(name)
            elif _IS_SECOND_BEST[field](value):
                second_best.setdefault(field, name)
        if not values.keys() >= self._looked_for:
            self._find_respelled(fields, values, consumed)
        for field, name in second_best.items():
            if field not in values:
                values[field] = fields[name]
                consumed.add(name)
        return FoundFields(values, consumed)

    def _find_respelled(self, fields: dict[str, Any], values: dict[str, Any], consumed: set[str]) -> None:
        """Add title, body and identifier where their names are written in another way."""
        unknown = [(self._by_key.get(_name_key(name)), name) for name in fields if name not in self._known]
        for (_rank, field), name in sorted((place, name) for place, name in unknown if place is not None):
            if field not in values and _IS_GOOD[field](fields[name]):
                values[field] = fields[name]
                consumed.add(name)

    def _rank(self, names: frozenset[str]) -> tuple[tuple[str, str, Check], ...]:
        """Return names with their fields and what makes a value of the field a good one, best name first.

        Of the fields that are only passed through, all but NaN is good where there is no other name to look at.
        """
        ranked = [(name, field) for name, field in self._field_of.items() if name in names]
        count = Counter(field for _name, field in ranked)
        return tuple(
            (name, field, _IS_GOOD[field] if field in _UNDERSTOOD or count[field] > 1 else _is_any) for name, field in ranked
        )


@lru_cache(MAX_KEYS)
def _short_name_key(name: str) -> str:
    return column_key(name)


def _name_key(name: str) -> str:
    """Return the key of a name. A long one is no name of ours."""
    return _short_name_key(name) if len(name) <= MAX_NAME_CHARS else ""


def _is_there(value: Any) -> bool:  # noqa: ANN401 - any JSON value
    return not is_missing(value)


def _is_any(value: Any) -> bool:  # noqa: ANN401 - any JSON value
    return type(value) is str or not is_nan(value)


def _is_good_title(value: Any) -> bool:  # noqa: ANN401 - any JSON value
    return is_long_text(value) or is_title(value)


def _is_good_body(value: Any) -> bool:  # noqa: ANN401 - any JSON value
    return is_long_text(value) or is_body(value)


_IS_GOOD: Mapping[str, Check] = {
    **dict.fromkeys(NAMES, _is_there),
    "title": _is_good_title,
    "posting_id": is_id,
    "body": _is_good_body,
}
_IS_SECOND_BEST: Mapping[str, Check] = {
    **dict.fromkeys(NAMES, lambda value: not is_nan(value)),
    "posting_id": is_id_told,
    "body": lambda _value: False,
}
