"""Topics on a broker that creates whatever it is asked about: we create them on request alone, and check those that are there."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import confluent_kafka as ck
import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from consumer.__main__ import main
from consumer.errors import BrokerError
from consumer.kafka.source import KafkaSource
from consumer.size_limits import DEAD_LETTER_ROOM_BYTES
from deploy.kafka.broker import LocalKafka
from deploy.kafka.node import Node, new_cluster_id
from deploy.kafka.ports import free_port
from tests.support.brokers import need_local_kafka, unique
from tests.support.waiting import WAIT_S, wait_until

pytestmark = pytest.mark.kafka

BROKERS_LIMIT = 1_048_588
"""Kafka's default `message.max.bytes`."""


class Cluster:
    """A broker that creates a topic when a client asks about it, as Kafka does by default."""

    def __init__(self, servers: str) -> None:
        self.servers = servers
        self.admin = AdminClient({"bootstrap.servers": servers, "allow.auto.create.topics": False, "log_level": 3})

    def topics(self) -> dict[str, int]:
        found = self.admin.list_topics(timeout=WAIT_S).topics
        return {name: len(topic.partitions) for name, topic in found.items() if not name.startswith("__")}

    def create(self, name: str, partitions: int = 2, **config: str) -> str:
        topic = unique(name)
        named = {key.replace("_", "."): value for key, value in config.items()}
        self.admin.create_topics([NewTopic(topic, partitions, 1, config=named)])[topic].result(WAIT_S)
        wait_until(lambda: self.topics().get(topic) == partitions, f"{topic} is there")
        return topic

    def config(self, topic: str) -> dict[str, str]:
        resource = ConfigResource(ResourceType.TOPIC, topic)
        return {name: entry.value for name, entry in self.admin.describe_configs([resource])[resource].result(WAIT_S).items()}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    need_local_kafka()
    node = Node(1, new_cluster_id(), {1: free_port()}, settings={"auto.create.topics.enable": "true"})
    with LocalKafka(tmp_path_factory.mktemp("creating"), port=free_port(), node=node) as broker:
        yield Cluster(broker.bootstrap_servers)


class Run(Protocol):
    """Runs a command in this process; returns its exit status and all that it printed."""

    def __call__(self, *arguments: str, **topics: str) -> tuple[int, str]: ...


@pytest.fixture
def run(cluster: Cluster, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    def run(*arguments: str, **topics: str) -> tuple[int, str]:
        flags = [f"--{name.replace('_', '-')}={topic}" for name, topic in topics.items()]
        if arguments[0] != "topics":
            flags.append(f"--registry={tmp_path}")
        capfd.readouterr()
        status = main([*arguments, "--bootstrap-servers", cluster.servers, *flags])
        captured = capfd.readouterr()
        return status, captured.out + captured.err

    return run


def test_this_broker_creates_what_another_client_asks_about(cluster: Cluster) -> None:
    topic = unique("asked")
    producer = ck.Producer({"bootstrap.servers": cluster.servers, "log_level": 3})
    producer.list_topics(topic, timeout=WAIT_S)
    wait_until(lambda: topic in cluster.topics(), "the broker has created it")


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
@pytest.mark.parametrize(
    ("command", "wrong"),
    [
        ("check-config", "input_topic"),
        ("check-config", "output_topic"),
        ("check-config", "dead_letter_topic"),
        ("run", "output_topic"),
        ("run", "dead_letter_topic"),
    ],
)
def test_a_mistyped_topic_is_named_and_not_created(cluster: Cluster, run: Run, command: str, delivery: str, wrong: str) -> None:
    topics = {name: cluster.create(name) for name in ("input_topic", "output_topic", "dead_letter_topic")}
    topics[wrong] += "-typo"
    before = cluster.topics()
    status, said = run(command, f"--delivery={delivery}", **topics)
    assert (status, cluster.topics()) == (1, before)
    assert repr(topics[wrong]) in said
    assert "warning: no topic" not in said
    assert "not ours to see: whether" not in said


def test_a_mistyped_input_topic_is_not_created_by_the_source_of_run(cluster: Cluster) -> None:
    topic, before = unique("typo"), cluster.topics()
    source = KafkaSource({"bootstrap.servers": cluster.servers, "group.id": unique("group")}, topic=topic)
    with pytest.raises(BrokerError, match=topic):
        source.start(lambda _partitions, _lost: None)
    source.close()
    assert cluster.topics() == before


def test_topics_are_created_on_request_and_others_left_alone(cluster: Cluster, run: Run) -> None:
    topics = {"input_topic": cluster.create("in", 3, max_message_bytes="2000000"), "output_topic": unique("out")}
    topics["dead_letter_topic"] = unique("dead")
    before = cluster.topics()
    status, said = run("topics", "create", "--dry-run", **topics)
    assert (status, cluster.topics()) == (0, before)
    assert f"{topics['output_topic']}: would be created, 3 partitions, default replicas" in said

    status, said = run("topics", "create", **topics)
    assert status == 0
    assert f"{topics['input_topic']}: is there, 3 partitions; left as it is" in said
    assert cluster.topics() == {**before, topics["output_topic"]: 3, topics["dead_letter_topic"]: 3}
    assert cluster.config(topics["dead_letter_topic"])["max.message.bytes"] == str(2_000_000 + DEAD_LETTER_ROOM_BYTES)
    assert cluster.config(topics["dead_letter_topic"])["cleanup.policy"] == "delete"
    assert cluster.config(topics["output_topic"])["max.message.bytes"] == str(BROKERS_LIMIT)
    assert run("check-config", **topics)[0] == 0

    after = cluster.topics()
    status, said = run("topics", "create", "--partitions=7", **topics)
    assert (status, said.count("left as it is"), cluster.topics()) == (0, 3, after)


def test_all_topics_of_a_new_cluster_are_created_alike(cluster: Cluster, run: Run) -> None:
    names = (unique("in"), unique("in"))
    topics = {"input_topic": ",".join(names), "output_topic": unique("out"), "dead_letter_topic": unique("dead")}
    assert run("topics", "create", "--partitions=4", "--replication-factor=1", **topics)[0] == 0
    made = cluster.topics()
    assert [made[name] for name in (*names, topics["output_topic"], topics["dead_letter_topic"])] == [4] * 4
    limit = cluster.config(topics["dead_letter_topic"])["max.message.bytes"]
    assert limit == str(BROKERS_LIMIT + DEAD_LETTER_ROOM_BYTES)
    assert run("check-config", **topics)[0] == 0


def test_a_refusal_of_the_broker_is_one_line(cluster: Cluster, run: Run) -> None:
    topics = {"input_topic": unique("in"), "output_topic": unique("out"), "dead_letter_topic": unique("dead")}
    status, said = run("topics", "create", "--replication-factor=3", **topics)
    assert (status, f"topic {topics['input_topic']!r} is not created: " in said) == (1, True)


@pytest.mark.parametrize(
    ("limit", "status", "said"),
    [
        (1_999_999, 1, "occustream-consumer: max.message.bytes of dead-letter topic"),
        (8_191, 1, "some letters never fit and stop the consumer"),
        (2_000_000, 0, "warning: max.message.bytes of dead-letter topic"),
        (2_000_000 + DEAD_LETTER_ROOM_BYTES, 0, ""),
    ],
)
def test_a_dead_letter_topic_must_take_what_the_input_takes(
    cluster: Cluster, run: Run, limit: int, status: int, said: str
) -> None:
    topics = {
        "input_topic": cluster.create("in", max_message_bytes="2000000"),
        "output_topic": cluster.create("out", max_message_bytes="2000000"),
        "dead_letter_topic": cluster.create("dead", max_message_bytes=str(limit)),
    }
    found, text = run("check-config", **topics)
    assert (found, "max.message.bytes of dead-letter" in text) == (status, bool(said))
    assert said in text


def test_an_output_topic_that_takes_less_than_the_input_is_a_warning(cluster: Cluster, run: Run) -> None:
    topics = {
        "input_topic": cluster.create("in"),
        "output_topic": cluster.create("out", max_message_bytes="500000"),
        "dead_letter_topic": cluster.create("dead", max_message_bytes="2000000"),
    }
    status, said = run("check-config", **topics)
    assert status == 0
    assert f"warning: max.message.bytes of output topic {topics['output_topic']!r} is 500000, below that of input topic" in said
    assert "set --kafka batch.size=500000" in said


def test_a_pattern_that_matches_nothing_yet_is_a_warning(cluster: Cluster, run: Run) -> None:
    topics = {"output_topic": cluster.create("out"), "dead_letter_topic": cluster.create("dead", max_message_bytes="2000000")}
    status, said = run("check-config", input_topic="^no-such-feed[.].*", **topics)
    assert (status, "warning: no topic matches ^no-such-feed[.].* yet" in said) == (0, True)
