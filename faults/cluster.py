"""One or three real Kafka nodes on this machine, to be killed, stopped, frozen and started again."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import confluent_kafka as ck
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic, ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion

from deploy.kafka.broker import LocalKafka
from deploy.kafka.node import Node, new_cluster_id
from deploy.kafka.ports import HOST, free_port

WAIT_S = 180.0
"""On a busy machine, brokers that all elect leaders at the same time may need minutes."""
INTERNAL_TOPICS = ("__consumer_offsets", "__transaction_state")
INTERNAL_PARTITIONS = 5
"""Of each internal topic; see `SMALL_MACHINE_SETTINGS` in `deploy/kafka/node.py`."""
GROUP_SETTINGS = {  # of group.protocol=consumer, whose timeouts are the broker's
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.min.heartbeat.interval.ms": "200",
    "group.consumer.heartbeat.interval.ms": "500",
}


def wait_until(done: Callable[[], bool], what: str, timeout_s: float = WAIT_S) -> None:
    """Wait until `done` returns true. Raises TimeoutError that names `what` was waited for."""
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() >= deadline:
            raise TimeoutError(f"waited {timeout_s:.0f} s in vain until {what}")
        time.sleep(0.05)


class Cluster:
    """`count` nodes, each a broker and a controller.

    Topics have a replica on each node, and all replicas but one must have a record before it is acknowledged.
    """

    def __init__(self, directory: Path, count: int) -> None:
        self.count = count
        self._login_ports = {number: free_port() for number in range(1, count + 1)}
        self._detours = {number: (free_port(), free_port()) for number in range(1, count + 1)}
        cluster_id, settings = new_cluster_id(), _node_settings(count)
        controllers = {number: free_port() for number in range(1, count + 1)}
        self.nodes = {
            number: LocalKafka(
                directory / f"node-{number}",
                node=Node(number, cluster_id, controllers, settings, self._detours[number], self._login_ports[number]),
                start_timeout_s=WAIT_S,
            )
            for number in range(1, count + 1)
        }

    @property
    def servers(self) -> str:
        """The addresses for clients."""
        return ",".join(node.bootstrap_servers for node in self.nodes.values())

    @property
    def detours(self) -> dict[int, int]:
        """Ports that a proxy listens on, each with the port to pass on to; clients of a detour come back by one."""
        return {outer: inner for inner, outer in self._detours.values()}

    @property
    def detour_servers(self) -> str:
        """The addresses for clients that take the detour."""
        return ",".join(f"{HOST}:{port}" for port in self.detours)

    @property
    def login_servers(self) -> str:
        """The addresses for clients that log in, see `set_password`."""
        return ",".join(f"{HOST}:{port}" for port in self._login_ports.values())

    def set_password(self, user: str, password: str) -> None:
        """Create a user, or change the password."""
        credentials = UserScramCredentialUpsertion(
            user, ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4_096), password.encode()
        )
        self._admin.alter_user_scram_credentials([credentials])[user].result(WAIT_S)

    def __enter__(self) -> Self:
        try:
            with ThreadPoolExecutor() as pool:  # none is ready before most are up
                list(pool.map(LocalKafka.start, self.nodes.values()))
        except BaseException:
            self.end()
            raise
        self._admin = AdminClient({"bootstrap.servers": self.servers, "log_level": 2})
        self._create_internal_topics()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Kill all nodes; nobody needs their data any more."""
        for node in self.nodes.values():
            node.kill()

    def create_topics(self, *names: str, partitions: int, nodes: Sequence[int] = (), **settings: str) -> None:
        """Create topics, and wait until each partition has a leader and each node knows the topics.

        With `nodes`, only these nodes have replicas, and all of them must have a record; the first node leads.
        """
        config = {name.replace("_", "."): value for name, value in settings.items()}
        placed: dict[str, Any] = {"replication_factor": self.count}
        if nodes:
            config["min.insync.replicas"] = str(len(nodes))
            placed = {"replica_assignment": [list(nodes)] * partitions}
        topics = [NewTopic(name, partitions, config=config, **placed) for name in names]
        wait_until(lambda: self._are_created(topics), f"{', '.join(names)} are created")
        wait_until(lambda: all(self._has_leaders(name, partitions) for name in names), f"{', '.join(names)} are there")
        wait_until(lambda: all(_knows(node.bootstrap_servers, names) for node in self.nodes.values()), "each node knows them")

    def delete_topic(self, name: str) -> None:
        """Delete a topic, and wait until no node knows it."""
        self._admin.delete_topics([name], operation_timeout=WAIT_S)[name].result(WAIT_S)
        wait_until(lambda: not any(_knows(node.bootstrap_servers, [name]) for node in self.nodes.values()), f"{name} is gone")

    def wait_in_sync(self) -> None:
        """Wait until every replica of every partition has all its records."""
        wait_until(self._in_sync, "all replicas are in sync")

    def coordinator(self, topic: str, name: str) -> int:
        """Return the node that leads `name`'s partition of `__consumer_offsets` or `__transaction_state`."""
        partition = java_hash(name) % INTERNAL_PARTITIONS
        return int(self._admin.list_topics(topic, timeout=WAIT_S).topics[topic].partitions[partition].leader)

    def uninvolved_node(self, group: str, transactional_id: str) -> int:
        """Return a node that coordinates neither the group nor the transactional id, after all replicas are in sync."""
        self.wait_in_sync()
        busy = {self.coordinator("__consumer_offsets", group), self.coordinator("__transaction_state", transactional_id)}
        return min(set(self.nodes) - busy)

    def freeze(self, number: int) -> None:
        """Halt a node as it is, its connections open (SIGSTOP)."""
        self._signal(number, signal.SIGSTOP)

    def thaw(self, number: int) -> None:
        """Let a frozen node go on."""
        self._signal(number, signal.SIGCONT)

    def pid(self, number: int) -> int:
        """Return the process id of a running node."""
        pid = self.nodes[number].pid
        if pid is None:
            raise RuntimeError(f"node {number} does not run")
        return pid

    def _create_internal_topics(self) -> None:
        """Use offsets and transactions once: Kafka creates the topics that hold them on first use."""
        own = {"bootstrap.servers": self.servers, "log_level": 2}
        producer, reader = ck.Producer({**own, "transactional.id": "first"}), ck.Consumer({**own, "group.id": "first"})
        wait_until(lambda: _succeeds(lambda: producer.init_transactions(5)), "transactions are taken")
        wait_until(lambda: _succeeds(lambda: reader.committed([ck.TopicPartition("none", 0)], timeout=5)), "groups are known")
        reader.close()
        wait_until(
            lambda: all(self._has_leaders(topic, INTERNAL_PARTITIONS) for topic in INTERNAL_TOPICS),
            "Kafka's own topics are there",
        )

    def _signal(self, number: int, what: signal.Signals) -> None:
        os.kill(self.pid(number), what)

    def _are_created(self, topics: Sequence[NewTopic]) -> bool:
        """Create topics; return False where too few brokers take part: the controller fences one that was silent for a while."""
        for future in self._admin.create_topics(list(topics), operation_timeout=WAIT_S).values():
            try:
                future.result(WAIT_S)
            except KafkaException as error:
                if error.args[0].code() == KafkaError.INVALID_REPLICATION_FACTOR:
                    return False
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
        return True

    def _has_leaders(self, topic: str, partitions: int) -> bool:
        found = self._admin.list_topics(topic, timeout=WAIT_S).topics[topic]
        return len(found.partitions) == partitions and all(p.leader > 0 for p in found.partitions.values())

    def _in_sync(self) -> bool:
        try:
            topics = self._admin.list_topics(timeout=5).topics.values()
        except KafkaException as error:
            if error.args[0].code() in (KafkaError._TRANSPORT, KafkaError._TIMED_OUT):  # noqa: SLF001 - librdkafka's own codes
                return False
            raise
        return all(len(p.isrs) == len(p.replicas) and p.leader > 0 for topic in topics for p in topic.partitions.values())


def _knows(servers: str, topics: Sequence[str]) -> bool:
    """Ask a node, by a client that knows no other one yet, whether the topics are there."""
    return set(topics) <= AdminClient({"bootstrap.servers": servers, "log_level": 2}).list_topics(timeout=WAIT_S).topics.keys()


def _succeeds(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except KafkaException:
        return False
    return True


def _node_settings(count: int) -> dict[str, str]:
    copies, least = str(count), str(max(1, count - 1))
    return {
        **GROUP_SETTINGS,
        **({"broker.session.timeout.ms": "9000"} if count == 1 else {}),  # nobody else could lead while it is fenced
        "default.replication.factor": copies,
        "min.insync.replicas": least,
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": least,
        "replica.lag.time.max.ms": "5000",
    }


def java_hash(text: str) -> int:
    """Return `String.hashCode` without its sign, as Kafka finds the partition of a group or transactional id."""
    value = 0
    for character in text:
        value = (31 * value + ord(character)) & 0xFFFF_FFFF
    return value if value < 1 << 31 else (1 << 32) - value
