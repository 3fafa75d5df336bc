"""A Kafka broker of our own: a process on the loopback interface, and the directory that holds everything of it."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path
from typing import Self

from deploy.kafka.jars import fetch_jars, require_tools
from deploy.kafka.node import LOG4J_SETTINGS, Node, new_cluster_id, write_properties
from deploy.kafka.ports import HOST, answers_kafka, free_port, is_free
from deploy.kafka.processes import command_line, locked, wait_until
from deploy.kafka.tools import TOOL_TIMEOUT_S, LocalKafkaError, find_java, last_lines, run_tool

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
KILL_TIMEOUT_S = 10.0


class LocalKafka:
    """One broker and controller over one data directory, which also holds its log, pid file and address.

    The data outlive the process: ``start()`` after ``stop()`` or ``kill()`` resumes with them, on the same port.
    An instance over the directory of a running broker stands for that broker.
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
        """Return whether the broker runs and answers a Kafka request."""
        return self.pid is not None and answers_kafka(self._port)

    def start(self) -> bool:
        """Start the broker and wait until it answers; return False when it ran already."""
        self._dir.mkdir(parents=True, exist_ok=True)
        with locked(self._dir / "lock"):
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

    def __exit__(self, *_: object) -> None:
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
        require_tools()
        libs = fetch_jars()
        if not is_free(self._port):
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
        properties = self._node.broker_properties(self._port, self._records_dir, partitions_default=self._partitions_default)
        write_properties(self._config_path, properties)
        write_properties(self._log4j_path, LOG4J_SETTINGS)
        self._bootstrap_path.write_text(f"{self.bootstrap_servers}\n", encoding="ascii")

    def _format(self, libs: Path) -> None:
        # "=" keeps an id that begins with a dash from being read as an option.
        arguments = ["format", f"--cluster-id={self._node.cluster_id}", "--config", str(self._config_path)]
        command = self._java_command(libs, "kafka.tools.StorageTool", options=["-Xmx128m", "-XX:TieredStopAtLevel=1"])
        done = run_tool([*command, *arguments], TOOL_TIMEOUT_S)
        if done.returncode != 0:
            raise LocalKafkaError(f"formatting {self._records_dir} failed:\n{last_lines(done.stdout)}")

    def _spawn(self, libs: Path) -> subprocess.Popen[bytes]:
        command = self._java_command(libs, "kafka.Kafka", options=[*self._node.java_options])
        with self.log_path.open("ab") as log:
            return subprocess.Popen(
                [*command, str(self._config_path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that Ctrl-C in the caller's terminal does not reach the broker
            )

    def _java_command(self, libs: Path, main_class: str, *, options: list[str]) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={self._log4j_path}"
        return [find_java(), *options, "-Djava.awt.headless=true", logging, "-cp", f"{libs}/*", main_class]

    def _wait_ready(self, process: subprocess.Popen[bytes], log_start: int) -> None:
        def is_ready_or_ended() -> bool:
            return process.poll() is not None or (self._log_says_started(log_start) and answers_kafka(self._port))

        ready = wait_until(is_ready_or_ended, self._start_timeout_s)
        if ready and process.returncode is None:
            return
        end = f"after {self._start_timeout_s:g} s" if not ready else f"java ended with {process.returncode}"
        tail = last_lines(self._log_from(log_start))
        raise LocalKafkaError(f"the broker did not start ({end}); the end of {self.log_path}:\n{tail}")

    def _log_says_started(self, log_start: int) -> bool:
        return "Kafka Server started" in self._log_from(log_start)

    def _log_from(self, start: int) -> str:
        with self.log_path.open("rb") as log:
            log.seek(start)
            return log.read().decode("utf-8", errors="replace")

    def _is_this_broker(self, pid: int) -> bool:
        return f"kafka.Kafka {self._config_path}" in command_line(pid)

    def _signal(self, pid: int, number: signal.Signals, *, timeout_s: float) -> bool:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        return wait_until(lambda: self._has_ended(pid), timeout_s)

    def _has_ended(self, pid: int) -> bool:
        if self._process is not None and self._process.pid == pid:
            return self._process.poll() is not None  # this also reaps it
        return not self._is_this_broker(pid)
