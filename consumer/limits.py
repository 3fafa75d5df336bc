"""Which codes a posting may get: by the setting of its topic, and by what its message says. `consumer/model/` ranks them."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator

from consumer.messages import Message
from schemas.events import JobPosting

Limit = tuple[str, ...]
"""What a code may begin with: `("29-", "31-112")`, sorted."""
NOTHING: Limit = ()
"""The limit of a posting that no code is allowed for, or whose limit cannot be read."""
EVERY_TOPIC = "*"
"""Stands for all topics that have no limit of their own."""
MAX_CODES = 1_000
"""More codes in one message are not read."""
_CODE = re.compile(r"\d\d(?:-\d{0,4}|-\d{4}\.\d\d)?")
_SEPARATORS = re.compile(r"[,;\s]+")


class Limits:
    """The limits of the topics by their names in lower case, and those of messages. Where a posting has both, both hold."""

    def __init__(self, by_topic: Mapping[str, Limit] | None = None) -> None:
        self._by_topic = {name.casefold(): limit for name, limit in (by_topic or {}).items()}

    def find(self, message: Message, posting: JobPosting) -> Limit | None:
        """Return what the codes of a posting may begin with; None where they may be any."""
        stated = None if posting.allowed_codes is None else read_limit(posting.allowed_codes)
        if not self._by_topic:
            return stated
        of_topic = self._by_topic.get(message.topic.casefold(), self._by_topic.get(EVERY_TOPIC))
        if of_topic is None or stated is None:
            return stated if of_topic is None else of_topic
        return _intersect(of_topic, stated)


def parse_limit(given: Any) -> Any:  # noqa: ANN401 - whatever stands in a setting
    """Return the limit that a setting names. Raises ValueError for what is no code and no group."""
    if not isinstance(given, str | list | tuple):
        return given
    limit = read_limit(list(given) if isinstance(given, tuple) else given)
    if not limit:
        raise ValueError("codes or SOC groups with commas are expected, such as 29-,31-1120,29-1141.00")
    return limit


LimitSetting = Annotated[tuple[str, ...], BeforeValidator(parse_limit)]


def read_limit(value: Any) -> Limit | None:  # noqa: ANN401 - any JSON value
    """Return the limit that a message states as a list or as text: `["29-", "31-1120"]`. None where it states nothing.

    `NOTHING` where it holds something that is no code, since then nobody knows what was meant.
    """
    parts = _SEPARATORS.split(value) if isinstance(value, str) else value
    if not isinstance(parts, list):
        return NOTHING
    parts = [part.strip() if isinstance(part, str) else part for part in parts if part not in (None, "")]
    if not parts:
        return None
    if len(parts) > MAX_CODES or not all(isinstance(part, str) and _CODE.fullmatch(part) for part in parts):
        return NOTHING
    return tuple(sorted({_find_prefix(part) for part in parts}))


def _find_prefix(code: str) -> str:
    """Return what all codes of a group begin with: `29-`, `31-112` for `31-1120`. A group is written with zeros at its end."""
    major, _, rest = code.partition("-")
    return code if "." in rest else f"{major}-{rest.rstrip('0')}"


def _intersect(one: Limit, other: Limit) -> Limit:
    """Return the prefixes of what both limits allow."""
    pairs = [(a, b) for a in one for b in other]
    return tuple(sorted({a if a.startswith(b) else b for a, b in pairs if a.startswith(b) or b.startswith(a)}))
