"""A schema registry of our own: Apicurio Registry with Confluent's API, in memory, a process on the loopback interface."""

import contextlib
import os
import re
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Self

from deploy.kafka.jars import fetch_once, missing_tools, run_maven, xdg_home
from deploy.kafka.ports import HOST, free_port
from deploy.kafka.processes import command_line, locked, wait_until
from deploy.kafka.tools import INSTALL_HINT, LocalKafkaError, find_java, last_lines

POM = Path(__file__).resolve().with_name("pom.xml")
START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 20.0
ANSWER_TIMEOUT_S = 5.0
API = "/apis/ccompat/v7"
"""Where Confluent's API is."""


class LocalRegistry:
    """One registry, whose directory holds its log, pid file and address. Its schemas end with its process.

    An instance over the directory of a running registry stands for that registry.
    """

    def __init__(self, directory: Path, *, port: int | None = None) -> None:
        self._dir = directory.expanduser().resolve()
        self._port = port if port is not None else free_port()
        self._process: subprocess.Popen[bytes] | None = None
        if self.pid is not None:
            self._port = self._recorded_port()

    @property
    def url(self) -> str:
        """The address for clients; it stays the same over the restarts of this instance."""
        return f"http://{HOST}:{self._port}{API}"

    @property
    def log_path(self) -> Path:
        """The registry's log, appended to by each start."""
        return self._dir / "registry.log"

    @property
    def pid(self) -> int | None:
        """The process id of the registry, or None when it does not run."""
        try:
            pid = int(self._pid_path.read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return None
        return pid if self._is_this_registry(pid) else None

    def start(self) -> bool:
        """Start the registry and wait until it answers; return False when it ran already."""
        self._dir.mkdir(parents=True, exist_ok=True)
        with locked(self._dir / "lock"):
            if self.pid is not None:
                self._port = self._recorded_port()
                return False
            self._launch()
        return True

    def stop(self) -> bool:
        """Stop the registry, by force after a time; return False when none ran."""
        pid = self.pid
        if pid is None:
            return False
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            if wait_until(lambda: self._has_ended(pid), STOP_TIMEOUT_S):
                self._pid_path.unlink(missing_ok=True)
                return True
        raise LocalKafkaError(f"the registry (pid {pid}) does not end, not even on SIGKILL")

    def answers(self) -> bool:
        """Return whether a registry answers at the address."""
        try:
            with urllib.request.urlopen(f"{self.url}/subjects", timeout=ANSWER_TIMEOUT_S) as answer:  # noqa: S310 - our own
                return bool(answer.status == 200)  # noqa: PLR2004
        except (OSError, urllib.error.URLError):
            return False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def _pid_path(self) -> Path:
        return self._dir / "registry.pid"

    @property
    def _port_path(self) -> Path:
        return self._dir / "port"

    def _recorded_port(self) -> int:
        return int(self._port_path.read_text(encoding="ascii"))

    def _launch(self) -> None:
        if missing := missing_registry_tools():
            raise LocalKafkaError(f"missing: {', '.join(missing)}; {INSTALL_HINT}")
        program = fetch_once(registry_dir(), _download)
        self._port_path.write_text(f"{self._port}\n", encoding="ascii")
        self._process = process = self._spawn(program)
        try:
            self._pid_path.write_text(f"{process.pid}\n", encoding="ascii")
            self._wait_ready(process)
        except BaseException:
            process.kill()
            process.wait()
            self._pid_path.unlink(missing_ok=True)
            raise

    def _wait_ready(self, process: subprocess.Popen[bytes]) -> None:
        ready = wait_until(lambda: process.poll() is not None or self.answers(), START_TIMEOUT_S)
        if not ready or process.returncode is not None:
            tail = last_lines(self.log_path.read_text(encoding="utf-8", errors="replace"))
            raise LocalKafkaError(f"the registry did not start; the end of {self.log_path}:\n{tail}")

    def _spawn(self, program: Path) -> subprocess.Popen[bytes]:
        (jar,) = program.glob("*-runner.jar")
        options = ["-Xmx256m", "-XX:TieredStopAtLevel=1", self._mark]
        with self.log_path.open("ab") as log:
            return subprocess.Popen(
                [find_java(), *options, "-jar", str(jar)],
                env={**os.environ, "QUARKUS_HTTP_HOST": HOST, "QUARKUS_HTTP_PORT": str(self._port)},
                cwd=self._dir,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that Ctrl-C in the caller's terminal does not reach the registry
            )

    @property
    def _mark(self) -> str:
        """An option that the registry ignores, and by which its process is told from others."""
        return f"-Doccustream.directory={self._dir}"

    def _is_this_registry(self, pid: int) -> bool:
        return f"{self._mark} " in command_line(pid)

    def _has_ended(self, pid: int) -> bool:
        if self._process is not None and self._process.pid == pid:
            return self._process.poll() is not None  # this also reaps it
        return not self._is_this_registry(pid)


def registry_version() -> str:
    """Return the version of Apicurio Registry that the pom next to this file names."""
    found = re.search(r"<apicurio\.version>([^<]+)</apicurio\.version>", POM.read_text(encoding="utf-8"))
    if found is None:
        raise LocalKafkaError(f"{POM} names no apicurio.version")
    return found.group(1)


def registry_dir() -> Path:
    """Return where the unpacked registry of this version is cached, present or not."""
    return xdg_home("XDG_CACHE_HOME", ".cache") / "occustream" / f"apicurio-registry-{registry_version()}"


def missing_registry_tools() -> list[str]:
    """Name what is missing to run a registry; with the archive cached, Maven is not needed."""
    return missing_tools(registry_dir())


def _download(target: Path) -> None:
    run_maven(
        POM, ["dependency:unpack-dependencies", f"-DoutputDirectory={target}"], what=f"Apicurio Registry {registry_version()}"
    )
