"""Checks the records of a group against its input messages: lost, invented, duplicates, order, and dead letters byte by byte."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from consumer.dead_letter_record import DIGEST_HEADER, LEFT_OUT_HEADER, value_digest
from consumer.messages import Message
from faults.feed import ENRICHED, EXPECT

SHOWN = 5
_ORIGIN_HEADERS = ("topic", "partition", "offset")


@dataclass(frozen=True, slots=True)
class Findings:
    """Counts over one group's topics. `changed`: records with another key or partition, dead letters with other bytes."""

    sent: int
    out: int
    distinct: int
    lost: int
    invented: int
    duplicates: int
    out_of_order: int
    changed: int
    dead_letters_right: int
    dead_letters_wrong: int
    forced_ends: int = 0
    """Consumers that hung when they were stopped, and ended themselves in time; their logs show where they hung."""
    revived: int = 0
    """Consumers that Kafka shut out for good, so that they ended with status 1 and were started again."""
    abridged: int = 0
    """Dead letters that lack their message's value and say where it lies."""
    first_lost: tuple[str, ...] = ()
    """Event ids, at most `SHOWN`."""

    def problems(self, *, exactly_once: bool) -> list[str]:
        """Return a text for each count that must be 0 and is not; duplicates are allowed unless `exactly_once`."""
        forbidden = [
            "lost",
            "invented",
            "out_of_order",
            "changed",
            "dead_letters_wrong",
            *(["duplicates"] if exactly_once else []),
        ]
        found = [f"{getattr(self, name)} {name.replace('_', ' ')}" for name in forbidden if getattr(self, name)]
        return [*found, *([f"the first lost: {', '.join(self.first_lost)}"] if self.first_lost else [])]

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return {name: count for name, count in asdict(self).items() if name != "first_lost"}


def compare(inputs: Sequence[Message], enriched: Sequence[Message], dead: Sequence[Message]) -> Findings:
    """Return the findings; each list is in the order of its topic's partitions."""
    origins = {message.event_id: message for message in inputs}
    enriched_pairs, dead_pairs = _pair_with_origins(enriched, origins), _pair_with_origins(dead, origins)
    found = enriched_pairs + dead_pairs
    distinct = {origin.event_id for _record, origin in found}
    right = sum(_header(record, "dead-letter.reason") == expected_outcome(origin) for record, origin in dead_pairs)
    return Findings(
        sent=len(origins),
        out=len(enriched) + len(dead),
        distinct=len(distinct),
        lost=len(origins) - len(distinct),
        invented=len(enriched) + len(dead) - len(found),
        duplicates=len(found) - len(distinct),
        out_of_order=_count_out_of_order(enriched_pairs) + _count_out_of_order(dead_pairs),
        changed=sum(not _keeps_key_and_partition(*pair) for pair in found) + sum(not _keeps_value(*pair) for pair in dead_pairs),
        dead_letters_right=right,
        dead_letters_wrong=len(dead_pairs)
        - right
        + sum(expected_outcome(origin) != ENRICHED for _record, origin in enriched_pairs),
        abridged=sum(_is_abridged(record) for record, _origin in dead_pairs),
        first_lost=tuple(itertools.islice((name for name in origins if name not in distinct), SHOWN)),
    )


def _pair_with_origins(records: Sequence[Message], origins: Mapping[str, Message]) -> list[tuple[Message, Message]]:
    """Return each record that has an input message, with that message."""
    pairs = [(record, origins.get(event_id(record))) for record in records]
    return [(record, origin) for record, origin in pairs if origin is not None]


def event_id(record: Message) -> str:
    """Return the event id of the input message that a record was made of."""
    return _header(record, "occustream.event-id") or ":".join(_header(record, f"dead-letter.{name}") for name in _ORIGIN_HEADERS)


def expected_outcome(message: Message) -> str:
    """Return `enriched`, or the reason that the dead letter of an input message must give."""
    return _header(message, EXPECT)


def model_version(record: Message) -> str:
    """Return the model version that made an enriched record."""
    return _header(record, "occustream.model-version")


def _keeps_key_and_partition(record: Message, origin: Message) -> bool:
    return (record.key, record.partition) == (origin.key, origin.partition)


def _keeps_value(record: Message, origin: Message) -> bool:
    """Return whether a dead letter has its message's value, or its digest."""
    if _is_abridged(record):
        return record.value is None and _header(record, DIGEST_HEADER) == value_digest(origin)
    return record.value == origin.value


def _is_abridged(record: Message) -> bool:
    return bool(_header(record, LEFT_OUT_HEADER))


def _count_out_of_order(found: Iterable[tuple[Message, Message]]) -> int:
    """Count the inputs whose first record stands behind that of a later one of their partition, and so of their key."""
    furthest: dict[int, int] = {}
    seen: set[str] = set()
    late = 0
    for _record, origin in found:
        if origin.event_id in seen:
            continue
        seen.add(origin.event_id)
        late += origin.offset < furthest.get(origin.partition, -1)
        furthest[origin.partition] = max(origin.offset, furthest.get(origin.partition, -1))
    return late


def _header(message: Message, name: str) -> str:
    """Return the last header of this name as text; empty where there is none."""
    return (dict(message.headers).get(name) or b"").decode("utf-8", "replace")
