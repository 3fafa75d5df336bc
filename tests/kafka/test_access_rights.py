"""The table of access rights in docs/security.md, line by line: with all lines of a program it works, without any one it fails.

The broker has SASL_SSL and Kafka's standard authorizer.
"""

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import confluent_kafka as ck
import pytest

from consumer.__main__ import main
from consumer.dead_letter_record import abridge
from consumer.errors import BrokerError, InvalidMessage
from consumer.kafka.topic_reader import READER_PROPERTIES
from consumer.messages import Message, Record
from faults.tiny_model import VersionPublisher
from tests.kafka.jobs import Job
from tests.kafka.workers import Worker, Workers
from tests.support.brokers import need_local_kafka, unique
from tests.support.messages import make_codec, posting_bytes
from tests.support.paths import ROOT
from tests.support.secure_kafka import PASSWORD, Right, SecureKafka, read_rights
from tests.support.waiting import WAIT_S, wait_until
from trainer.cli.parser import make_parser
from trainer.refresh.labelled_topic import LabelledTopic
from trainer.refresh.metrics import Metrics
from trainer.refresh.run import make_source
from trainer.refresh.settings import load_serve_settings

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

TABLE = read_rights((ROOT / "docs/security.md").read_text(encoding="utf-8"))
REFUSED = re.compile(r"authoriz|does not take a record", re.IGNORECASE)


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    if "KAFKA_BOOTSTRAP_SERVERS" not in os.environ:
        need_local_kafka()
    secure = SecureKafka(tmp_path_factory.mktemp("secure"))
    secure.start()
    yield secure
    secure.broker.kill()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    publisher = VersionPublisher(tmp_path_factory.mktemp("models") / "registry")
    publisher.publish()
    return publisher.registry.root


class Case(NamedTuple):
    """A program's rights without one of them, or all; a job of its own, and a user who has these rights."""

    missing: Right | None
    job: Job
    user: str


def make_case(secure: SecureKafka, program: str, missing: Right | None) -> Case:
    """Return the case with all lines of a program but one."""
    job = Job(secure.broker.bootstrap_servers)
    values = {
        "input_topic": job.input,
        "output_topic": job.output,
        "dead_letter_topic": job.dead,
        "group_id": job.group,
        "labelled_topic": job.input,
        "enriched_topic": job.output,
        "trainer group_id": job.group,
    }
    rights = [right.fill(values) for right in TABLE[program] if right != missing]
    return Case(missing, job, secure.add_user(rights))


def make_cases(secure: SecureKafka, program: str) -> Iterator[Case]:
    """Yield the case with all lines of a program, and one without each."""
    for missing in (None, *TABLE[program]):
        yield make_case(secure, program, missing)


def test_the_table_has_all_programs() -> None:
    assert {name: len(rights) for name, rights in TABLE.items()} == {
        "run": 4,
        "run exactly-once": 5,
        "dead-letters list": 2,
        "dead-letters replay": 6,
        "topics create": 3,
        "serve": 4,
        "subscriber": 2,
    }


@pytest.mark.parametrize(("program", "delivery"), [("run", "at-least-once"), ("run exactly-once", "exactly-once")])
def test_run_needs_each_line_and_no_other(
    secure: SecureKafka, registry: Path, workers: Workers, program: str, delivery: str
) -> None:
    started: list[tuple[Case, Worker]] = []
    for case in make_cases(secure, program):
        case.job.send(0, posting_bytes("Line Cook"))
        case.job.send(1, b"nonsense")
        case.job.kafka.flush()
        flags = [f"--delivery={delivery}", "--instance-id=pod-0", "--bad-share-limit=1", *secure.flags(case.user)]
        started.append((case, workers.start(case.job, registry, *flags)))
    for case, worker in started:
        if case.missing is None:
            wait_until(case.job.all_committed, f"with all rights it works:\n{worker.log()[-2_000:]}", 90.0)
            assert "is not ours to see" in worker.log(), "it says what it may not look at, and goes on"
            assert worker.stop() == 0
        else:
            wait_until(lambda worker=worker: REFUSED.search(worker.log()) is not None, f"{case.missing} is missed", 60.0)  # type: ignore[misc]
    time.sleep(2.0)
    assert [case.missing for case, _worker in started if case.missing and case.job.all_committed()] == []
    for case, worker in started:
        assert case.missing is None or PASSWORD not in worker.log()


class Tool(NamedTuple):
    """What a command has returned and said."""

    status: int
    said: str


Run = Callable[[SecureKafka, Case, Sequence[str]], Tool]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    def run(secure: SecureKafka, case: Case, command: Sequence[str]) -> Tool:
        capfd.readouterr()
        status = main([*command, *secure.flags(case.user), f"--dead-letter-topic={case.job.dead}"])
        captured = capfd.readouterr()
        return Tool(status, captured.out + captured.err)

    return run


def bury(job: Job, *, whole: bool) -> None:
    """Send a bad message, and write its dead letter as a consumer would."""
    job.send(0, b"nonsense")
    job.kafka.flush()
    (source,) = job.kafka.messages(job.input)
    letter = make_codec().dead_letter(source, InvalidMessage("not_json", "no"), stage="decode", model_version="v1")
    record: Record = letter if whole else abridge(letter, source)
    job.kafka.append(Message(job.dead, source.partition, -1, record.key, record.value, record.headers))
    job.kafka.flush()


def test_dead_letters_list_needs_each_line_and_no_other(secure: SecureKafka, run: Run) -> None:
    for case in make_cases(secure, "dead-letters list"):
        bury(case.job, whole=True)
        done = run(secure, case, ["dead-letters", "list"])
        assert (done.status, "1 dead letters in" in done.said) == ((0, True) if case.missing is None else (1, False)), case
        assert case.missing is None or REFUSED.search(done.said), done.said


def test_dead_letters_replay_needs_each_line_and_no_other(secure: SecureKafka, run: Run) -> None:
    for case in make_cases(secure, "dead-letters replay"):
        bury(case.job, whole=False)
        done = run(secure, case, ["dead-letters", "replay"])
        assert done.status == (0 if case.missing is None else 1), (case, done.said)
        assert case.missing is None or REFUSED.search(done.said), done.said
        assert len(case.job.kafka.messages(case.job.input)) == (2 if case.missing is None else 1)


def test_a_replay_of_whole_letters_need_not_read_the_input(secure: SecureKafka, run: Run) -> None:
    reading = Right("topic", "<input_topic>", "READ")
    assert reading in TABLE["dead-letters replay"]
    case = make_case(secure, "dead-letters replay", reading)
    bury(case.job, whole=True)
    assert run(secure, case, ["dead-letters", "replay"]).status == 0


def test_topics_create_needs_each_line_and_no_other(secure: SecureKafka, run: Run) -> None:
    for missing in (None, *TABLE["topics create"]):
        names = {name: unique(name.replace("_", "-")) for name in ("input_topic", "output_topic", "dead_letter_topic")}
        rights = [right.fill(names) for right in TABLE["topics create"] if right != missing]
        rights += [Right("topic", name, "DESCRIBE") for name in names.values()]  # saves ten seconds a topic, as the page says
        job = Job(secure.broker.bootstrap_servers)
        job.dead = names["dead_letter_topic"]
        topics = [f"--input-topic={names['input_topic']}", f"--output-topic={names['output_topic']}", "--replication-factor=1"]
        done = run(secure, Case(missing, job, secure.add_user(rights)), ["topics", "create", *topics])
        assert done.status == (0 if missing is None else 1), done.said
        there = job.kafka.admin.list_topics(timeout=WAIT_S).topics.keys()
        assert (set(names.values()) <= there) is (missing is None)


def serve_flags(secure: SecureKafka, case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return flags of the refresh service without its secrets: the password is in the environment, the rest in a file."""
    given = secure.properties(case.user)
    monkeypatch.setenv("OCCUSTREAM_TRAINER_KAFKA__SASL_PASSWORD", given.pop("sasl.password"))
    file = folder / "trainer.toml"
    lines = ["[kafka]", *(f'"{name}" = "{value}"' for name, value in given.items())]
    file.write_text("\n".join(lines), encoding="utf-8")
    topics = ["--labelled-topic", case.job.input, "--enriched-topic", case.job.output, "--group-id", case.job.group]
    required = ["serve", "--postings", "starter", "--registry", str(folder), "--state", str(folder)]
    return [*required, "--config", str(file), "--bootstrap-servers", secure.servers, *topics]


def read_to_end(reader: LabelledTopic) -> None:
    try:
        reader.start()
        reader.read_to_end(lambda: False)
    finally:
        reader.close()


def test_serve_needs_each_line_and_takes_secrets_by_environment_and_file(
    secure: SecureKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for case in make_cases(secure, "serve"):
        case.job.send(0, b'{"title": "Line Cook", "onet_code": "35-2014.00"}')
        case.job.kafka.flush()
        flags = vars(make_parser().parse_args(serve_flags(secure, case, tmp_path, monkeypatch)))
        settings = load_serve_settings(flags)
        for topic, group in ((case.job.input, "labelled"), (case.job.output, "enriched")):
            source = make_source(settings, topic, group, {"enable.partition.eof": True})
            reader = LabelledTopic(source, tmp_path / unique("rows"), Metrics())
            if case.missing is not None and group in case.missing.name:
                with pytest.raises(BrokerError, match=REFUSED):
                    read_to_end(reader)
            else:
                read_to_end(reader)


def test_a_subscriber_needs_each_line_and_no_other(secure: SecureKafka) -> None:
    for missing in (None, *TABLE["subscriber"]):
        job = Job(secure.broker.bootstrap_servers)
        job.kafka.append(Message(job.output, 0, -1, None, b"{}"))
        job.kafka.flush()
        lines = [right.fill({"output_topic": job.output}) for right in TABLE["subscriber"] if right != missing]
        rights = [Right("group", job.group, right.operation) if right.name == "its own" else right for right in lines]
        own = {"group.id": job.group, "auto.offset.reset": "earliest", "isolation.level": READER_PROPERTIES["isolation.level"]}
        consumer = ck.Consumer({**secure.properties(secure.add_user(rights)), "bootstrap.servers": secure.servers, **own})
        consumer.subscribe([job.output])
        try:
            first = next(message for _ in range(300) if (message := consumer.poll(0.1)) is not None)
        finally:
            consumer.close()
        assert (first.error() is None) is (missing is None), first.error()
