"""What came out against what went in: sets, duplicates, order, and dead letters byte by byte."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from consumer.messages import Message
from faults.feed import ENRICHED, EXPECT

SHOWN = 5
_STORY = ("topic", "partition", "offset")


@dataclass(frozen=True, slots=True)
class Findings:
    """Counts over one group's topics; a record is `changed` whose key, place or, as a dead letter, bytes are not the input's."""

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
    """Consumers that hung when they were stopped, and ended themselves within the bound; their logs show where."""
    revived: int = 0
    """Consumers that Kafka shut out for good, so that they ended with status 1 and were started again."""
    first_lost: tuple[str, ...] = ()
    """Event ids, at most `SHOWN`."""

    def problems(self, *, once: bool) -> list[str]:
        """Return what must not be; duplicates only where each record is promised `once`."""
        forbidden = ["lost", "invented", "out_of_order", "changed", "dead_letters_wrong", *(["duplicates"] if once else [])]
        found = [f"{getattr(self, name)} {name.replace('_', ' ')}" for name in forbidden if getattr(self, name)]
        return [*found, *([f"the first lost: {', '.join(self.first_lost)}"] if self.first_lost else [])]

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return {name: count for name, count in asdict(self).items() if name != "first_lost"}


def compare(inputs: Sequence[Message], enriched: Sequence[Message], dead: Sequence[Message]) -> Findings:
    """Return what is to be said of the records of these inputs, each list in the order of its topic's partitions."""
    origins = {message.event_id: message for message in inputs}
    pairs = [(record, origins.get(event_id(record))) for record in (*enriched, *dead)]
    found = [(record, origin) for record, origin in pairs if origin is not None]
    distinct = {origin.event_id for _record, origin in found}
    buried = found[len(found) - sum(event_id(record) in origins for record in dead) :]
    right = sum(_header(record, "dead-letter.reason") == expected(origin) for record, origin in buried)
    served = found[: len(found) - len(buried)]
    return Findings(
        sent=len(origins),
        out=len(pairs),
        distinct=len(distinct),
        lost=len(origins) - len(distinct),
        invented=len(pairs) - len(found),
        duplicates=len(found) - len(distinct),
        out_of_order=_out_of_order(served) + _out_of_order(buried),
        changed=sum(not _in_place(*pair) for pair in found) + sum(record.value != origin.value for record, origin in buried),
        dead_letters_right=right,
        dead_letters_wrong=len(buried) - right + sum(expected(origin) != ENRICHED for _record, origin in served),
        first_lost=tuple(itertools.islice((name for name in origins if name not in distinct), SHOWN)),
    )


def event_id(record: Message) -> str:
    """Return which input message a record was made of."""
    return _header(record, "occustream.event-id") or ":".join(_header(record, f"dead-letter.{name}") for name in _STORY)


def expected(message: Message) -> str:
    """Return what is to become of an input message."""
    return _header(message, EXPECT)


def version(record: Message) -> str:
    """Return the model version that made an enriched record."""
    return _header(record, "occustream.model-version")


def _in_place(record: Message, origin: Message) -> bool:
    return (record.key, record.partition) == (origin.key, origin.partition)


def _out_of_order(found: Iterable[tuple[Message, Message]]) -> int:
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
