"""Real consumer processes over a real Kafka."""

import itertools
import re
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import pytest

from consumer.messages import Message, TopicPartition
from faults.processes import ConsumerProcesses
from tests.support.brokers import Kafka, unique
from tests.support.messages import BAD_VALUES, MAX_MESSAGE_BYTES, event_id, posting_bytes
from tests.support.topic_reading import committed, end_offsets, read_topic
from tests.support.waiting import WAIT_S, wait_until

PARTITIONS = 6
SESSION_TIMEOUT_S = 6
BOOT_S = 90.0
"""How long a consumer process may take to import, load its model and get its partitions, on a busy machine."""

_TITLES = tuple(
    f"{level} {role} - {place}"
    for level in ("Senior", "Junior", "Lead", "Part-time")
    for role in ("Registered Nurse", "Line Cook", "Software Developer", "Truck Driver", "Accountant", "Electrician", "Teacher")
    for place in (
        "Boise, ID",
        "Nampa",
        "Remote",
        "Night Shift",
        "Full Time",
        "Austin TX",
        "$22/hr",
        "Weekend",
        "Hiring now",
        "II",
    )
)
"""280 distinct titles: repeated titles are answered from the cache, so that the time goes into delivery, not the model."""


class Job:
    """Three topics, a group, and what goes in and must come out."""

    def __init__(self, servers: str) -> None:
        self.servers = servers
        self.kafka = Kafka(servers)
        self.input, self.output, self.dead = (self.kafka.create_topic(PARTITIONS) for _ in range(3))
        self.group = unique("group")
        self._numbers = itertools.count()
        self._bad = itertools.cycle(value for _reason, value in BAD_VALUES)
        self.fed = 0

    def feed(self, count: int, *, bad_every: int = 100) -> None:
        """Send postings round robin over the partitions; every `bad_every`-th is none, of each kind in turn."""
        for number in itertools.islice(self._numbers, count):
            title = _TITLES[number * 7919 % len(_TITLES)]
            value = next(self._bad) if number % bad_every == bad_every // 2 else posting_bytes(title, posting_id=number)
            self._send(number, value)
        self.kafka.flush()
        self.fed += count

    def _send(self, number: int, value: bytes | None) -> None:
        message = Message(self.input, number * 31 % PARTITIONS, -1, b"key-%d" % (number % 500), value, (("n", b"%d" % number),))
        self.kafka.append(message)
        self.kafka.producer.poll(0)

    def records(self) -> int:
        """Return how many records came out so far."""
        return sum(sum(end_offsets(self.servers, topic).values()) for topic in (self.output, self.dead))

    def committed(self) -> dict[TopicPartition, int]:
        return committed(self.servers, self.group, self.input)

    def all_committed(self) -> bool:
        ends = end_offsets(self.servers, self.input)
        found = self.committed()
        return all(found.get(p, 0) == end for p, end in ends.items())

    def read(self) -> tuple[dict[str, Message], list[Message], list[Message]]:
        """Return the input by event id, the enriched records and the dead letters."""
        inputs = {m.event_id: m for m in read_topic(self.servers, self.input)}
        return inputs, read_topic(self.servers, self.output), read_topic(self.servers, self.dead)


def assert_delivered(inputs: dict[str, Message], enriched: Sequence[Message], dead: Sequence[Message]) -> int:
    """Check the promise of at-least-once delivery record by record. Returns how many records were repeated."""
    reasons = {value: reason for reason, value in BAD_VALUES}
    planted = {name: reasons[m.value] for name, m in inputs.items() if m.value in reasons}
    assert {event_id(record) for record in dead} == planted.keys()
    assert {event_id(record) for record in enriched} == inputs.keys() - planted.keys()
    for record in dead:
        original, headers = inputs[event_id(record)], dict(record.headers)
        assert record.value == original.value
        assert headers["dead-letter.reason"] == planted[event_id(record)].encode()
    for records in (enriched, dead):
        origins = [inputs[event_id(record)] for record in records]
        assert [m.key for m in origins] == [record.key for record in records]
        assert [m.partition for m in origins] == [record.partition for record in records]
        assert [m.headers for m in origins] == [
            record.headers[: len(m.headers)] for m, record in zip(origins, records, strict=True)
        ]
        for partition in range(PARTITIONS):
            firsts = list(dict.fromkeys(m.offset for m in origins if m.partition == partition))
            assert firsts == sorted(firsts), f"partition {partition}: first occurrences out of order"
    return len(enriched) + len(dead) - len(inputs)


class Worker:
    """A consumer process: the whole program, as the command line starts it, forked from a server that has imported it."""

    def __init__(self, processes: ConsumerProcesses, job: Job, registry: Path, log: Path, *flags: str) -> None:
        settings = {
            "bootstrap-servers": job.servers,
            "input-topic": job.input,
            "output-topic": job.output,
            "dead-letter-topic": job.dead,
            "group-id": job.group,
            "registry": str(registry),
            "device": "cpu",
            "http-host": "127.0.0.1",
            "http-port": "0",
            "max-message-bytes": str(MAX_MESSAGE_BYTES),
            "batch-max-count": "64",
        }
        given = [f"--{name}={value}" for name, value in settings.items()]
        short = [f"--kafka=session.timeout.ms={1_000 * SESSION_TIMEOUT_S}", "--kafka=heartbeat.interval.ms=500"]
        self._process = processes.start(["run", *given, *short, *flags], log)

    def wait_ready(self) -> Self:
        """Wait until it has partitions and reads them."""
        wait_until(self._is_ready, f"the consumer is ready; its log:\n{self.log()[-3_000:]}", BOOT_S)
        return self

    def metric(self, name: str, **labels: str) -> float:
        """Return one sample of /metrics; 0 where it is not there."""
        wanted = name + ("{" + ",".join(f'{k}="{v}"' for k, v in labels.items()) + "}" if labels else "")
        with urllib.request.urlopen(f"{self._address()}/metrics", timeout=WAIT_S) as answer:
            lines = answer.read().decode().splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == wanted), 0.0)

    def stop(self, timeout_s: float = WAIT_S) -> int:
        """Ask it to end with SIGTERM; returns its exit status."""
        self._process.signal(signal.SIGTERM)
        return self._process.wait(timeout_s)

    def kill(self) -> None:
        """End it at once with SIGKILL."""
        self._process.kill()

    def runs(self) -> bool:
        return self._process.status is None

    def trouble(self) -> str:
        """Return what /readyz says is wrong; nothing where it is ready."""
        try:
            urllib.request.urlopen(f"{self._address()}/readyz", timeout=WAIT_S).close()
        except urllib.error.HTTPError as error:
            return error.read().decode()
        return ""

    def wait_ended(self, timeout_s: float = WAIT_S) -> int:
        """Wait until it ends by itself; returns its exit status."""
        return self._process.wait(timeout_s)

    def log(self) -> str:
        return self._process.log()

    def _address(self) -> str:
        found = re.search(r"metrics at (http://\S+)/metrics", self.log())
        assert found, self.log()[-3_000:]
        return found[1]

    def _is_ready(self) -> bool:
        assert self.runs(), f"the consumer ended with {self._process.status}:\n{self.log()[-3_000:]}"
        if "metrics at http://" not in self.log():
            return False
        try:
            with urllib.request.urlopen(f"{self._address()}/readyz", timeout=WAIT_S) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError:
            return False


class Workers:
    """Starts consumer processes; whichever still run at the end are killed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._processes = ConsumerProcesses()
        self._started = 0

    def start(self, job: Job, registry: Path, *flags: str) -> Worker:
        self._started += 1
        return Worker(self._processes, job, registry, self._directory / f"consumer-{self._started}.log", *flags)

    def end(self) -> None:
        self._processes.end()


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    workers = Workers(tmp_path)
    yield workers
    workers.end()


@pytest.fixture(scope="module")
def module_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    workers = Workers(tmp_path_factory.mktemp("consumers"))
    yield workers
    workers.end()


class Stream:
    """Feeds a job at an even pace until stopped."""

    def __init__(self, job: Job, per_s: int) -> None:
        self._job = job
        self._batch = max(1, per_s // 20)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            self._job.feed(self._batch)
            self.sent += self._batch


def first_after(records: Sequence[Message], since_ms: float, header: str, value: str) -> float | None:
    """Return how many seconds after `since_ms` the first record with this header was written; None when there is none."""
    times = [m.timestamp_ms for m in records if dict(m.headers).get(header) == value.encode() and m.timestamp_ms is not None]
    return (min(times) - since_ms) / 1_000 if times else None


def now_ms() -> float:
    return time.time() * 1_000
