"""The properties of a broker and of its log: those of a small machine, and a broker's part in a cluster."""

import base64
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deploy.kafka.ports import HOST

SMALL_MACHINE_SETTINGS = {
    "auto.create.topics.enable": "false",
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "5",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "5",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    # After a kill the controller refuses the new broker until the session of the dead one is over (9 s by default).
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "500",
    # Under group.protocol=consumer the broker sets the pace; a rebalance takes a few heartbeats (5 s each by default).
    "group.consumer.heartbeat.interval.ms": "500",
    "group.consumer.min.heartbeat.interval.ms": "500",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.min.session.timeout.ms": "6000",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "log.cleaner.dedupe.buffer.size": "16777216",
}
"""One replica of everything, small internal topics and buffers, and no waiting for other members or brokers."""
LOGIN_SETTINGS = {
    "listener.name.login.sasl.enabled.mechanisms": "SCRAM-SHA-256",
    "listener.name.login.scram-sha-256.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
    "listener.name.login.scram-sha-256.connections.max.reauth.ms": "3000",
}
"""Of the listener `LOGIN`. A password that was changed is noticed by connections that are open, too."""
LOG4J_SETTINGS = {
    "status": "error",
    "appender.out.type": "Console",
    "appender.out.name": "out",
    "appender.out.layout.type": "PatternLayout",
    "appender.out.layout.pattern": "%d{ISO8601} %p %m (%c)%n",
    "rootLogger.level": "info",
    "rootLogger.appenderRef.out.ref": "out",
}


QUICK_START = ("-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""Options of Java. Brokers and consumers share few cores, so a quick start counts for more than speed later."""


@dataclass(frozen=True, slots=True)
class Node:
    """A broker's part in a cluster; each of its brokers is a controller, too."""

    number: int
    cluster_id: str
    controller_ports: Mapping[int, int]
    """Of every node, by its number."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Broker properties beyond, or instead of, those of a single small node."""
    detour: tuple[int, int] | None = None
    """A second listener: the port it listens on, and the port clients are told to come back to."""
    login_port: int | None = None
    """The port of a listener whose clients log in by name and password (SCRAM), and again every few seconds."""

    def broker_properties(self, port: int, records_dir: Path, *, partitions_default: int) -> dict[str, str]:
        """Return the properties of a broker that listens on `port` and keeps its records in `records_dir`."""
        listen = advertise = f"PLAINTEXT://{HOST}:{port}"
        if self.detour:
            listen += f",DETOUR://{HOST}:{self.detour[0]}"
            advertise += f",DETOUR://{HOST}:{self.detour[1]}"
        if self.login_port:
            listen += f",LOGIN://{HOST}:{self.login_port}"
            advertise += f",LOGIN://{HOST}:{self.login_port}"
        return {
            "process.roles": "broker,controller",
            "node.id": str(self.number),
            "controller.quorum.voters": ",".join(f"{n}@{HOST}:{port}" for n, port in self.controller_ports.items()),
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "listeners": f"{listen},CONTROLLER://{HOST}:{self.controller_ports[self.number]}",
            "advertised.listeners": advertise,
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,DETOUR:PLAINTEXT,CONTROLLER:PLAINTEXT,LOGIN:SASL_PLAINTEXT",
            **(LOGIN_SETTINGS if self.login_port else {}),
            "log.dirs": str(records_dir),
            "num.partitions": str(partitions_default),
            **SMALL_MACHINE_SETTINGS,
            **self.settings,
        }


def new_cluster_id() -> str:
    """Return a random cluster id, in Kafka's form."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode("ascii").rstrip("=")


def write_properties(path: Path, properties: Mapping[str, str]) -> None:
    """Write a file of Java properties."""
    path.write_text("".join(f"{key}={value}\n" for key, value in properties.items()), encoding="utf-8")
