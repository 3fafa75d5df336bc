"""A message whose dead letter is larger than its topic takes, on a real Kafka at its own limits: nobody stands, none is lost."""

import random
from pathlib import Path

import pytest

from consumer.__main__ import main
from consumer.dead_letter_record import DeadLetter
from faults.tiny_model import VersionPublisher
from tests.kafka.jobs import Job
from tests.kafka.test_dead_letters import limit
from tests.kafka.workers import Workers
from tests.support.messages import event_id, posting_bytes
from tests.support.waiting import wait_until

pytestmark = pytest.mark.kafka

KAFKAS_LIMIT = 1_048_588
HUGE = {7, 8, 19, 31}
"""Numbers of messages whose letters do not fit; on two of the partitions."""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with a tiny model, which a process loads within a second."""
    publisher = VersionPublisher(tmp_path_factory.mktemp("models") / "registry")
    publisher.publish()
    return publisher.registry.root


def noise(size: int) -> bytes:
    """Return bytes that no compression makes smaller."""
    return random.Random(7).randbytes(size)


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_a_letter_that_does_not_fit_lacks_its_value_and_is_replayed_from_the_input(
    kafka_servers: str, registry: Path, workers: Workers, delivery: str, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    job = Job(kafka_servers)
    worker = workers.start(job, registry, f"--delivery={delivery}").wait_ready()
    assert f"max.message.bytes of dead-letter topic {job.dead!r} is {KAFKAS_LIMIT}, and {KAFKAS_LIMIT} of input" in worker.log()
    for number in range(60):
        value = noise(KAFKAS_LIMIT - 200) if number in HUGE else posting_bytes("Registered Nurse", posting_id=number)
        job.send(number, value)
    job.kafka.flush()
    wait_until(job.all_committed, "all is enriched or buried")
    assert (worker.trouble(), worker.metric("occustream_dead_letters_abridged_total")) == ("", len(HUGE))
    assert worker.stop() == 0

    inputs, enriched, dead = job.read()
    letters = [letter for letter in map(DeadLetter.parse, dead) if letter is not None]
    buried = [inputs[letter.event_id] for letter in letters]
    assert {letter.left_out for letter in letters} == {"value"}
    assert [(letter.message.value, letter.message.key, letter.headers) for letter in letters] == [
        (None, message.key, message.headers) for message in buried
    ]
    assert sorted(map(event_id, [*enriched, *dead])) == sorted(inputs), "each once"

    raw = tmp_path / "raw"
    tool = ("--bootstrap-servers", job.servers, "--dead-letter-topic", job.dead)
    assert main(["dead-letters", "show", *tool, letters[0].event_id, "--raw", str(raw)]) == 0
    assert raw.read_bytes() == buried[0].value
    limit(job, job.input, 2_000_000)  # two more headers
    for said in (f"{len(HUGE)} letters sent back", "0 letters sent back"):
        assert main(["dead-letters", "replay", *tool]) == 0
        assert said in capfd.readouterr().out
    back = [m for m in job.kafka.messages(job.input) if "dead-letter.replay-of" in dict(m.headers)]
    assert [(m.key, m.value, m.partition) for m in back] == [(m.key, m.value, m.partition) for m in buried]
