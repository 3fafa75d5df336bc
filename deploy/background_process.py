"""A server in the background, on the loopback interface, and the directory that holds everything of it."""

import contextlib
import os
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self

from deploy.kafka.ports import free_port
from deploy.kafka.processes import command_line, locked, wait_until
from deploy.kafka.tools import LocalKafkaError, last_lines

STOP_TIMEOUT_S = 20.0
KILL_TIMEOUT_S = 10.0


class BackgroundProcess(ABC):
    """One server and its directory, with log, pid file and port. It outlives the process that started it.

    An instance over the directory of a running server stands for that server.
    """

    name: ClassVar[str]
    """What the server is, as its files and messages call it."""

    def __init__(self, directory: Path, *, port: int | None, start_timeout_s: float) -> None:
        self.directory = directory.expanduser().resolve()
        """Everything of this server is in it."""
        self._start_timeout_s = start_timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0
        self._port = port if port is not None else free_port()
        if self.pid is not None:
            self._port = self._recorded_port()

    @abstractmethod
    def prepare(self) -> list[str]:
        """Check and write all that a start needs, and return the command line. Raises LocalKafkaError."""

    @abstractmethod
    def answers(self) -> bool:
        """Return whether the server runs and answers a request."""

    def has_started(self) -> bool:
        """Return whether a server that was started is ready."""
        return self.answers()

    @property
    @abstractmethod
    def mark(self) -> str:
        """A part of the command line by which the process is told from all others."""

    @property
    def environment(self) -> Mapping[str, str]:
        """What to add to the environment of the process."""
        return {}

    @property
    def log_path(self) -> Path:
        """The server's log, appended to by each start."""
        return self.directory / f"{self.name}.log"

    @property
    def pid(self) -> int | None:
        """The process id of the server, or None when it does not run."""
        try:
            pid = int(self._pid_path.read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return None
        return pid if self._is_mine(pid) else None

    def start(self) -> bool:
        """Start the server and wait until it answers; return False when it ran already."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with locked(self.directory / "lock"):
            if self.pid is not None:
                self._port = self._recorded_port()
                return False
            self._launch()
        return True

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> bool:
        """Stop the server in order, by force after the timeout; return False when none ran."""
        pid = self.pid
        if pid is None:
            return False
        if not self._end(pid, signal.SIGTERM, timeout_s):
            return self.kill()
        return True

    def kill(self) -> bool:
        """End the server at once with SIGKILL, as a crash would; return False when none ran."""
        pid = self.pid
        if pid is None:
            return False
        if not self._end(pid, signal.SIGKILL, KILL_TIMEOUT_S):
            raise LocalKafkaError(f"the {self.name} (pid {pid}) does not end, not even on SIGKILL")
        return True

    def log_since_start(self) -> str:
        """Return what the log says since the last start by this instance."""
        with self.log_path.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode("utf-8", errors="replace")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def _pid_path(self) -> Path:
        return self.directory / f"{self.name}.pid"

    @property
    def _port_path(self) -> Path:
        return self.directory / "port"

    def _recorded_port(self) -> int:
        try:
            return int(self._port_path.read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            raise LocalKafkaError(
                f"a {self.name} runs over {self.directory} but its file {self._port_path.name} is gone"
            ) from None

    def _launch(self) -> None:
        command = self.prepare()
        self._port_path.write_text(f"{self._port}\n", encoding="ascii")
        self._log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        self._process = process = self._spawn(command)
        try:
            self._pid_path.write_text(f"{process.pid}\n", encoding="ascii")
            self._wait_ready(process)
        except BaseException:
            process.kill()
            process.wait()
            self._pid_path.unlink(missing_ok=True)
            raise

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        with self.log_path.open("ab") as log:
            return subprocess.Popen(
                command,
                env={**os.environ, **self.environment},
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that Ctrl-C in the caller's terminal does not reach the server
            )

    def _wait_ready(self, process: subprocess.Popen[bytes]) -> None:
        ready = wait_until(lambda: process.poll() is not None or self.has_started(), self._start_timeout_s)
        if ready and process.returncode is None:
            return
        end = f"after {self._start_timeout_s:g} s" if not ready else f"its process ended with {process.returncode}"
        tail = last_lines(self.log_since_start())
        raise LocalKafkaError(f"the {self.name} did not start ({end}); the end of {self.log_path}:\n{tail}")

    def _end(self, pid: int, number: signal.Signals, timeout_s: float) -> bool:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        ended = wait_until(lambda: self._has_ended(pid), timeout_s)
        if ended:
            self._pid_path.unlink(missing_ok=True)
        return ended

    def _is_mine(self, pid: int) -> bool:
        return f"{self.mark} " in f"{command_line(pid)} "

    def _has_ended(self, pid: int) -> bool:
        if self._process is not None and self._process.pid == pid:
            return self._process.poll() is not None  # this also reaps it
        return not self._is_mine(pid)
