"""Counts of the records that a demonstration received."""

import json
import statistics
import time
from collections import Counter, deque
from dataclasses import dataclass, field

from confluent_kafka import Consumer, Message

from deploy.feed import SENT_HEADER

SHOWCASE = "Part-time RN - Medical/Surgical Nampa (flexible schedule)"
EXAMPLES = 6


@dataclass
class Received:
    """Counts of the records so far, and a few of their titles with the answers."""

    enriched: int = 0
    deleted: int = 0
    dead_letters: int = 0
    twice: int = 0
    ids: set[str] = field(default_factory=set)
    by_version: Counter[str] = field(default_factory=Counter)
    by_reason: Counter[str] = field(default_factory=Counter)
    decisions: Counter[str] = field(default_factory=Counter)
    latencies_s: deque[float] = field(default_factory=lambda: deque(maxlen=2_000))
    examples: dict[str, str] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Enriched records, deletes and dead letters together."""
        return self.enriched + self.deleted + self.dead_letters

    def read(self, reader: Consumer) -> None:
        """Count the records that wait in the output topics."""
        for message in reader.consume(500, 0.02):
            if message.error() is None:
                self.add(message)

    def add(self, message: Message) -> None:
        """Count one record."""
        headers = dict(message.headers() or [])
        if sent := headers.get(SENT_HEADER):
            self.latencies_s.append((time.time_ns() - int(sent)) / 1e9)
        if reason := headers.get("dead-letter.reason"):
            self._add_id(":".join(_text(headers[f"dead-letter.{part}"]) for part in ("topic", "partition", "offset")))
            self.dead_letters += 1
            self.by_reason[_text(reason)] += 1
            return
        if message.value() is None:
            self._add_id(_text(headers["occustream.event-id"]))
            self.deleted += 1
            return
        enriched = json.loads(message.value() or b"")
        self._add_id(enriched["event_id"])
        self.enriched += 1
        self.by_version[enriched["model"]["version"]] += 1
        self.decisions[enriched["decision"]] += 1
        title = enriched["posting"]["title"]
        if title == SHOWCASE or len(self.examples) < EXAMPLES:
            best = enriched["occupations"][0]
            answer = f"{best['onet_code']}  {best['onet_title']}  (p {best['probability']:.2f}, {enriched['decision']})"
            self.examples[title] = answer

    def enriched_by_others(self, version: str) -> int:
        """Return how many records other versions than `version` have enriched."""
        return self.by_version.total() - self.by_version[version]

    def latency_percentiles_s(self) -> tuple[float, float]:
        """Return p50 and p99 of the last records, in seconds."""
        if len(self.latencies_s) < 2:  # noqa: PLR2004 - quantiles need two
            return 0.0, 0.0
        cuts = statistics.quantiles(self.latencies_s, n=100)
        return cuts[49], cuts[98]

    def _add_id(self, event_id: str) -> None:
        self.twice += event_id in self.ids
        self.ids.add(event_id)


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
