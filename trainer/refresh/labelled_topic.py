"""Labelled postings from a Kafka topic, stored in a file that the next refresh trains on."""

import errno
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from consumer.messages import Message, Source, next_offsets
from schemas.events import LabelledPosting
from schemas.text import clean_title
from trainer.data.files import parse_posting
from trainer.refresh.metrics import Metrics
from trainer.refresh.topic_thread import MAX_COUNT, POLL_S

IDLE_S = 30.0
"""How long `read_to_end` waits for partitions, or for the next message, before it gives up."""
STORED_FIELDS = ("posting_id", "title", "onet_code", "onet_title", "body", "posted_at", "source")

log = logging.getLogger(__name__)


class LabelledTopic:
    """Stores the labelled postings of a topic in a JSONL file.

    An offset is committed only once its row is on the disk. A message that is delivered twice is stored once.
    """

    def __init__(self, source: Source, path: Path, metrics: Metrics) -> None:
        """Open the file. Raises OSError.

        If a crash cut the last line off, that line is removed: its offset was never committed, so its message comes again.
        """
        self._source = source
        self._path = path
        self._metrics = metrics
        self._stored = _read_digests(path)

    def start(self) -> None:
        """Join the group. Raises BrokerError."""
        self._source.start(lambda _partitions, _lost: None)  # all that was read is stored: a revoke has nothing to finish

    def read(self, timeout_s: float) -> int:
        """Read some messages, store and commit them; return how many there were. Raises BrokerError, OSError."""
        messages = self._source.poll(MAX_COUNT, timeout_s)
        refused: list[str] = []
        lines = [line for message in messages if (line := self._make_line(message, refused)) is not None]
        if lines:
            self._append(b"".join(lines))
        if refused:  # in one line, so that a topic of rubbish does not fill the log
            log.warning("%d of %d messages are no labelled postings, first %s", len(refused), len(messages), refused[0])
            self._metrics.labelled.labels("invalid").inc(len(refused))
        if messages:
            self._source.commit(next_offsets(messages), wait=True)
        return len(messages)

    def read_to_end(self, stop: Callable[[], bool]) -> None:
        """Read until the topic has no more messages, or none has come for IDLE_S. Raises BrokerError, OSError."""
        deadline = time.monotonic() + IDLE_S
        while not stop() and time.monotonic() < deadline:
            if self.read(POLL_S):
                deadline = time.monotonic() + IDLE_S
            elif (mine := self._source.assigned) and mine == (lag := self._source.lag()).keys() and not any(lag.values()):
                return
        log.warning("stopped reading labelled postings before the end of the topic was seen; the rest is read next time")

    def close(self) -> None:
        """Leave the group."""
        self._source.close()

    def _append(self, data: bytes) -> None:
        """Write all rows with one call, so that no reader finds half a line, and wait for the disk."""
        with self._path.open("ab", buffering=0) as file:
            if file.write(data) != len(data):
                raise OSError(errno.ENOSPC, f"only some of the rows could be written to {self._path}")
            os.fsync(file.fileno())

    def _make_line(self, message: Message, refused: list[str]) -> bytes | None:
        """Return the line to store; None for a line that is stored already, and for a bad message, noted in `refused`."""
        posting = _parse_posting(message.value or b"")
        if isinstance(posting, str):
            refused.append(f"{message.event_id}: {posting}")
            return None
        fields = {name: value for name in STORED_FIELDS if (value := getattr(posting, name)) not in (None, "")}
        line = json.dumps({**fields, "event_id": message.event_id}).encode() + b"\n"
        is_stored = (digest := _digest(line)) in self._stored
        self._stored.add(digest)
        self._metrics.labelled.labels("again" if is_stored else "stored").inc()
        return None if is_stored else line


def _parse_posting(value: bytes) -> LabelledPosting | str:
    """Return the labelled posting in a message, read as a row of a file is; or a text that says why there is none."""
    try:
        fields = json.loads(value)
    except (ValueError, RecursionError) as error:
        return f"not JSON: {error}"
    if not isinstance(fields, dict):
        return "a JSON object is expected"
    posting = parse_posting(fields)
    return "the title is empty" if isinstance(posting, LabelledPosting) and not clean_title(posting.title) else posting


def _read_digests(path: Path) -> set[bytes]:
    """Return the digests of the file's lines; an unfinished last line is cut off the file."""
    path.touch()
    digests, end = set(), 0
    with path.open("r+b") as file:
        for line in file:
            if not line.endswith(b"\n"):
                file.truncate(end)
                break
            digests.add(_digest(line))
            end += len(line)
    return digests


def _digest(line: bytes) -> bytes:
    return hashlib.sha256(line).digest()[:16]
