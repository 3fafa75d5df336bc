"""Finds the fields of a posting in a message. By default they are found by their names; other finders keep the same protocol."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class FoundFields:
    """The fields that were found in a message.

    `values` holds the raw value of each field that was found, by the field's name in `JobPosting`. `consumed` names the fields at
    the top of the message that are used up by them: all others are passed through.
    """

    values: Mapping[str, Any]
    consumed: frozenset[str]


class FieldFinder(Protocol):
    """Finds the fields of a posting."""

    def find(self, fields: dict[str, Any]) -> FoundFields:
        """Return what was found. A field that is missing or empty is left out. Never raises."""
        ...
