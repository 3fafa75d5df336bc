"""A real single-node Apache Kafka on the loopback interface, for development and tests.

``python -m deploy.kafka.local_kafka start|stop|status`` runs one in the background; tests use :class:`LocalKafka`.
"""

import argparse
import base64
import contextlib
import fcntl
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
DEFAULT_PORT = 9092
OLDEST_JAVA = 17
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
KILL_TIMEOUT_S = 10.0
DOWNLOAD_TIMEOUT_S = 900.0
TOOL_TIMEOUT_S = 60.0
POLL_S = 0.1
LOG_LINES_SHOWN = 15
# Below the range the kernel gives to outgoing connections: while the broker is down, a client that keeps reconnecting
# to a loopback port of that range can end up connected to itself, and the broker could not have its port back.
FREE_PORTS = range(20_000, 32_000)
FREE_PORT_TRIES = 100
POM = Path(__file__).resolve().with_name("pom.xml")
INSTALL_HINT = (
    "install a JDK and Maven (Debian/Ubuntu: apt-get install openjdk-17-jre-headless maven; "
    "macOS: brew install openjdk maven), or point KAFKA_BOOTSTRAP_SERVERS at a broker of yours"
)

# One replica of everything, small internal topics and buffers, and no waiting for other members or brokers.
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
LOG4J_SETTINGS = {
    "status": "error",
    "appender.out.type": "Console",
    "appender.out.name": "out",
    "appender.out.layout.type": "PatternLayout",
    "appender.out.layout.pattern": "%d{ISO8601} %p %m (%c)%n",
    "rootLogger.level": "info",
    "rootLogger.appenderRef.out.ref": "out",
}


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
    java_options: tuple[str, ...] = ("-Xms128m", "-Xmx512m")


class LocalKafkaError(RuntimeError):
    """The broker cannot be fetched, started or stopped; the message says why and what to do."""


def kafka_version() -> str:
    """Return the Kafka version that the pom next to this file names."""
    found = re.search(r"<kafka\.version>([^<]+)</kafka\.version>", POM.read_text(encoding="utf-8"))
    if found is None:
        raise LocalKafkaError(f"{POM} names no kafka.version")
    return found.group(1)


def jars_dir() -> Path:
    """Return where the jars of this Kafka version are cached, present or not."""
    return _xdg_home("XDG_CACHE_HOME", ".cache") / "occustream" / f"kafka-{kafka_version()}" / "libs"


def default_data_dir() -> Path:
    """Return where the broker of ``make kafka`` keeps its data, log and pid file."""
    return _xdg_home("XDG_STATE_HOME", ".local/state") / "occustream" / "kafka"


def missing_tools() -> list[str]:
    """Name what is missing to run a broker; with the jars cached, Maven is not needed."""
    missing = []
    version = _java_version()
    if version is None:
        missing.append(f"java >= {OLDEST_JAVA}")
    elif version < OLDEST_JAVA:
        missing.append(f"java >= {OLDEST_JAVA} (found {version})")
    if not jars_dir().is_dir() and shutil.which("mvn") is None:
        missing.append("mvn")
    return missing


def fetch_jars() -> Path:
    """Return the folder of the broker's jars, downloaded with Maven the first time."""
    libs = jars_dir()
    if libs.is_dir():
        return libs
    libs.parent.mkdir(parents=True, exist_ok=True)
    # Downloaded beside its place and renamed: the cache is whole or absent, whatever interrupts the download.
    with tempfile.TemporaryDirectory(prefix="download-", dir=libs.parent) as parent:
        download = Path(parent) / libs.name
        _copy_dependencies(download)
        try:
            download.rename(libs)
        except OSError:
            if not libs.is_dir():  # else another process was faster, with the same jars
                raise
    return libs


def free_port(preferred: int | None = None) -> int:
    """Return the preferred port when it is free, else one drawn at random among the free ones."""
    if preferred is not None and _is_free(preferred):
        return preferred
    draw = random.SystemRandom()
    for _ in range(FREE_PORT_TRIES):
        port = draw.choice(FREE_PORTS)
        if _is_free(port):
            return port
    raise LocalKafkaError(f"no free port found on {HOST} in {FREE_PORT_TRIES} tries")


class LocalKafka:
    """One broker and controller over one data directory, which also holds its log, pid file and address.

    The data outlive the process: ``start()`` after ``stop()`` or ``kill()`` resumes with them, on the same port.
    An instance made over the directory of a running broker stands for that broker.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        partitions_default: int = 1,
        start_timeout_s: float = START_TIMEOUT_S,
        node: Node | None = None,
    ) -> None:
        self._dir = data_dir.expanduser().resolve()
        self._node = node or Node(1, new_cluster_id(), {1: free_port()})
        self._partitions_default = partitions_default
        self._start_timeout_s = start_timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._port = port if port is not None else free_port()
        if self.pid is not None:
            self._port = self._recorded_port()

    @property
    def bootstrap_servers(self) -> str:
        """The address for clients; it stays the same over the restarts of this instance."""
        return f"{HOST}:{self._port}"

    @property
    def data_dir(self) -> Path:
        """The directory that holds everything of this broker."""
        return self._dir

    @property
    def log_path(self) -> Path:
        """The broker's log, appended to by each start."""
        return self._dir / "broker.log"

    @property
    def pid(self) -> int | None:
        """The process id of the broker, or None when it does not run."""
        try:
            pid = int(self._pid_path.read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return None
        return pid if self._is_this_broker(pid) else None

    def answers(self) -> bool:
        """Tell whether the broker runs and answers a Kafka request."""
        return self.pid is not None and _answers_kafka(self._port)

    def start(self) -> bool:
        """Start the broker and wait until it answers; return False when it ran already."""
        self._dir.mkdir(parents=True, exist_ok=True)
        with _locked(self._dir / "lock"):
            if self.pid is not None:
                self._port = self._recorded_port()
                return False
            self._launch()
        return True

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> bool:
        """Stop the broker in order, by force after the timeout; return False when none ran."""
        pid = self.pid
        if pid is None:
            return False
        if not self._signal(pid, signal.SIGTERM, timeout_s=timeout_s):
            return self.kill()
        self._pid_path.unlink(missing_ok=True)
        return True

    def kill(self) -> bool:
        """End the broker at once with SIGKILL, as a crash would; return False when none ran."""
        pid = self.pid
        if pid is None:
            return False
        if not self._signal(pid, signal.SIGKILL, timeout_s=KILL_TIMEOUT_S):
            raise LocalKafkaError(f"the broker (pid {pid}) does not end, not even on SIGKILL")
        self._pid_path.unlink(missing_ok=True)
        return True

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def _pid_path(self) -> Path:
        return self._dir / "broker.pid"

    @property
    def _bootstrap_path(self) -> Path:
        return self._dir / "bootstrap-servers"

    @property
    def _config_path(self) -> Path:
        return self._dir / "server.properties"

    @property
    def _log4j_path(self) -> Path:
        return self._dir / "log4j2.properties"

    @property
    def _records_dir(self) -> Path:
        return self._dir / "data"

    def _recorded_port(self) -> int:
        try:
            return int(self._bootstrap_path.read_text(encoding="ascii").rpartition(":")[2])
        except (FileNotFoundError, ValueError):
            raise LocalKafkaError(f"a broker runs over {self._dir} but {self._bootstrap_path.name} is gone") from None

    def _launch(self) -> None:
        _require_tools()
        libs = fetch_jars()
        if not _is_free(self._port):
            raise LocalKafkaError(f"port {self._port} of {HOST} is taken: free it, or give another one")
        self._write_settings()
        if not (self._records_dir / "meta.properties").exists():
            self._format(libs)
        log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        self._process = process = self._spawn(libs)
        try:
            self._pid_path.write_text(f"{process.pid}\n", encoding="ascii")
            self._wait_ready(process, log_start)
        except BaseException:
            process.kill()
            process.wait()
            self._pid_path.unlink(missing_ok=True)
            raise

    def _write_settings(self) -> None:
        node = self._node
        listen = advertise = f"PLAINTEXT://{self.bootstrap_servers}"
        if node.detour:
            listen += f",DETOUR://{HOST}:{node.detour[0]}"
            advertise += f",DETOUR://{HOST}:{node.detour[1]}"
        settings = {
            "process.roles": "broker,controller",
            "node.id": str(node.number),
            "controller.quorum.voters": ",".join(f"{n}@{HOST}:{port}" for n, port in node.controller_ports.items()),
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "listeners": f"{listen},CONTROLLER://{HOST}:{node.controller_ports[node.number]}",
            "advertised.listeners": advertise,
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,DETOUR:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(self._records_dir),
            "num.partitions": str(self._partitions_default),
            **SMALL_MACHINE_SETTINGS,
            **node.settings,
        }
        _write_properties(self._config_path, settings)
        _write_properties(self._log4j_path, LOG4J_SETTINGS)
        self._bootstrap_path.write_text(f"{self.bootstrap_servers}\n", encoding="ascii")

    def _format(self, libs: Path) -> None:
        # "=" keeps an id that begins with a dash from being read as an option.
        arguments = ["format", f"--cluster-id={self._node.cluster_id}", "--config", str(self._config_path)]
        command = self._java(libs, "kafka.tools.StorageTool", options=["-Xmx128m", "-XX:TieredStopAtLevel=1"])
        done = _run([*command, *arguments], TOOL_TIMEOUT_S)
        if done.returncode != 0:
            raise LocalKafkaError(f"formatting {self._records_dir} failed:\n{_last_lines(done.stdout)}")

    def _spawn(self, libs: Path) -> subprocess.Popen[bytes]:
        command = self._java(libs, "kafka.Kafka", options=[*self._node.java_options])
        with self.log_path.open("ab") as log:
            return subprocess.Popen(
                [*command, str(self._config_path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that Ctrl-C in the caller's terminal does not reach the broker
            )

    def _java(self, libs: Path, main_class: str, *, options: list[str]) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={self._log4j_path}"
        return [_java(), *options, "-Djava.awt.headless=true", logging, "-cp", f"{libs}/*", main_class]

    def _wait_ready(self, process: subprocess.Popen[bytes], log_start: int) -> None:
        def ready_or_dead() -> bool:
            return process.poll() is not None or (self._log_says_started(log_start) and _answers_kafka(self._port))

        ready = _wait_until(ready_or_dead, self._start_timeout_s)
        if ready and process.returncode is None:
            return
        end = f"after {self._start_timeout_s:g} s" if not ready else f"java ended with {process.returncode}"
        tail = _last_lines(self._log_from(log_start))
        raise LocalKafkaError(f"the broker did not start ({end}); the end of {self.log_path}:\n{tail}")

    def _log_says_started(self, log_start: int) -> bool:
        return "Kafka Server started" in self._log_from(log_start)

    def _log_from(self, start: int) -> str:
        with self.log_path.open("rb") as log:
            log.seek(start)
            return log.read().decode("utf-8", errors="replace")

    def _is_this_broker(self, pid: int) -> bool:
        return f"kafka.Kafka {self._config_path}" in _command_line(pid)

    def _signal(self, pid: int, number: signal.Signals, *, timeout_s: float) -> bool:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        return _wait_until(lambda: self._has_ended(pid), timeout_s)

    def _has_ended(self, pid: int) -> bool:
        if self._process is not None and self._process.pid == pid:
            return self._process.poll() is not None  # this also reaps it
        return not self._is_this_broker(pid)


def new_cluster_id() -> str:
    """Return a random cluster id, in Kafka's form."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode("ascii").rstrip("=")


def _xdg_home(variable: str, default: str) -> Path:
    # The XDG specification has relative values ignored.
    value = Path(os.environ.get(variable, ""))
    return value if value.is_absolute() else Path.home() / default


def _java() -> str:
    home = os.environ.get("JAVA_HOME")
    if home and (Path(home) / "bin" / "java").is_file():
        return str(Path(home) / "bin" / "java")
    return shutil.which("java") or "java"


def _java_version() -> int | None:
    try:
        done = _run([_java(), "-version"], TOOL_TIMEOUT_S)
    except (OSError, LocalKafkaError):
        return None
    found = re.search(r'version "(?:1\.)?(\d+)', done.stdout)
    return int(found.group(1)) if found else None


def _require_tools() -> None:
    missing = missing_tools()
    if missing:
        raise LocalKafkaError(f"missing: {', '.join(missing)}; {INSTALL_HINT}")


def _copy_dependencies(target: Path) -> None:
    if shutil.which("mvn") is None:
        raise LocalKafkaError(f"missing: mvn; {INSTALL_HINT}")
    print(f"Downloading the jars of Kafka {kafka_version()} with Maven, once", file=sys.stderr)
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={target}"]
    done = _run(["mvn", "--batch-mode", "--quiet", "--file", str(POM), *goal], DOWNLOAD_TIMEOUT_S)
    if done.returncode != 0:
        reason = re.search(r"\[ERROR\] +(\S.*)", done.stdout)
        raise LocalKafkaError(f"Maven could not download the jars: {reason[1] if reason else _last_lines(done.stdout)}")
    if not list(target.glob(f"kafka_*-{kafka_version()}.jar")):
        raise LocalKafkaError(f"Maven ended well but left no kafka jar in {target}")


def _run(command: list[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise LocalKafkaError(f"{Path(command[0]).name} did not end within {timeout_s:.0f} s") from None


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the broker binds: the closing connections of a broker that just ended do not hold its port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _answers_kafka(port: int) -> bool:
    """Send an ApiVersions request (key 18, version 0, no client id) and tell whether its answer reports no error."""
    correlation_id = 7
    request = struct.pack(">hhih", 18, 0, correlation_id, -1)
    try:
        with socket.create_connection((HOST, port), timeout=2) as connection, connection.makefile("rb") as answer:
            connection.sendall(struct.pack(">i", len(request)) + request)
            _size, answered_id, error = struct.unpack(">iih", answer.read(10))
    except (OSError, struct.error):
        return False
    return bool(answered_id == correlation_id and error == 0)


def _command_line(pid: int) -> str:
    """Return the command line of a process; empty when it is gone, or ended and not reaped yet."""
    if Path("/proc/self/cmdline").exists():
        try:
            return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).replace("\0", " ")
        except OSError:
            return ""
    return _run(["ps", "-ww", "-o", "command=", "-p", str(pid)], TOOL_TIMEOUT_S).stdout


def _wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_S)
    return True


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write_properties(path: Path, settings: dict[str, str]) -> None:
    path.write_text("".join(f"{key}={value}\n" for key, value in settings.items()), encoding="utf-8")


def _last_lines(text: str) -> str:
    return "\n".join(text.splitlines()[-LOG_LINES_SHOWN:])


def _start(data_dir: Path, port: int | None, *, partitions_default: int) -> int:
    wanted = port if port is not None else free_port(DEFAULT_PORT)
    kafka = LocalKafka(data_dir, port=wanted, partitions_default=partitions_default)
    begun = time.monotonic()
    if kafka.start():
        print(f"Kafka {kafka_version()} started in {time.monotonic() - begun:.1f} s (pid {kafka.pid})")
    else:
        print(f"Kafka already runs (pid {kafka.pid})")
    print(f"Log: {kafka.log_path}")
    print(f"KAFKA_BOOTSTRAP_SERVERS={kafka.bootstrap_servers}")
    return 0


def _stop(data_dir: Path) -> int:
    kafka = LocalKafka(data_dir)
    pid = kafka.pid
    print(f"Kafka stopped (pid {pid})" if kafka.stop() else f"No Kafka runs over {kafka.data_dir}")
    return 0


def _status(data_dir: Path) -> int:
    kafka = LocalKafka(data_dir)
    if kafka.pid is None:
        print(f"No Kafka runs over {kafka.data_dir}")
        return 1
    healthy = kafka.answers()
    print(f"Kafka runs (pid {kafka.pid})" if healthy else f"Kafka runs (pid {kafka.pid}) but does not answer")
    print(f"KAFKA_BOOTSTRAP_SERVERS={kafka.bootstrap_servers}")
    return 0 if healthy else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="A single-node Kafka on the loopback interface, for development.")
    parser.add_argument("action", choices=["start", "stop", "status"])
    parser.add_argument("--data-dir", type=Path, default=default_data_dir(), help="default: %(default)s")
    parser.add_argument("--port", type=_port, help=f"default: {DEFAULT_PORT} when free, else a free one")
    parser.add_argument("--partitions-default", type=_count, default=1, metavar="N", help="default: %(default)s")
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 1 <= port < 1 << 16:
        raise argparse.ArgumentTypeError(f"not a port: {text}")
    return port


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"not a positive number: {text}")
    return count


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    options = _parser().parse_args(argv)
    try:
        if options.action == "start":
            return _start(options.data_dir, options.port, partitions_default=options.partitions_default)
        return _stop(options.data_dir) if options.action == "stop" else _status(options.data_dir)
    except (LocalKafkaError, OSError) as error:
        print(f"local_kafka: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
