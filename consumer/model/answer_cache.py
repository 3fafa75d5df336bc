"""The rows of answers that a scorer remembers, bounded by number and by bytes. The least recently used ones make room."""

import sys
from collections import OrderedDict
from collections.abc import Mapping

from consumer.limits import Limit
from consumer.model.answers import ScoredRow

Key = tuple[str, bytes, Limit | None]
"""A line, a digest of the body, which may be long, and the limit. They stay fields, since a title may hold any separator."""
MAX_BYTES = 128_000_000
"""Room for 50,000 titles of usual length."""
ENTRY_BYTES = 400
"""What an entry takes beside its line and its numbers: the digest, two tuples, a place in the table."""
NUMBER_BYTES = 28
"""What a number takes beside its place in a list."""


class AnswerCache:
    """Rows by their keys; at most `max_count`, and about `max_bytes` of memory."""

    def __init__(self, max_count: int, max_bytes: int = MAX_BYTES) -> None:
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._rows: OrderedDict[Key, ScoredRow] = OrderedDict()  # least recently used first
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: Key) -> bool:
        return key in self._rows

    def __getitem__(self, key: Key) -> ScoredRow:
        return self._rows[key]

    def remember(self, rows: Mapping[Key, ScoredRow]) -> None:
        """Add rows, or note that they were used again."""
        if not self._max_count:
            return
        for key, row in rows.items():
            if key not in self._rows:
                self.size_bytes += entry_bytes(key, row)
            self._rows[key] = row
            self._rows.move_to_end(key)
        while len(self._rows) > self._max_count or self.size_bytes > self._max_bytes:
            self.size_bytes -= entry_bytes(*self._rows.popitem(last=False))


def entry_bytes(key: Key, row: ScoredRow) -> int:
    """Return about how many bytes of memory an entry takes."""
    return ENTRY_BYTES + sys.getsizeof(key[0]) + sum(sys.getsizeof(part) + NUMBER_BYTES * len(part) for part in row)
