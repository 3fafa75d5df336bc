"""Dead letters on a real Kafka: listed, shown, sent back once however it is interrupted, and never lost."""

import base64
import json
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from consumer.__main__ import main
from consumer.dead_letter_record import DeadLetter
from consumer.errors import InvalidMessage
from consumer.messages import Message
from tests.kafka.jobs import PARTITIONS, Job
from tests.kafka.workers import Workers
from tests.support.command_line import Cli
from tests.support.messages import event_id, make_codec, posting_bytes
from tests.support.paths import ROOT
from tests.support.waiting import WAIT_S, wait_until

pytestmark = pytest.mark.kafka

BAD_VALUES = (b"nonsense", b"\xff\x1b[2J", b'{"posting_id": "7"}')


@pytest.fixture
def job(kafka_servers: str) -> Job:
    return Job(kafka_servers)


def command(job: Job, *arguments: str) -> tuple[str, ...]:
    action, *rest = arguments
    return ("dead-letters", action, "--bootstrap-servers", job.servers, "--dead-letter-topic", job.dead, *rest)


class Run(Protocol):
    """Runs a command in this process; returns what it says."""

    def __call__(self, job: Job, *arguments: str, status: int = 0) -> str: ...


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    def run(job: Job, *arguments: str, status: int = 0) -> str:
        capfd.readouterr()
        assert main(command(job, *arguments)) == status
        captured = capfd.readouterr()
        return captured.out if status == 0 else captured.out + captured.err

    return run


def letters(job: Job) -> list[DeadLetter]:
    return [letter for letter in map(DeadLetter.parse, job.kafka.messages(job.dead)) if letter is not None]


def bury(job: Job, count: int) -> None:
    """Write dead letters as a consumer would, the first from offset 0 of partition 0."""

    for number in range(count):
        source = Message(job.input, number % PARTITIONS, number, b"k%d" % number, b"v%d" % number, (("n", b"1"),), 5)
        record = make_codec().dead_letter(source, InvalidMessage("not_scored", "no"), stage="score", model_version="v1")
        job.kafka.append(Message(job.dead, record.input_partition, -1, record.key, record.value, record.headers))
    job.kafka.flush()


@pytest.mark.model
def test_bad_messages_are_listed_shown_sent_back_and_at_last_kept(
    job: Job, starter_registry: Path, workers: Workers, run: Run, tmp_path: Path
) -> None:
    worker = workers.start(job, starter_registry, "--delivery=exactly-once", "--bad-share-limit=1").wait_ready()
    for number, value in enumerate(BAD_VALUES):
        job.kafka.append(Message(job.input, number, -1, b"k%d" % number, value, (("n", b"%d" % number),)))
    job.kafka.append(Message(job.input, 0, -1, None, posting_bytes("Registered Nurse")))
    job.kafka.flush()
    wait_until(job.all_committed, "all are enriched or buried")

    listed = run(job, "list")
    assert all(reason in listed for reason in ("not_json", "not_utf8", "no_title"))
    assert f"3 dead letters in {job.dead}" in listed
    rows = [json.loads(row) for row in run(job, "list", "--json", "--filter", "reason=not_utf8").splitlines()]
    assert [(row["reason"], row["stage"], row["letters"], row["replayed"]) for row in rows] == [("not_utf8", "decode", 1, 0)]
    assert len(run(job, "list", "--long", "--filter", "since=1h").splitlines()) == 4
    shown = run(job, "show", f"{job.input}:1:0")
    assert "\x1b" not in shown
    assert "\\x1b[2J" in shown
    run(job, "show", f"{job.dead}:1:0", "--raw", str(tmp_path / "value"))
    assert (tmp_path / "value").read_bytes() == BAD_VALUES[1]
    run(job, "show", f"{job.input}:5:0", status=1)

    assert "3 letters would be sent back" in run(job, "replay", "--dry-run")
    for attempt in (1, 2):
        assert "3 letters sent back" in run(job, "replay")
        wait_until(lambda attempt=attempt: len(letters(job)) == 3 * (attempt + 1), "they are judged again")  # type: ignore[misc]
    assert "3 kept: dead letters 3 times or more already (--max-attempts)" in run(job, "replay", status=3)
    assert worker.stop() == 0

    inputs, enriched, _dead = job.read()
    assert (len(inputs), len(enriched), len(letters(job))) == (10, 1, 9)
    for number, value in enumerate(BAD_VALUES):
        story = [letter for letter in letters(job) if letter.partition == number]
        assert [letter.attempt for letter in story] == [1, 2, 3]
        assert {(letter.message.key, letter.message.value, letter.headers) for letter in story} == {
            (b"k%d" % number, value, (("n", b"%d" % number),))
        }


def limit(job: Job, topic: str, max_message_bytes: int) -> None:
    """Let a topic take messages up to so many bytes."""
    entry = ConfigEntry("max.message.bytes", str(max_message_bytes), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    job.kafka.admin.incremental_alter_configs([resource])[resource].result(WAIT_S)


@pytest.mark.model
@pytest.mark.parametrize(
    "flags", [["--kafka=batch.size=4000"], ["--delivery=exactly-once"]], ids=["at-least-once", "exactly-once"]
)
def test_nothing_is_lost_while_dead_letters_cannot_be_written_and_readyz_says_so(
    job: Job, starter_registry: Path, workers: Workers, flags: list[str]
) -> None:
    limit(job, job.output, 5_000)
    limit(job, job.dead, 100)
    worker = workers.start(job, starter_registry, *flags).wait_ready()
    special = {
        17: b"nonsense",
        31: posting_bytes("Registered Nurse", body=base64.b64encode(random.Random(1).randbytes(6_000)).decode()),
    }
    for number in range(60):
        value = special.get(number, posting_bytes("Registered Nurse", posting_id=number))
        job.kafka.append(Message(job.input, number % PARTITIONS, -1, b"k%d" % number, value))
    job.kafka.flush()
    wait_until(lambda: job.dead in worker.trouble(), "/readyz names the dead-letter topic")
    assert worker.metric("occustream_blocked") == 1
    assert worker.metric("occustream_undelivered_total") > 0
    assert not job.all_committed()
    assert letters(job) == []

    limit(job, job.dead, 1_000_000)
    wait_until(job.all_committed, "all is delivered")
    wait_until(lambda: worker.trouble() == "", "it is ready again")
    assert worker.stop() == 0
    inputs, enriched, _dead = job.read()
    found = {letter.event_id: (letter.reason, letter.stage) for letter in letters(job)}
    places = {number: f"{job.input}:{number % PARTITIONS}:{number // PARTITIONS}" for number in special}
    assert found == {places[17]: ("not_json", "decode"), places[31]: ("too_large", "deliver")}
    assert [event_id(record) for record in enriched] == [name for name in inputs if name not in found], "each once, in order"


@pytest.mark.model
def test_a_stream_gone_bad_ends_the_consumer_with_status_1_and_the_reason(
    job: Job, starter_registry: Path, workers: Workers
) -> None:
    worker = workers.start(job, starter_registry, "--bad-share-window=20", "--batch-max-count=8").wait_ready()
    for number in range(2_000):
        job.kafka.append(Message(job.input, number % PARTITIONS, -1, None, b"nonsense"))
    job.kafka.flush()
    assert worker.wait_ended() == 1
    assert "of the last 20 messages (bad_share_window) became dead letters, above the limit of 0.5" in worker.log()
    assert "Traceback" not in worker.log()
    assert sum(job.committed().values()) == len(letters(job)) < 2_000


def test_a_dead_letter_topic_that_is_not_there_is_named_before_anything_is_read(job: Job, cli: Cli) -> None:
    topics = ("--input-topic", job.input, "--output-topic", job.output, "--dead-letter-topic", "no-such-topic")
    ended = cli("consumer", "run", "--bootstrap-servers", job.servers, *topics)
    assert ended.returncode == 1
    assert "topic 'no-such-topic' cannot be used" in ended.stderr.decode()


def test_a_replay_that_is_killed_is_run_again_and_each_letter_is_sent_once(job: Job, run: Run) -> None:
    bury(job, 300)
    arguments = command(job, "replay", "--rate", "30")
    for _ in range(3):
        seen = len(job.kafka.messages(job.input))
        with subprocess.Popen([sys.executable, "-m", "consumer", *arguments], cwd=ROOT) as running:
            wait_until(lambda seen=seen: len(job.kafka.messages(job.input)) > seen, "some are sent")  # type: ignore[misc]
            running.send_signal(signal.SIGKILL)
    assert len(job.kafka.messages(job.input)) < 300
    run(job, "replay")
    assert "0 letters sent back\n300 were sent back before" in run(job, "replay")
    back = job.kafka.messages(job.input)
    assert [m.value for m in back] == [b"v%d" % n for p in range(PARTITIONS) for n in range(p, 300, PARTITIONS)]
    assert {m.partition for m in back} == set(range(PARTITIONS))


def test_of_two_replays_the_second_ends_the_first_and_each_letter_is_sent_once(job: Job, run: Run, tmp_path: Path) -> None:
    bury(job, 60)
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-m", "consumer", *command(job, "replay", "--rate", "2")], cwd=ROOT, stderr=log
        ) as first,
    ):
        wait_until(lambda: len(job.kafka.messages(job.input)) > 0, "some are sent")
        run(job, "replay")
        assert first.wait(WAIT_S) == 1
    assert "run one replay at a time" in (tmp_path / "log").read_text()
    assert "letters were sent back and will not be again: run the same command again" in (tmp_path / "log").read_text()
    assert len({m.value for m in job.kafka.messages(job.input)}) == len(job.kafka.messages(job.input)) == 60


def test_a_topic_that_is_gone_is_named_before_anything_is_sent(job: Job, run: Run) -> None:
    bury(job, 5)
    assert "topic 'no-such-topic' cannot be used" in run(job, "replay", "--to", "no-such-topic", status=1)
    assert len(job.kafka.messages(job.dead)) == 5
