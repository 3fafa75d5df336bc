"""The pieces of a running system on this machine: an embedded broker, topics, the real trainer and the real consumer."""

import contextlib
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from deploy.kafka.jars import xdg_home
from deploy.processes import running_process

PARTITIONS = 4
EMBEDDED_FETCH_WAIT_MS = 10
"""The embedded broker answers a waiting fetch only when its time is up, not when a message comes."""


def train(registry: Path, *, seed: int) -> str:
    """Train and publish with the real command line, and return the version."""
    with running_process(trainer_command(registry, seed), stdout=subprocess.PIPE) as trainer:
        out, _err = trainer.communicate()
    if trainer.returncode:
        raise SystemExit(f"demo: the trainer ended with status {trainer.returncode}, see above")
    return str(json.loads(out.splitlines()[-1])["version"])


def trainer_command(registry: Path, seed: int) -> list[str]:
    """Return the command that trains a demonstration's model. Its embeddings are kept in the user's cache for the next time.

    It learns from the built-in titles, or without postings from the O*NET release that the variable DEMO_ONET names.
    """
    cache = xdg_home("XDG_CACHE_HOME", ".cache") / "occustream" / "embeddings"
    options = ["--registry", str(registry), "--cache", str(cache), "--seed", str(seed)]
    release = os.environ.get("DEMO_ONET")
    learn_from = ["--onet", release] if release else ["--postings", "starter"]
    return [sys.executable, "-m", "trainer", "train", *learn_from, *options]


@contextlib.contextmanager
def embedded_broker() -> Iterator[str]:
    """Yield the address of librdkafka's mock cluster, a broker inside this process. It is no proof of delivery."""
    host = Producer({"bootstrap.servers": "ignored:9092", "test.mock.num.brokers": 1, "log_level": 0})
    brokers = host.list_topics(timeout=10).brokers.values()
    yield ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
    host.flush(1)


def topic_names() -> dict[str, str]:
    """Return names of new topics, so that a demonstration on a real cluster touches nobody's."""
    suffix = secrets.token_hex(3)
    return {name: f"occustream-demo-{suffix}.{name}" for name in ("raw", "enriched", "dead-letters")}


@contextlib.contextmanager
def created_topics(servers: str, topics: Iterable[str]) -> Iterator[None]:
    """Create topics on a real cluster, and delete them at the end."""
    names = list(topics)
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 3})
    try:
        for future in admin.create_topics([NewTopic(t, PARTITIONS, -1) for t in names], operation_timeout=15).values():
            future.result(20)
    except (KafkaException, TimeoutError) as error:
        reason = error.args[0].str() if isinstance(error, KafkaException) else "no answer within 20 s"
        raise SystemExit(f"demo: cannot create topics at {servers}: {reason}") from error
    yield
    admin.delete_topics(names, operation_timeout=10)
    admin.poll(1)


@contextlib.contextmanager
def touched_topics(servers: str, topics: Iterable[str]) -> Iterator[None]:
    """Create topics on the embedded broker: it has no admin interface, and creates what a producer asks about."""
    producer = Producer({"bootstrap.servers": servers})
    for topic in topics:
        producer.list_topics(topic, timeout=10)
    yield


@contextlib.contextmanager
def running_consumer(
    servers: str, topics: dict[str, str], registry: Path, port: int, *, embedded: bool
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the real consumer as a process of its own; end it by SIGTERM, which drains it."""
    settings = {
        "BOOTSTRAP_SERVERS": servers,
        "INPUT_TOPIC": topics["raw"],
        "OUTPUT_TOPIC": topics["enriched"],
        "DEAD_LETTER_TOPIC": topics["dead-letters"],
        "GROUP_ID": topics["raw"],
        "REGISTRY": str(registry),
        "HTTP_HOST": "127.0.0.1",
        "HTTP_PORT": str(port),
        "LOG_LEVEL": "ERROR",
        **({"KAFKA__FETCH_WAIT_MAX_MS": str(EMBEDDED_FETCH_WAIT_MS)} if embedded else {}),
    }
    environment = {**os.environ, **{f"OCCUSTREAM_{name}": value for name, value in settings.items()}}
    with running_process([sys.executable, "-m", "consumer", "run"], env=environment) as process:
        wait_ready(process, port)
        yield process


def wait_ready(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until the consumer says that it would enrich a posting now. Raises SystemExit when it ends, or after 60 s."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"demo: the consumer ended with status {process.returncode}, see above")
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2)
            return
        time.sleep(0.2)
    raise SystemExit("demo: the consumer was not ready within 60 s")


def read_lag_and_version(port: int) -> tuple[float, str]:
    """Return the total lag and the model version that the consumer's /metrics shows."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    lags = re.findall(r"^occustream_lag_messages\{[^}]*\} (\S+)$", text, re.MULTILINE)
    version = re.search(r'^occustream_model_info\{(?:.*,)?version="([^"]+)"', text, re.MULTILINE)
    return sum(map(float, lags)), version[1] if version else "?"


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
