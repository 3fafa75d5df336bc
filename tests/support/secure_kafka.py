"""A real Kafka with SASL_SSL and Kafka's standard authorizer, its users, and the rights that a page says they need."""

import itertools
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from deploy.kafka.broker import LocalKafka
from deploy.kafka.node import Node, new_cluster_id
from deploy.kafka.ports import HOST, free_port
from deploy.kafka.tools import find_java
from tests.support.waiting import WAIT_S

PASSWORD = "hush-hush"  # noqa: S105 - of users who end with the test
ROW = re.compile(r"^\| (.+?) \| (topic|group|transactional id) \| (.+?) \| ([A-Z_]+) \|", re.MULTILINE)
RESOURCES = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional id": ResourceType.TRANSACTIONAL_ID,
}


@dataclass(frozen=True, slots=True)
class Right:
    """A line of the table: what may be done with a resource. A name that ends with `*` is a prefix."""

    resource: str
    name: str
    operation: str

    def fill(self, values: Mapping[str, str]) -> "Right":
        """Return the right with the values of settings in the place of their names."""
        name = re.sub(r"<(.+?)>", lambda found: values[found[1]], self.name)
        return Right(self.resource, name, self.operation)

    def binding(self, user: str) -> AclBinding:
        is_prefix = self.name.endswith("*")
        pattern = ResourcePatternType.PREFIXED if is_prefix else ResourcePatternType.LITERAL
        kind, operation = RESOURCES[self.resource], AclOperation[self.operation]
        name = self.name.removesuffix("*")
        return AclBinding(kind, name, pattern, f"User:{user}", "*", operation, AclPermissionType.ALLOW)


def read_rights(page: str) -> dict[str, list[Right]]:
    """Return the rights in a page's table, by program."""
    found: dict[str, list[Right]] = {}
    for program, resource, name, operation in ROW.findall(page):
        found.setdefault(program.replace("`", ""), []).append(Right(resource, name.strip("`"), operation))
    return found


def make_keystore(folder: Path) -> tuple[Path, Path]:
    """Return a new keystore for a broker on the loopback interface, and its certificate for clients."""
    folder.mkdir(parents=True, exist_ok=True)
    store, certificate = folder / "broker.p12", folder / "broker.pem"
    keytool = str(Path(find_java()).with_name("keytool"))
    common = ["-alias", "broker", "-keystore", str(store), "-storetype", "PKCS12", "-storepass", PASSWORD]
    made = ["-genkeypair", "-keyalg", "EC", "-dname", "CN=broker", "-ext", f"san=ip:{HOST}", "-validity", "2"]
    subprocess.run([keytool, *made, *common], check=True, capture_output=True, timeout=WAIT_S)
    subprocess.run([keytool, "-exportcert", "-rfc", "-file", str(certificate), *common], check=True, capture_output=True)
    return store, certificate


class SecureKafka:
    """A broker that lets a user do only what was granted. Who comes by its plain listener, as tests do, may do anything."""

    def __init__(self, directory: Path) -> None:
        port, self._secure_port, controller = (free_port() for _ in range(3))
        store, self._certificate = make_keystore(directory / "tls")
        settings = {
            "listeners": f"PLAINTEXT://{HOST}:{port},SECURE://{HOST}:{self._secure_port},CONTROLLER://{HOST}:{controller}",
            "advertised.listeners": f"PLAINTEXT://{HOST}:{port},SECURE://{HOST}:{self._secure_port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL,CONTROLLER:PLAINTEXT",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.secure.scram-sha-512.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
            "ssl.keystore.location": str(store),
            "ssl.keystore.type": "PKCS12",
            "ssl.keystore.password": PASSWORD,
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }
        node = Node(1, new_cluster_id(), {1: controller}, settings)
        self.broker = LocalKafka(directory / "broker", port=port, node=node)
        self._numbers = itertools.count()

    @property
    def servers(self) -> str:
        """The address for users."""
        return f"{HOST}:{self._secure_port}"

    def start(self) -> None:
        self.broker.start()
        self._admin = AdminClient({"bootstrap.servers": self.broker.bootstrap_servers, "log_level": 3})

    def add_user(self, rights: Sequence[Right]) -> str:
        """Return the name of a new user with these rights and no others."""
        name = f"user-{next(self._numbers)}"
        credentials = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4_096)
        upsert = UserScramCredentialUpsertion(name, credentials, PASSWORD.encode())
        for done in self._admin.alter_user_scram_credentials([upsert]).values():
            done.result(WAIT_S)
        for granted in self._admin.create_acls([right.binding(name) for right in rights]).values() if rights else ():
            granted.result(WAIT_S)
        return name

    def properties(self, user: str) -> dict[str, Any]:
        """Return the properties of a client of a user."""
        return {
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(self._certificate),
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": user,
            "sasl.password": PASSWORD,
        }

    def flags(self, user: str) -> list[str]:
        """Return the flags with which a program of ours is this user."""
        given = [f"--kafka={name}={value}" for name, value in self.properties(user).items()]
        return [f"--bootstrap-servers={self.servers}", *given]
