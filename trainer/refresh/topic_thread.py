"""What the refresh service reads from Kafka: labelled postings, which it stores, and enriched ones, which it sums up."""

import errno
import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from consumer.messages import Message, Source, TopicPartition
from consumer.process.background import BackgroundThread
from schemas.events import EnrichedPosting, LabelledPosting
from schemas.text import clean_title
from trainer.data.files import parse_posting
from trainer.refresh.drift import DriftMonitor, Reference
from trainer.refresh.metrics import Metrics

MAX_COUNT = 500
POLL_S = 0.5
JOIN_S = 30.0
"""How long --once waits to be given partitions."""
KEPT = ("posting_id", "title", "onet_code", "onet_title", "body", "posted_at", "source")

log = logging.getLogger(__name__)


class LabelledIntake:
    """Stores the labelled postings of a topic in a JSONL file; an offset is committed once its row is on the disk.

    A message that is delivered twice is stored once.
    """

    def __init__(self, source: Source, path: Path, metrics: Metrics) -> None:
        """Open the file. Raises OSError. A last line cut off by a crash is removed: its message will come again."""
        self._source = source
        self._path = path
        self._metrics = metrics
        self._stored = _mended(path)

    def start(self) -> None:
        """Join the group. Raises BrokerError."""
        self._source.start(lambda _partitions, _lost: None)  # all that was taken is stored: nothing to finish on revoke

    def take(self, timeout_s: float) -> int:
        """Read once, store, commit; returns how many messages there were. Raises BrokerError, OSError."""
        messages = self._source.poll(MAX_COUNT, timeout_s)
        refused: list[str] = []
        lines = [line for message in messages if (line := self._line(message, refused)) is not None]
        if lines:
            self._append(b"".join(lines))
        if refused:  # in one line: a topic of rubbish should not fill the log
            log.warning("%d of %d messages are no labelled postings, first %s", len(refused), len(messages), refused[0])
            self._metrics.labelled.labels("invalid").inc(len(refused))
        if messages:
            self._source.commit(next_offsets(messages), wait=True)
        return len(messages)

    def drain(self, stop: Callable[[], bool]) -> None:
        """Read until nothing is left, or nothing comes for JOIN_S. Raises BrokerError, OSError."""
        deadline = time.monotonic() + JOIN_S
        while not stop() and time.monotonic() < deadline:
            if self.take(POLL_S):
                deadline = time.monotonic() + JOIN_S
            elif (mine := self._source.assigned) and mine == (lag := self._source.lag()).keys() and not any(lag.values()):
                return
        log.warning("stopped reading labelled postings before the end of the topic was seen; the rest is read next time")

    def close(self) -> None:
        """Leave the group."""
        self._source.close()

    def _append(self, data: bytes) -> None:
        """Write in one call, so that nobody reads half a line, and wait for the disk."""
        with self._path.open("ab", buffering=0) as file:
            if file.write(data) != len(data):
                raise OSError(errno.ENOSPC, f"{self._path} took a part of the rows only")
            os.fsync(file.fileno())

    def _line(self, message: Message, refused: list[str]) -> bytes | None:
        posting = _labelled(message.value or b"")
        if isinstance(posting, str):
            refused.append(f"{message.event_id}: {posting}")
            return None
        fields = {name: value for name in KEPT if (value := getattr(posting, name)) not in (None, "")}
        line = json.dumps({**fields, "event_id": message.event_id}).encode() + b"\n"
        known = (digest := hashlib.sha256(line).digest()[:16]) in self._stored
        self._stored.add(digest)
        self._metrics.labelled.labels("again" if known else "stored").inc()
        return None if known else line


class EnrichedWatch:
    """Reads enriched events into a drift monitor, from the newest on."""

    def __init__(
        self,
        source: Source,
        monitor: DriftMonitor,
        in_service: Callable[[], str | None],
        metrics: Metrics,
        *,
        remember: Callable[[Reference], None] = lambda _: None,
    ) -> None:
        """Take `remember`, which keeps a reference that the monitor has newly found; it may raise OSError."""
        self._source = source
        self._monitor = monitor
        self._in_service = in_service
        self._metrics = metrics
        self._remember = remember
        self._remembered = monitor.reference

    def start(self) -> None:
        """Join the group. Raises BrokerError."""
        self._source.start(lambda _partitions, _lost: None)

    def take(self, timeout_s: float) -> int:
        """Read once; returns how many messages there were. Raises BrokerError."""
        messages = self._source.poll(MAX_COUNT, timeout_s)
        for message in messages:
            try:
                event = EnrichedPosting.model_validate(json.loads(message.value or b""))
            except (ValueError, RecursionError):
                self._metrics.enriched.labels("invalid").inc()
                continue
            self._metrics.enriched.labels("counted").inc()
            monitor = self._monitor
            if monitor.add(event, in_service=self._in_service()) and monitor.latest is not None:
                self._metrics.window(monitor.latest, monitor.shifts)
                self._keep_reference()
        if messages:
            self._source.commit(next_offsets(messages), wait=False)
        return len(messages)

    def close(self) -> None:
        """Leave the group."""
        self._source.close()

    def _keep_reference(self) -> None:
        """Keep a new reference; one that cannot be kept is tried again after the next window and is no reason to end."""
        reference = self._monitor.reference
        if reference is None or reference is self._remembered:
            return
        try:
            self._remember(reference)
            self._remembered = reference
        except OSError as error:
            log.warning("what drift is measured against could not be kept, a restart would forget it: %s", error)


class Reading:
    """A thread that reads a topic until it is stopped."""

    def __init__(self, name: str, reader: LabelledIntake | EnrichedWatch) -> None:
        self._reader = reader
        self._stop = threading.Event()
        self._thread = BackgroundThread(name, self._read)

    def start(self) -> None:
        """Join the group and start reading. Raises BrokerError where the topic is not there or no broker answers."""
        self._reader.start()
        self._thread.start()

    def check(self) -> None:
        """Raise BackgroundFailed if the thread died."""
        self._thread.check()

    def stop(self) -> None:
        """Stop reading and leave the group."""
        self._stop.set()
        self._thread.join(10.0)

    def _read(self) -> None:
        try:
            while not self._stop.is_set():
                self._reader.take(POLL_S)
        finally:
            self._reader.close()


def next_offsets(messages: Sequence[Message]) -> dict[TopicPartition, int]:
    """Return the offsets to commit once all these messages are done with."""
    return {message.topic_partition: message.offset + 1 for message in messages}


def _labelled(value: bytes) -> LabelledPosting | str:
    """Return the labelled posting in a message, read as a row of a file is; or why there is none."""
    try:
        fields = json.loads(value)
    except (ValueError, RecursionError) as error:
        return f"not JSON: {error}"
    if not isinstance(fields, dict):
        return "a JSON object is expected"
    posting = parse_posting(fields)
    return "the title is empty" if isinstance(posting, LabelledPosting) and not clean_title(posting.title) else posting


def _mended(path: Path) -> set[bytes]:
    """Cut an unfinished last line off the file, if there is one; return the digests of the others."""
    path.touch()
    digests, end = set(), 0
    with path.open("r+b") as file:
        for line in file:
            if not line.endswith(b"\n"):
                file.truncate(end)
                break
            digests.add(hashlib.sha256(line).digest()[:16])
            end += len(line)
    return digests
